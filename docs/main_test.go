// Package docs_test keeps the documents true: it runs their examples and compares their tables with the code.
package docs_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"partyline/test/stand"
)

// update writes the generated tables into the documents instead of comparing them.
var update = flag.Bool("update", false, "write the tables that the code determines into the documents")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) { stand.Clean(); os.Exit(status) }))
}

// read returns a document's text.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// block is a fenced block of a document.
type block struct {
	text string
	line int // of its first line
}

// blocks returns the fenced blocks of a language in a document, at least one.
func blocks(t *testing.T, name, language string) []block {
	t.Helper()
	found := anyBlocks(t, name, language)
	if len(found) == 0 {
		t.Fatalf("%s has no block of %s", name, language)
	}
	return found
}

// anyBlocks returns the fenced blocks of a language in a document, if there are any.
func anyBlocks(t *testing.T, name, language string) (found []block) {
	t.Helper()
	text := read(t, name)
	for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
		if text[at[2]:at[3]] == language {
			found = append(found, block{text[at[4]:at[5]], 1 + strings.Count(text[:at[4]], "\n")})
		}
	}
	return found
}

// theBlock returns the only block of a language.
func theBlock(t *testing.T, name, language string) string {
	t.Helper()
	found := blocks(t, name, language)
	if len(found) != 1 {
		t.Fatalf("%s has %d blocks of %s, want one", name, len(found), language)
	}
	return found[0].text
}

// compareTable compares the table between <!-- name --> and <!-- end --> with the one generated from the code.
func compareTable(t *testing.T, document, name, want string) {
	t.Helper()
	text := read(t, document)
	before, rest, found := strings.Cut(text, "<!-- "+name+" -->\n")
	got, after, ended := strings.Cut(rest, "<!-- end -->")
	switch {
	case !found || !ended:
		t.Fatalf("%s has no table between <!-- %s --> and <!-- end -->", document, name)
	case got == want:
	case *update:
		text = before + "<!-- " + name + " -->\n" + want + "<!-- end -->" + after
		if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: table %q differs from the code; `go test ./docs -update` writes it:\n%s", document, name, want)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
