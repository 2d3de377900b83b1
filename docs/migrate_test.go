package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"partyline/internal/natsd/natsdtest"
)

// nodePackage is the folder of the package for Node.js.
const nodePackage = "../node"

// TestTheSameServerOnThePackage plays the conversation of TestTheSameServerTwice with the Socket.IO server of the
// page, of which only the import is replaced.
func TestTheSameServerOnThePackage(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	folder := packed(t)
	script := theBlock(t, migrate, "js")
	changed := strings.Replace(script, `from "socket.io"`, `from "partyline"`, 1)
	if changed == script {
		t.Fatalf("%s imports nothing from socket.io", migrate)
	}
	// The test adds the last line.
	changed += "\nio.httpServer.on('listening', () => console.log(io.httpServer.address().port));\n"
	writeFile(t, filepath.Join(folder, "server.mjs"), changed)
	nats := natsdtest.Start(t)
	edge := chatEdge(t, nats.ClientURL())
	server := exec.CommandContext(t.Context(), "node", "server.mjs")
	server.Dir = folder
	server.Env = append(os.Environ(), "PORT=0", "NATS_URL="+nats.ClientURL(), "PARTYLINE_EDGE="+edge.URL)
	converse(t, "http://127.0.0.1:"+firstLine(t, server))
}

// TestTheDiffOfReadme: the README shows the change that is explained and played here.
func TestTheDiffOfReadme(t *testing.T) {
	if readme := theBlock(t, "../README.md", "diff"); readme != theBlock(t, migrate, "diff") {
		t.Errorf("README shows another diff than %s:\n%s", migrate, readme)
	}
}

// packed compiles the package for Node.js into a new folder, where programs can import it. Its own tests may compile
// node/dist meanwhile.
func packed(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("LEFT OUT: the server of docs/" + migrate + " on the package for Node.js: install Node.js")
	}
	modules, err := filepath.Abs(filepath.Join(nodePackage, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	compiler := filepath.Join(modules, "typescript", "bin", "tsc")
	if _, err := os.Stat(compiler); err != nil {
		t.Skip("LEFT OUT: the server of docs/"+migrate+" on the package for Node.js: run `make node`: ", err)
	}
	folder := t.TempDir()
	installed := filepath.Join(folder, "node_modules", "partyline")
	if err := os.MkdirAll(installed, 0o755); err != nil {
		t.Fatal(err)
	}
	compile := exec.CommandContext(t.Context(), node, compiler, "-p", nodePackage, "--outDir", filepath.Join(installed, "dist"))
	if output, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("the package does not compile: %v\n%s", err, output)
	}
	for _, name := range []string{"package.json", "wrapper.mjs"} {
		writeFile(t, filepath.Join(installed, name), read(t, filepath.Join(nodePackage, name)))
	}
	if err := os.Symlink(modules, filepath.Join(installed, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return folder
}

// TestWhatDiffersIsTested looks up the test that each row of the table names.
func TestWhatDiffersIsTested(t *testing.T) {
	_, section, found := strings.Cut(read(t, migrate), "\n### What differs\n")
	section, _, _ = strings.Cut(section, "\n#")
	tests := regexp.MustCompile(`\| \[([^\]]+)\]\(../../node/test/([\w.]+)\) \|$`)
	rows := 0
	for line := range strings.Lines(section) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| Socket.IO |") {
			continue
		}
		rows++
		m := tests.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%s: no test is named: %s", migrate, line)
			continue
		}
		if text := read(t, filepath.Join(nodePackage, "test", m[2])); !strings.Contains(text, `"`+m[1]+`"`) {
			t.Errorf("%s: node/test/%s has no test %q", migrate, m[2], m[1])
		}
	}
	if !found || rows < 10 {
		t.Errorf("%s: the table below \"What differs\" has %d rows", migrate, rows)
	}
}

// TestNobodyInstallsByName: the package's name is not registered, so the name alone would install something else.
func TestNobodyInstallsByName(t *testing.T) {
	byName := regexp.MustCompile(`npm (i|install|add|update) ([\w@.-]+ )*partyline\b[^-/]`)
	for _, document := range append(documents(t), filepath.Join(nodePackage, "README.md")) {
		if found := byName.FindString(read(t, document)); found != "" {
			t.Errorf("%s says %q", document, found)
		}
	}
}
