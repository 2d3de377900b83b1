// Package release checks what `make release` builds, and the scripts that start programs.
package release

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

func TestMain(m *testing.M) { edgetest.LongMain(m, nil, goleak.IgnoreCurrent()) }

const (
	root    = "../.."
	version = "v0.1.0"
)

// Two builds, one of them in another folder and without git, give the same bytes, and what is inside is complete.
func TestArchives(t *testing.T) {
	edgetest.ForRelease(t, "the archives of a release")
	for _, embedded := range []string{"web/client", "gateway/adminui/pages"} {
		if _, err := os.Stat(filepath.Join(root, embedded, "VERSION")); err != nil {
			leaveOut(t, "the archives of a release: run `make client`")
		}
	}
	if runtime.GOOS != "linux" {
		leaveOut(t, "the archives of a release run on Linux")
	}
	first, second := t.TempDir(), t.TempDir()
	build(t, root, first)
	build(t, copyOfTheSources(t), second)
	names := []string{"SHA256SUMS"}
	for _, system := range []string{"linux", "darwin", "windows"} {
		ending := ".tar.gz"
		if system == "windows" {
			ending = ".zip"
		}
		for _, processor := range []string{"amd64", "arm64"} {
			names = append(names, "partyline_"+version+"_"+system+"_"+processor+ending)
		}
	}
	for _, name := range names {
		one, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(filepath.Join(second, name))
		if err != nil || !bytes.Equal(one, other) {
			t.Errorf("%s: two builds differ (%d and %d bytes), %v", name, len(one), len(other), err)
		}
	}
	sums := exec.CommandContext(t.Context(), "sha256sum", "--check", "SHA256SUMS")
	sums.Dir = first
	if out, err := sums.CombinedOutput(); err != nil {
		t.Errorf("the sums: %v\n%s", err, out)
	}
	texts := []string{"CHANGELOG.md", "LICENSE"}
	if _, err := os.Stat(root + "/NOTICE"); err == nil {
		texts = append(texts, "NOTICE")
	}
	folder := filepath.Join(t.TempDir(), "programs")
	forLinux := filepath.Join(first, "partyline_"+version+"_linux_"+runtime.GOARCH+".tar.gz")
	has(t, "the archive for Linux", untar(t, forLinux, folder), append(texts, "edge", "embedded", "gateway", "partyline@.service"))
	has(t, "the archive for Windows", unzip(t, filepath.Join(first, "partyline_"+version+"_windows_amd64.zip")), append(texts, "edge.exe", "embedded.exe", "gateway.exe"))
	for _, program := range []string{"edge", "embedded", "gateway"} {
		out, err := exec.CommandContext(t.Context(), filepath.Join(folder, program), "--version").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "partyline "+program+" "+version+" ") {
			t.Errorf("%s --version: %s, %v", program, out, err)
		}
	}
	t.Run("the unit of systemd", func(t *testing.T) { checkUnit(t, folder) })
	t.Run("the examples on other ports", func(t *testing.T) { startExample(t, filepath.Join(folder, "embedded")) })
}

func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("PARTYLINE_TEST_ALL") == "1" {
		t.Fatal(why)
	}
	t.Skip("LEFT OUT: " + why)
}

// copyOfTheSources returns a folder with all files that git knows, and those that `make client` has fetched.
func copyOfTheSources(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	command := exec.CommandContext(t.Context(), "sh", "-c", `{ git ls-files -z --cached --others --exclude-standard &&
		find web/client gateway/adminui/pages -type f -print0; } | sort -zu | tar -c --null --ignore-failed-read -T - 2>/dev/null | tar -x -C "$0"`, folder)
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return folder
}

// build builds all archives of the sources in a folder.
func build(t *testing.T, sources, to string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "run", "./deploy/release", "-version", version, "-out", to)
	command.Dir = sources
	command.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// has compares the names in an archive, which has one folder.
func has(t *testing.T, what string, names, want []string) {
	t.Helper()
	slices.Sort(names)
	if slices.Sort(want); !slices.Equal(names, want) {
		t.Errorf("%s has %q, want %q", what, names, want)
	}
}

// untar unpacks a .tar.gz below a folder, without the archive's own, and returns the names of its files.
func untar(t *testing.T, archive, folder string) (names []string) {
	t.Helper()
	data, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	packed, err := gzip.NewReader(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(packed); ; {
		header, err := files.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(files)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, filepath.Base(header.Name)), content, header.FileInfo().Mode())
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Base(header.Name))
	}
}

func unzip(t *testing.T, archive string) (names []string) {
	t.Helper()
	files, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	for _, f := range files.File {
		names = append(names, filepath.Base(f.Name))
	}
	return names
}

// checkUnit lets systemd read the unit, with each program in its place.
func checkUnit(t *testing.T, folder string) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		leaveOut(t, "the unit of systemd: there is no systemd-analyze")
	}
	text, err := os.ReadFile(filepath.Join(folder, "partyline@.service"))
	if err != nil {
		t.Fatal(err)
	}
	units := t.TempDir()
	for _, program := range []string{"edge", "embedded", "gateway"} {
		unit := filepath.Join(units, "partyline@"+program+".service")
		placed := strings.ReplaceAll(string(text), "/usr/local/bin/partyline-%i", filepath.Join(folder, "%i"))
		if err := os.WriteFile(unit, []byte(placed), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

// startExample runs an example with all of its ports moved, and looks for the edge there.
func startExample(t *testing.T, embedded string) {
	folder, base := t.TempDir(), 0
	for base == 0 { // with room for all
		if port := stand.FreePorts(t, 1)[0]; port < 30_000 {
			base = port
		}
	}
	if err := os.CopyFS(filepath.Join(folder, "examples"), os.DirFS(root+"/examples")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(embedded, filepath.Join(folder, "bin", "embedded")); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("sh", "examples/run.sh", "examples/chat/partyline.yaml", "sh", "-c", "cat .cache/example-$PORT_BASE.yaml; env")
	command.Dir = folder
	command.Env = append(os.Environ(), "PORT_BASE="+strconv.Itoa(base))
	out, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout = writer
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	var said strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "The service has ended") {
		said.WriteString(lines.Text() + "\n")
	}
	drained := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, out)
		close(drained)
	}()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	edgetest.Eventually(t, "the edge answers at PORT_BASE", func() bool {
		response, err := client.Get("http://127.0.0.1:" + strconv.Itoa(base) + "/socket.io/?EIO=4&transport=polling")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	_ = command.Process.Signal(syscall.SIGTERM)
	if err := command.Wait(); err != nil {
		t.Errorf("run.sh ended with %v", err)
	}
	<-drained
	for _, want := range []string{
		"http://localhost:" + strconv.Itoa(base+10), "PAGE_LISTEN=127.0.0.1:" + strconv.Itoa(base+10),
		"NATS_URL=nats://127.0.0.1:" + strconv.Itoa(base+1222), "EDGE_URL=http://localhost:" + strconv.Itoa(base),
		".cache/example-chat-" + strconv.Itoa(base) + "}",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the example has not %s:\n%s", want, said.String())
		}
	}
}
