package hostile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// programs is the folder of the programs, which are built once. cleanPrograms removes it.
var programs = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return "", err
	}
	args := []string{"build", "-o", folder}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "partyline/cmd/edge", "partyline/cmd/embedded")...)
	build.Stderr = os.Stderr
	return folder, build.Run()
})

func cleanPrograms() {
	if folder, err := programs(); err == nil {
		_ = os.RemoveAll(folder)
	}
}

// program is a real process.
type program struct {
	t          *testing.T
	URL, Admin string // http://…
	NATS       string
	command    *exec.Cmd

	mu    sync.Mutex
	lines []string // guarded by mu: its log
}

// run starts a program on free ports, with a configuration file, or "" for none. At the end of the test it must end
// without an error, a panic or a race.
func run(t *testing.T, name, config string, args ...string) *program {
	t.Helper()
	return runWith(t, 0, name, config, args...)
}

// runWith is run with a limit of open files, or 0 for that of the test.
func runWith(t *testing.T, files int, name, config string, args ...string) *program {
	t.Helper()
	folder, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	args = append(args, "--listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0")
	if name == "embedded" {
		args = append(args, "--embedded.listen=127.0.0.1:0")
	}
	if config != "" {
		file := filepath.Join(t.TempDir(), "partyline.yaml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config="+file)
	}
	p := &program{t: t, command: exec.Command(filepath.Join(folder, name), args...)}
	if files > 0 {
		limited := append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, files)}, p.command.Args...)
		p.command = exec.Command("sh", limited...)
	}
	stderr, err := p.command.StderrPipe()
	if err == nil {
		err = p.command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	listening, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			var line struct{ Msg, Address, Admin, NATS string }
			if json.Unmarshal(in.Bytes(), &line) == nil && line.Msg == "listening" {
				p.URL, p.Admin, p.NATS = "http://"+line.Address, "http://"+line.Admin, line.NATS
				close(listening)
			}
			p.mu.Lock()
			p.lines = append(p.lines, in.Text())
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		late := time.AfterFunc(edgetest.Patience, func() { _ = p.command.Process.Kill() })
		defer late.Stop()
		_ = p.command.Process.Signal(syscall.SIGTERM)
		<-read
		err := p.command.Wait()
		log := strings.Join(p.Logged(), "\n")
		if err != nil || strings.Contains(log, "panic") || strings.Contains(log, "DATA RACE") {
			t.Errorf("%s ended with %v", name, err)
		}
		if t.Failed() {
			t.Logf("the log of %s:\n%s", name, log)
		}
	})
	select {
	case <-listening:
	case <-read:
		t.Fatalf("%s does not run: %s", name, strings.Join(p.Logged(), "\n"))
	case <-time.After(edgetest.Patience):
		t.Fatalf("%s does not listen", name)
	}
	edgetest.Eventually(t, name+" is ready", func() bool {
		response, err := http.Get(p.Admin + "/readyz")
		_, _ = body(response, err)
		return err == nil && response.StatusCode == http.StatusOK
	})
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return p
}

// Logged returns the log so far, one string per line.
func (p *program) Logged() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

// figure reads a metric from /metrics.
func (p *program) figure(series string) int {
	p.t.Helper()
	page := get(p.t, http.DefaultClient, p.Admin+"/metrics", http.StatusOK)
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(page)
	if found == nil {
		p.t.Fatalf("no metric %s", series)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return int(value)
}
