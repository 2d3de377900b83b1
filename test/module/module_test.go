// Package module checks that this module can be published under another path, and imported from there.
package module

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

const (
	ours    = "example.net/shop/partyline" // not the path that documents give as an example: the way back would change them
	version = "v0.1.0"
)

// run runs a command in a folder and returns what it prints.
func run(t *testing.T, folder string, environment []string, command ...string) string {
	t.Helper()
	c := exec.Command(command[0], command[1:]...)
	c.Dir, c.Env = folder, append(os.Environ(), environment...)
	output, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", command, err, output)
	}
	return string(output)
}

// tree returns the names of the files of this repository, also of those that are not in git yet.
func tree(t *testing.T) (names []string) {
	t.Helper()
	for name := range strings.SplitSeq(run(t, "../..", nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		if info, err := os.Stat(filepath.Join("../..", name)); err == nil && info.Mode().IsRegular() && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// changed returns the files that differ from those of the repository.
func changed(t *testing.T, folder string, names []string) (differ []string) {
	t.Helper()
	for _, name := range names {
		before, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, after) {
			differ = append(differ, name)
		}
	}
	return differ
}

// The path stands in one place: after `make module` the tree builds, and a service of another module builds from what a
// Go proxy would serve. The way back gives the same tree, byte for byte.
func TestTheModuleUnderAnotherPath(t *testing.T) {
	edgetest.ForRelease(t, "the module under another path")
	for _, name := range []string{"git", "make"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("LEFT OUT: the module under another path needs %s", name)
		}
	}
	names, folder := tree(t), t.TempDir()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join("../..", name))
		if err == nil {
			err = os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"", "/x", "a b", "x//y"} {
		c := exec.Command("make", "-s", "module", "PATH="+path)
		if c.Dir = folder; c.Run() == nil {
			t.Errorf("%q is taken for the path of a module", path)
		}
	}
	if differ := changed(t, folder, names); len(differ) > 0 {
		t.Fatalf("a refused path changed %q", differ)
	}
	run(t, folder, nil, "make", "-s", "module", "PATH="+ours)
	for _, name := range []string{"go.mod", "partyline.go", "Makefile", "docs/tutorial.md", "test/openapi/go.mod"} {
		if !slices.Contains(changed(t, folder, names), name) {
			t.Errorf("%s still has the old path", name)
		}
	}
	if unformatted := run(t, folder, nil, "gofmt", "-l", "backend", "cmd", "config", "edge", "internal", "test", "partyline.go"); unformatted != "" {
		t.Errorf("gofmt would change %s", unformatted)
	}
	run(t, folder, []string{"GOFLAGS="}, "go", "build", "-trimpath", "-o", os.DevNull, "./cmd/edge")
	buildAnotherModule(t, folder, names)

	current := strings.Fields(run(t, "../..", nil, "go", "list", "-m"))[0]
	run(t, folder, nil, "make", "-s", "module", "PATH="+current)
	if differ := changed(t, folder, names); len(differ) > 0 {
		t.Errorf("there and back changed %q", differ)
	}
}

// buildAnotherModule builds a program that imports the module from a folder that is a Go proxy.
func buildAnotherModule(t *testing.T, folder string, names []string) {
	t.Helper()
	proxy := t.TempDir()
	at := filepath.Join(proxy, ours, "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		version + ".info": []byte(`{"Version":"` + version + `"}`), version + ".mod": mod, version + ".zip": zipped(t, folder, names),
	} {
		if err := os.WriteFile(filepath.Join(at, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shop := t.TempDir()
	if err := os.CopyFS(shop, os.DirFS("testdata/shop")); err != nil {
		t.Fatal(err)
	}
	for before, after := range map[string]string{"go.mod.txt": "go.mod", "main.go.txt": "main.go"} {
		if err := os.Rename(filepath.Join(shop, before), filepath.Join(shop, after)); err != nil {
			t.Fatal(err)
		}
	}
	cache := strings.TrimSpace(run(t, shop, nil, "go", "env", "GOMODCACHE"))
	environment := []string{
		"GOPROXY=file://" + proxy + ",file://" + cache + "/cache/download", "GOSUMDB=off", "GOFLAGS=-mod=mod -modcacherw",
		"GOMODCACHE=" + t.TempDir(), "GOWORK=off", // the module must not stay in the cache of other tests
	}
	run(t, shop, environment, "go", "build", "-trimpath", "-o", os.DevNull, "./...")
}

// zipped packs the module as a proxy does: without modules below.
func zipped(t *testing.T, folder string, names []string) []byte {
	t.Helper()
	var below []string
	for _, name := range names {
		if dir, isModule := strings.CutSuffix(name, "/go.mod"); isModule {
			below = append(below, dir+"/")
		}
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range names {
		if slices.ContainsFunc(below, func(dir string) bool { return strings.HasPrefix(name, dir) }) {
			continue
		}
		data, err := fs.ReadFile(os.DirFS(folder), name)
		if err != nil {
			t.Fatal(err)
		}
		w, err := z.Create(ours + "@" + version + "/" + name)
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
