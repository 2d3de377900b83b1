// Package stand runs a whole deployment of real programs for tests: NATS servers, edges, and other programs of a
// test. Each can be killed, stopped and started again.
package stand

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"partyline/internal/edgetest"
)

// built is the folder of programs, once that exists.
var built atomic.Pointer[string]

// programs is the folder with the programs, built once; without the race detector, which would make NATS the
// bottleneck.
var programs = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "stand")
	if err != nil {
		return "", err
	}
	built.Store(&folder)
	build := exec.Command("go", "build", "-o", folder, "partyline/cmd/edge", "partyline/test/deploy/worker", "partyline/test/hostile/bad",
		"github.com/nats-io/nats-server/v2")
	output, err := build.CombinedOutput()
	if err != nil {
		return folder, fmt.Errorf("%w\n%s", err, output)
	}
	return folder, nil
})

// Main is TestMain of packages whose tests use the programs.
func Main(m *testing.M, options ...goleak.Option) {
	edgetest.LongMain(m, Clean, options...)
}

// Clean removes the programs. It is for packages with a TestMain of their own.
func Clean() {
	if folder := built.Load(); folder != nil {
		_ = os.RemoveAll(*folder)
	}
}

// Process is a running program.
type Process struct {
	Name string // for people

	t       *testing.T
	command *exec.Cmd
	lines   chan string   // what it printed, for Line
	exited  chan struct{} // closed when it has ended and all it printed was read
	err     error         // how it ended; read after exited

	mu  sync.Mutex
	log []string // guarded by mu
}

// Start runs a program, edge, worker, bad, nats-server, node from PATH, or one by its path, until the test ends. name is
// for the log of a failure.
func Start(t *testing.T, name, program string, args ...string) *Process {
	t.Helper()
	p := launch(t, name, program, args...)
	t.Cleanup(p.finish)
	return p
}

// launch runs a program. The caller must finish it.
func launch(t *testing.T, name, program string, args ...string) *Process {
	t.Helper()
	folder, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, program)
	if program == "node" || filepath.IsAbs(program) {
		path = program
	}
	p := &Process{
		t: t, Name: name, command: exec.Command(path, args...),
		lines: make(chan string, 10_000), exited: make(chan struct{}),
	}
	in, out := io.Pipe()
	p.command.Stdout, p.command.Stderr = out, out
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(in); s.Scan(); {
			p.mu.Lock()
			p.log = append(p.log, s.Text())
			p.mu.Unlock()
			select {
			case p.lines <- s.Text():
			default: // Line is not reading
			}
		}
	}()
	go func() {
		p.err = p.command.Wait()
		_ = out.Close()
		<-read
		close(p.exited)
	}()
	return p
}

// finish ends the process if it still runs.
func (p *Process) finish() {
	_ = p.Kill(syscall.SIGKILL)
	if p.t.Failed() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.t.Logf("the end of the log of %s:\n%s", p.Name, strings.Join(p.log[max(0, len(p.log)-40):], "\n"))
	}
}

// PID returns the process's id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Said returns all lines so far.
func (p *Process) Said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

// Signal sends a signal.
func (p *Process) Signal(signal syscall.Signal) { _ = p.command.Process.Signal(signal) }

// Kill sends a signal that ends the process, waits for its end, and returns its error.
func (p *Process) Kill(signal syscall.Signal) error {
	p.t.Helper()
	p.Signal(signal)
	select {
	case <-p.exited:
	case <-time.After(edgetest.Patience):
		p.t.Errorf("%s does not end", p.Name)
		_ = p.command.Process.Kill()
		<-p.exited
	}
	return p.err
}

// Line waits for a line that contains a text.
func (p *Process) Line(has string) string {
	p.t.Helper()
	late := time.After(edgetest.Patience)
	for {
		select {
		case line := <-p.lines:
			if strings.Contains(line, has) {
				return line
			}
		case <-p.exited:
			p.t.Fatalf("%s has ended: %v", p.Name, p.err)
		case <-late:
			p.t.Fatalf("%s does not say %q", p.Name, has)
		}
	}
}
