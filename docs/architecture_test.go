package docs_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestPackagesTable looks up every package in the table of the architecture. Packages of tests and examples need no
// row.
func TestPackagesTable(t *testing.T) {
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(section(t, "architecture.md", "## Packages"), -1) {
		rows = append(rows, spans(m[1])...)
	}
	list := exec.Command("go", "list", "-f", "{{if .GoFiles}}partyline{{slice .ImportPath (len .Module.Path)}}{{end}}", "./...")
	list.Dir = ".."
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, path := range strings.Fields(string(output)) {
		name := strings.TrimPrefix(path, "partyline/")
		if strings.HasPrefix(name, "test/") || strings.HasPrefix(name, "examples/") || strings.HasSuffix(name, "test") {
			continue
		}
		looked++
		known := false
		for _, row := range rows {
			folder, isFolder := strings.CutSuffix(row, "…")
			known = known || row == name || isFolder && strings.HasPrefix(name, folder)
		}
		if !known {
			t.Errorf("architecture.md has no row for package %s", name)
		}
	}
	if looked < 15 {
		t.Errorf("%d packages", looked)
	}
}
