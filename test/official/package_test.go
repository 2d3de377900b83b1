package official

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNodePackage builds the package in node/ and runs its tests. Each starts its own edges.
func TestNodePackage(t *testing.T) {
	t.Parallel()
	const folder = "../../node"
	if _, err := exec.LookPath("node"); err != nil {
		leaveOut(t, "the tests of the package for Node.js need node in PATH")
	}
	for _, name := range []string{"typescript", "socket.io", "socket.io-client", "express", "express-session", "@nats-io/transport-node"} {
		if _, err := os.Stat(filepath.Join(folder, "node_modules", name)); err != nil {
			leaveOut(t, "the tests of the package for Node.js need the npm package "+name+"; run `make node`")
		}
	}
	dir, err := build()
	if err != nil {
		t.Fatalf("the programs do not build: %v", err)
	}
	compile := exec.Command("node", "node_modules/typescript/bin/tsc", "-p", ".")
	compile.Dir = folder
	if output, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("the package does not compile: %v\n%s", err, output)
	}
	for _, script := range scripts(t, folder+"/test") {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".test.mjs"), func(t *testing.T) {
			runScript(t, script, "PARTYLINE_BIN="+dir)
		})
	}
}
