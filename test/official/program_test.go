package official

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// deadline bounds each wait for a process. It is long because test machines are slow.
const deadline = edgetest.Patience

// scriptDeadline is for a whole script; the longest takes a minute.
const scriptDeadline = 6 * time.Minute

// build compiles the programs, with the race detector, and returns the folder that holds them.
var build = sync.OnceValues(func() (string, error) {
	if err := lookAtSources("../.."); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "partyline-test-")
	if err != nil {
		return "", err
	}
	command := exec.Command("go", "build", "-race", "-o", dir+string(filepath.Separator),
		"partyline/cmd/edge", "partyline/cmd/embedded", "partyline/cmd/gateway", "partyline/examples/chat", "partyline/examples/one-file")
	if output, err := command.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%w\n%s", err, output)
	}
	return dir, nil
})

// lookAtSources stats every source file of the programs and scripts. `go test` reuses an earlier result if no file
// that this process has opened or statted has changed, and other processes read these.
func lookAtSources(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch entry.Name() {
			case ".git", ".cache", "node_modules", "screenshots", "bin":
				return fs.SkipDir
			}
			return nil
		}
		switch filepath.Ext(path) {
		case ".go", ".mod", ".mjs", ".js", ".ts", ".html", ".css", ".svg", ".yaml", ".json":
			_, _ = os.Stat(path) // an editor may have removed it
		}
		return nil
	})
}

// log collects what a process writes. It may be written and read at the same time.
type log struct {
	mu      sync.Mutex
	text    bytes.Buffer  // guarded by mu
	changed chan struct{} // guarded by mu: closed and replaced with each write
}

func newLog() *log { return &log{changed: make(chan struct{})} }

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

func (l *log) String() string {
	text, _ := l.read()
	return text
}

// read returns the text and a channel that is closed when there is more.
func (l *log) read() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String(), l.changed
}

// program is a server under test: a process that can be ended and started again on the same ports.
type program struct {
	t    *testing.T
	path string
	args []string
	log  *log // of all its lives

	mu      sync.Mutex
	process *exec.Cmd     // guarded by mu: nil while it does not run
	exited  chan struct{} // guarded by mu: closed when process has ended
	at      listening     // guarded by mu
}

// listening is the log line with the addresses.
type listening struct{ Msg, Address, Admin, NATS string }

// start runs a program on free ports until the test ends. The test fails if the program reports a race, a panic or an
// error of its own, and shows its log when anything has failed.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatalf("the programs do not build: %v", err)
	}
	if !slices.ContainsFunc(args, func(arg string) bool {
		return strings.HasPrefix(arg, "--listen=") || strings.HasPrefix(arg, "--gateway.listen=")
	}) {
		args = append(args, "--listen="+freeAddress(t))
	}
	args = append(args, "--admin.listen="+freeAddress(t), "--log.level=debug")
	if name == "embedded" {
		args = append(args, "--embedded.listen="+freeAddress(t))
	}
	p := &program{t: t, path: filepath.Join(dir, name), args: args, log: newLog()}
	t.Cleanup(func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for line := range strings.Lines(p.log.String()) {
			for _, bad := range []string{"DATA RACE", "panic", `"level":"ERROR"`, "http: "} {
				// Chromium connects again after it has refused a certificate of the test.
				if strings.Contains(line, bad) && !strings.Contains(line, "TLS handshake error") {
					t.Errorf("%s: its log says: %s", name, line)
				}
			}
		}
		if t.Failed() {
			t.Logf("the log of %s:\n%s", name, tail(p.log.String()))
		}
	})
	if err := p.begin(); err != nil {
		t.Fatalf("%s does not start: %v\n%s", name, err, p.log)
	}
	return p
}

// freeAddress finds a free port. It is below the ports of outgoing connections, so that it is still free when a
// program is restarted. Until the test ends, the same UDP port is bound, which shows tests in all processes that the
// port is taken.
func freeAddress(t *testing.T) string {
	t.Helper()
	for port := 20000 + os.Getpid()%10000; port < 32000; port++ {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		sign, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			t.Cleanup(func() { sign.Close() })
			return address
		}
		sign.Close()
	}
	t.Fatal("no free port")
	return ""
}

// begin starts the process and waits until it listens.
func (p *program) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != nil {
		return fmt.Errorf("it runs already")
	}
	before := len(p.log.String())
	process := exec.Command(p.path, p.args...)
	process.Env = append(os.Environ(), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	process.Stdout, process.Stderr = p.log, p.log
	if err := process.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = process.Wait() // end looks at ProcessState
	}()
	p.process, p.exited = process, exited
	late := time.After(deadline)
	for {
		text, changed := p.log.read()
		for line := range strings.Lines(text[before:]) {
			if json.Unmarshal([]byte(line), &p.at) == nil && p.at.Msg == "listening" {
				return nil
			}
		}
		select {
		case <-changed:
		case <-exited:
			p.process = nil
			return fmt.Errorf("it ended: %v", process.ProcessState)
		case <-late:
			return fmt.Errorf("it does not say that it listens")
		}
	}
}

// end ends the process with a signal, if it runs, and waits for it. After SIGTERM its status must be 0.
func (p *program) end(with syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return nil
	}
	process := p.process
	p.process = nil
	signalled := process.Process.Signal(with)
	select {
	case <-p.exited:
	case <-time.After(deadline):
		_ = process.Process.Signal(syscall.SIGQUIT) // prints its goroutines
		<-p.exited
		return fmt.Errorf("it did not end within %s after %s", deadline, with)
	}
	if with == syscall.SIGTERM && (signalled != nil || !process.ProcessState.Success()) {
		return fmt.Errorf("it ended with %s", process.ProcessState)
	}
	return nil
}

// signal sends a signal that does not end the process.
func (p *program) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return fmt.Errorf("it does not run")
	}
	return p.process.Process.Signal(s)
}

// control allows a script to control the process as an operator can. It serves POST /stop, /kill, /start, /pause and
// /resume, and responds when it is done.
func (p *program) control() *httptest.Server {
	actions := map[string]func() error{
		"/stop":   func() error { return p.end(syscall.SIGTERM) },
		"/kill":   func() error { return p.end(syscall.SIGKILL) },
		"/start":  p.begin,
		"/pause":  func() error { return p.signal(syscall.SIGSTOP) },
		"/resume": func() error { return p.signal(syscall.SIGCONT) },
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		act := actions[r.URL.Path]
		if act == nil {
			http.NotFound(w, r)
		} else if err := act(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	p.t.Cleanup(s.Close)
	return s
}

// run runs one script with `node --test` against the program, and shows what it printed if it fails.
func (p *program) run(t *testing.T, script string, environment ...string) {
	t.Helper()
	runScript(t, script, append(environment,
		"PARTYLINE_URL="+p.scheme()+"://"+p.at.Address, "PARTYLINE_NATS="+p.at.NATS, "PARTYLINE_CONTROL="+p.control().URL)...)
}

// scheme returns how clients reach the program.
func (p *program) scheme() string {
	if slices.ContainsFunc(p.args, func(arg string) bool { return strings.HasPrefix(arg, "--tls.cert=") }) {
		return "https"
	}
	return "http"
}

func runScript(t *testing.T, script string, environment ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptDeadline)
	defer cancel()
	command := exec.CommandContext(ctx, "node", "--test", "--test-reporter=spec", script)
	command.WaitDelay = time.Second
	command.Env = append(os.Environ(), environment...)
	output, err := command.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		t.Errorf("%s did not end in time\n%s", script, output)
	case err != nil:
		t.Errorf("%s: %v\n%s", script, err, output)
	case bytes.Contains(output, []byte("ℹ pass 0\n")):
		t.Errorf("%s ran no test\n%s", script, output)
	default:
		t.Logf("%s", output)
	}
}

// tail keeps the end of a long log.
func tail(text string) string {
	const most = 20000
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}
