package docs_test

import (
	"strings"
	"testing"
)

// TestPresenceIsThatOfTheTests compares the programs that follow a room with those that tests run.
func TestPresenceIsThatOfTheTests(t *testing.T) {
	same := func(document, language, file string) {
		program := unindented(read(t, file))
		for _, b := range blocks(t, document, language) {
			if strings.Contains(strings.ToLower(b.text), "follow(") && !strings.Contains(program, unindented(b.text)) {
				t.Errorf("%s:%d: %s has no such lines", document, b.line, file)
			}
		}
	}
	same("how-to/presence.md", "go", "../backend/16_follow_test.go")
	same("how-to/presence.md", "js", "../node/test/17_follow.test.mjs")
	same("../node/README.md", "js", "../node/test/17_follow.test.mjs")
}

// unindented is a text without the indentation of its lines.
func unindented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}
