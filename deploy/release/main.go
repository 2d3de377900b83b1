// Command release builds what a release publishes: an archive of the programs for each platform, and the SHA-256 sums of
// the archives. `make release` runs it. The same sources, version of Go and time give the same bytes, in any folder.
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var programs = []string{"edge", "embedded", "gateway"}

// texts are the files that each archive has, if the repository has them.
var texts = []string{"LICENSE", "NOTICE", "CHANGELOG.md"}

// release is what is built.
type release struct {
	version string
	folder  string    // where the archives go
	at      time.Time // of all files in the archives
}

func main() {
	var r release
	flag.StringVar(&r.version, "version", "", "`VERSION` such as v0.1.0, which CHANGELOG.md must have")
	flag.StringVar(&r.folder, "out", "dist", "`FOLDER` for the archives")
	platforms := flag.String("platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64",
		"`LIST` of platforms to build for")
	flag.Parse()
	if err := r.build(strings.Split(*platforms, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func (r *release) build(platforms []string) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.folder, 0o755); err != nil {
		return err
	}
	var sums strings.Builder
	for _, platform := range platforms {
		system, processor, isPair := strings.Cut(platform, "/")
		if !isPair {
			return fmt.Errorf("%q is not a platform such as linux/amd64", platform)
		}
		name, data, err := r.archive(system, processor)
		if err == nil {
			err = os.WriteFile(filepath.Join(r.folder, name), data, 0o644)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
		line := fmt.Sprintf("%x  %s\n", sha256.Sum256(data), name)
		fmt.Print(line)
		sums.WriteString(line)
	}
	return os.WriteFile(filepath.Join(r.folder, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// check reports what would make a bad release, and sets the time.
func (r *release) check() error {
	if !regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`).MatchString(r.version) {
		return fmt.Errorf("version %q is not one such as v0.1.0: make release VERSION=v0.1.0", r.version)
	}
	changes, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return err
	}
	if !regexp.MustCompile(`(?m)^## ` + regexp.QuoteMeta(r.version) + `( |$)`).Match(changes) {
		return fmt.Errorf("CHANGELOG.md has no section \"## %s\"; add it", r.version)
	}
	for _, embedded := range []string{"web/client", "gateway/adminui/pages"} {
		if _, err := os.Stat(embedded + "/VERSION"); err != nil {
			return fmt.Errorf("%s is empty, and programs embed it: run `make client`", embedded)
		}
	}
	stamp := os.Getenv("SOURCE_DATE_EPOCH")
	if stamp == "" {
		commit, err := exec.Command("git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return errors.New("git does not say when the sources changed: set SOURCE_DATE_EPOCH to a time in seconds")
		}
		stamp = strings.TrimSpace(string(commit))
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r.at = time.Unix(seconds, 0).UTC()
	return nil
}

// archive builds the programs for a platform, and returns their archive with its name.
func (r *release) archive(system, processor string) (name string, data []byte, err error) {
	folder, err := os.MkdirTemp("", "release")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(folder)
	files, err := r.compile(folder, system, processor)
	if err != nil {
		return "", nil, err
	}
	for _, name := range texts {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		files = append(files, file{name: name, data: text, mode: 0o644})
	}
	if system == "linux" {
		unit, err := os.ReadFile("deploy/release/partyline@.service")
		if err != nil {
			return "", nil, err
		}
		files = append(files, file{name: "partyline@.service", data: unit, mode: 0o644})
	}
	name = fmt.Sprintf("partyline_%s_%s_%s", r.version, system, processor)
	for i := range files {
		files[i].name = name + "/" + files[i].name
	}
	if system == "windows" {
		data, err = zipped(files, r.at)
		return name + ".zip", data, err
	}
	data, err = tarred(files, r.at)
	return name + ".tar.gz", data, err
}

// compile builds the programs. Nothing of the machine gets into them: neither paths, nor the state of git.
func (r *release) compile(folder, system, processor string) (files []file, err error) {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-o", folder + "/",
		"-ldflags", "-s -w -buildid= -X partyline/cmd/internal/program.version=" + r.version}
	for _, program := range programs {
		args = append(args, "./cmd/"+program)
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+processor, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, output)
	}
	for _, program := range programs {
		if system == "windows" {
			program += ".exe"
		}
		data, err := os.ReadFile(filepath.Join(folder, program))
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: program, data: data, mode: 0o755})
	}
	return files, nil
}
