package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)]+)\)`)
	heading = regexp.MustCompile("(?m)^#+ (.*)$")
	noMark  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// moved are pages at old addresses, with only links, for one release.
var moved = []string{"operations.md", "coming-from-socket.io.md", "conformance.md", "scaling.md"}

// pages returns all documents of this folder and its subfolders.
func pages(t *testing.T) (found []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// documents are the pages and the documents elsewhere in the repository.
func documents(t *testing.T) []string {
	t.Helper()
	found := pages(t)
	for _, pattern := range []string{"../*.md", "../llms.txt", "../bench/*.md", "../examples/*.md", "../examples/*/*.md", "../test/*/*.md"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, more...)
	}
	return found
}

// linksOf returns the links of a document to others of the repository: file and anchor.
func linksOf(t *testing.T, document string) (found [][2]string) {
	t.Helper()
	for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(read(t, document), ""), -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		file, anchor, _ := strings.Cut(m[1], "#")
		target := document
		if file != "" {
			target = filepath.Join(filepath.Dir(document), file)
		}
		found = append(found, [2]string{target, anchor})
	}
	return found
}

// TestLinks checks the links between the documents, including their anchors.
func TestLinks(t *testing.T) {
	for _, document := range documents(t) {
		for _, l := range linksOf(t, document) {
			target, anchor := l[0], l[1]
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", document, err)
			} else if anchor != "" && !hasHeading(read(t, target), anchor) {
				t.Errorf("%s: %s has no heading %q", document, target, anchor)
			}
			if slices.Contains(moved, target) && target != document {
				t.Errorf("%s leads to %s, whose content has moved", document, target)
			}
		}
	}
}

// TestEveryPageIsReachable follows links from the front pages: a page without a link is not maintained.
func TestEveryPageIsReachable(t *testing.T) {
	reached := map[string]bool{}
	queue := []string{"../README.md", "README.md"}
	for len(queue) > 0 {
		document := queue[0]
		queue = queue[1:]
		if reached[document] {
			continue
		}
		reached[document] = true
		for _, l := range linksOf(t, document) {
			target := l[0]
			if info, err := os.Stat(target); err == nil && info.IsDir() {
				target = filepath.Join(target, "README.md")
			}
			if _, err := os.Stat(target); err == nil && slices.Contains([]string{".md", ".txt"}, filepath.Ext(target)) {
				queue = append(queue, target)
			}
		}
	}
	for _, document := range documents(t) {
		if !reached[document] && !slices.Contains(moved, document) {
			t.Errorf("no link leads to %s", document)
		}
	}
}

// hasHeading reports whether an anchor leads to a heading: in lower case, with dashes for spaces, as on GitHub.
func hasHeading(text, anchor string) bool {
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		if strings.ReplaceAll(noMark.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-") == anchor {
			return true
		}
	}
	return false
}
