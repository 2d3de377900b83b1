// Package conformance runs the same cases on the npm reference server and on ours, and compares what clients and the
// application see. Ours are services on NATS, and the reference's own application on the package for Node.js, on one
// server and on two. Cases are raw requests and frames, official clients, and scripts for the server's interface. They
// are in cases/; the declared differences are in differences.mjs.
package conformance

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds a whole comparison, which takes about 40 seconds on two cores.
const patience = 4 * time.Minute

func TestConformance(t *testing.T) {
	needNode(t)
	for _, name := range []string{"socket.io", "socket.io-adapter", "socket.io-client", "socket.io-msgpack-parser", "ws", "@nats-io/transport-node"} {
		if _, err := os.Stat(filepath.Join("node_modules", name)); err != nil {
			leaveOut(t, "the comparison with the reference server needs the npm package "+name+"; run `npm ci --ignore-scripts` in test/conformance")
		}
	}
	lookAtSources(t)
	programs := t.TempDir() + string(filepath.Separator)
	build := exec.Command("go", "build", "-race", "-o", programs, "partyline/cmd/embedded",
		"partyline/test/conformance/scripted")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cmd/embedded or the service does not build: %v\n%s", err, output)
	}
	t.Setenv("PARTYLINE_PACKAGE", compilePackage(t))
	output, err := node(t, "run.mjs", programs+"embedded", programs+"scripted")
	if err != nil {
		t.Errorf("%v\n%s", err, output)
		return
	}
	t.Logf("%s", output)
}

// compilePackage compiles the package for Node.js and returns its path. The folder is this test's own, because the
// package's tests may compile node/dist meanwhile. It is where the package's imports are found.
func compilePackage(t *testing.T) string {
	t.Helper()
	const folder = "../../node"
	for _, name := range []string{"typescript", "@types/node", "socket.io", "@nats-io/transport-node"} {
		if _, err := os.Stat(filepath.Join(folder, "node_modules", name)); err != nil {
			leaveOut(t, "the comparison with the reference server needs the npm package "+name+" in node; run `make node`")
		}
	}
	compiled, err := os.MkdirTemp(folder+"/node_modules", ".conformance-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(compiled) })
	output, err := node(t, folder+"/node_modules/typescript/bin/tsc", "-p", folder, "--outDir", compiled)
	if err != nil {
		t.Fatalf("the package for Node.js does not compile: %v\n%s", err, output)
	}
	path, err := filepath.Abs(filepath.Join(compiled, "index.js"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	document = "../../docs/differences.md"
	begin    = "<!-- differences -->\n"
	end      = "<!-- end -->"
)

// update writes the list of differences into the documentation instead of comparing it.
var update = flag.Bool("update", false, "write the list of differences into "+document)

// TestDocument compares the list of differences in the documentation with the declared one.
func TestDocument(t *testing.T) {
	needNode(t)
	lookAtSources(t)
	want, err := node(t, "list.mjs")
	if err != nil {
		t.Fatalf("%v\n%s", err, want)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	got, after, closed := strings.Cut(rest, end)
	switch {
	case !found || !closed:
		t.Fatalf("%s has no part between %q and %q", document, begin, end)
	case got == want:
	case *update:
		if err := os.WriteFile(document, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the list in %s is not what test/conformance declares; `go test ./test/conformance -run Document -update` writes it:\n%s", document, want)
	}
}

// node runs a script of this folder and returns its output. If it takes too long, it is ended with all its child
// processes.
func node(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, "node", args...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	output, err := command.CombinedOutput()
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return string(output), err
}

func needNode(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the comparison with the reference server is not for `make check`")
	}
	if _, err := exec.LookPath("node"); err != nil {
		leaveOut(t, "the comparison with the reference server needs node in PATH")
	}
}

// leaveOut skips a test with words that test/run.sh searches for. Where everything must be tested it fails.
func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("PARTYLINE_TEST_ALL") == "1" {
		t.Fatal(why)
	}
	t.Skip("LEFT OUT: " + why)
}

// lookAtSources stats the files that other processes read, so that `go test` does not reuse an earlier result if one
// of them has changed.
func lookAtSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "node_modules" || name == "bin" || name == "screenshots" ||
			len(name) > 2 && name[0] == '.') {
			return fs.SkipDir
		}
		switch filepath.Ext(path) {
		case ".go", ".mod", ".mjs", ".ts", ".yaml", ".json", ".md":
			_, _ = os.Stat(path) // an editor may have removed it
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
