package partyline_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var updateNotice = flag.Bool("update", false, "write the Go modules into NOTICE")

// Marks of the generated part of NOTICE.
const (
	noticeBegin = "## Go modules\n"
	noticeEnd   = "## Texts\n"
)

var (
	copyright   = regexp.MustCompile(`(?mi)^\s*(copyright (?:\(c\) )?[0-9].*)$`)
	licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying)`)
	licences    = []struct{ text, name string }{ // by a part of the text; all that are found count
		{"Apache License", "Apache-2.0"},
		{"Permission is hereby granted, free of charge", "MIT"},
		{"Redistribution and use in source and binary forms", "BSD-3-Clause"},
	}
)

// TestNotice compares NOTICE with the modules that the three programs link on the systems of the releases.
func TestNotice(t *testing.T) {
	folders := map[string]string{}
	for _, system := range []string{"linux", "darwin", "windows"} {
		list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}",
			"./cmd/edge", "./cmd/embedded", "./cmd/gateway")
		list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if path, folder, isModule := strings.Cut(strings.TrimSpace(line), " "); isModule {
				folders[path] = folder
			}
		}
	}
	if len(folders) < 20 {
		t.Fatalf("found %d modules", len(folders))
	}
	rows, notices := []string{}, map[string][]string{}
	for path, folder := range folders {
		licence, holders, notice := licenceOf(t, folder)
		rows = append(rows, fmt.Sprintf("%s: %s. %s", path, licence, cmp.Or(holders, "No copyright line.")))
		if notice != "" {
			notices[notice] = append(notices[notice], path)
		}
	}
	slices.Sort(rows)
	want := noticeBegin + "\n" + strings.Join(rows, "\n") + "\n\n"
	var texts []string
	for notice, paths := range notices {
		slices.Sort(paths)
		texts = append(texts, fmt.Sprintf("NOTICE of %s:\n\n%s\n\n", strings.Join(paths, ", "), notice))
	}
	slices.Sort(texts)
	want += strings.Join(texts, "")

	data, err := os.ReadFile("NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(data), noticeBegin)
	got, after, isWhole := strings.Cut(rest, noticeEnd)
	switch {
	case !isWhole:
		t.Fatalf("NOTICE has no %q before %q", noticeBegin, noticeEnd)
	case noticeBegin+got == want:
	case *updateNotice:
		if err := os.WriteFile("NOTICE", []byte(before+want+noticeEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Error("NOTICE does not list what the programs link: run `go test . -run Notice -update`")
	}
}

// licenceOf reads the files of a module: the names of its licences, who has the copyright, and its NOTICE.
func licenceOf(t *testing.T, folder string) (names, holders, notice string) {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var found, lines []string
	for _, file := range files {
		data, _ := os.ReadFile(filepath.Join(folder, file.Name())) // a folder has no text
		switch {
		case file.Name() == "NOTICE":
			notice = strings.TrimSpace(string(data))
		case licenceFile.MatchString(file.Name()):
			for _, l := range licences {
				if strings.Contains(strings.Join(strings.Fields(string(data)), " "), l.text) && !slices.Contains(found, l.name) {
					found = append(found, l.name)
				}
			}
			for _, m := range copyright.FindAllStringSubmatch(string(data), -1) {
				lines = append(lines, strings.TrimRight(strings.TrimSpace(m[1]), "."))
			}
		}
	}
	if len(found) == 0 {
		t.Errorf("%s: unknown licence", folder)
	}
	return strings.Join(found, " and "), strings.Join(lines, "; "), notice
}
