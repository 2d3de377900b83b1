package official

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// compilePackage compiles the package in node/.
var compilePackage = sync.OnceValue(func() error {
	compile := exec.Command("node", "node_modules/typescript/bin/tsc", "-p", ".")
	compile.Dir = packageFolder
	if output, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
})

const packageFolder = "../../node"

// needNodePackage compiles the package in node/. It leaves the test out on a machine that cannot.
func needNodePackage(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		leaveOut(t, "the tests of the package for Node.js need node in PATH")
	}
	for _, name := range []string{"typescript", "socket.io", "socket.io-client", "express", "express-session", "@nats-io/transport-node"} {
		if _, err := os.Stat(filepath.Join(packageFolder, "node_modules", name)); err != nil {
			leaveOut(t, "the tests of the package for Node.js need the npm package "+name+"; run `make node`")
		}
	}
	if err := compilePackage(); err != nil {
		t.Fatalf("the package does not compile: %v", err)
	}
}

// TestNodePackage runs the tests of the package in node/. Each starts its own edges.
func TestNodePackage(t *testing.T) {
	t.Parallel()
	needNodePackage(t)
	dir, err := build()
	if err != nil {
		t.Fatalf("the programs do not build: %v", err)
	}
	for _, script := range scripts(t, packageFolder+"/test") {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".test.mjs"), func(t *testing.T) {
			runScript(t, script, "PARTYLINE_BIN="+dir)
		})
	}
}
