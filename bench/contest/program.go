package contest

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"partyline/bench/process"
)

// patience is how long a program may take to start.
const patience = 20 * time.Second

// program is a process of a deployment.
type program struct {
	process.Watched
	profile string // where it serves its CPU profile, as a URL; "" if it does not
	admin   string // host:port of an edge's health; "" of other programs

	command *exec.Cmd
	lines   chan string   // what it printed, while start reads it
	ended   chan struct{} // closed when it has ended and all that it printed was read

	mu  sync.Mutex
	log []string // the last lines; guarded by mu
}

// logged is how many lines of a program's log are kept.
const logged = 20

// Child processes end with this program, however it ends. Linux binds them to the thread that started them, so main
// stays on one thread.
var orphans = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

// start runs a program, waits for a line that contains a text, and returns it.
func start(name, role, ready string, command *exec.Cmd) (*program, string, error) {
	p := &program{command: command, lines: make(chan string, 1000), ended: make(chan struct{})}
	p.Name, p.Role = name, role
	in, out := io.Pipe()
	command.Stdout, command.Stderr = out, out
	command.SysProcAttr = orphans
	if err := command.Start(); err != nil {
		return nil, "", fmt.Errorf("%s: %w", name, err)
	}
	p.PID = command.Process.Pid
	go p.follow(in, out)
	late := time.After(patience)
	for {
		select {
		case line := <-p.lines:
			if strings.Contains(line, ready) {
				return p, line, nil
			}
		case <-p.ended:
			return nil, "", fmt.Errorf("%s has ended:\n%s", name, p.tail())
		case <-late:
			p.stop()
			return nil, "", fmt.Errorf("%s does not say %q:\n%s", name, ready, p.tail())
		}
	}
}

// follow reads what the program prints until it ends.
func (p *program) follow(in io.Reader, out *io.PipeWriter) {
	go func() {
		_ = p.command.Wait() // it is killed, so its status does not matter
		_ = out.Close()
	}()
	for s := bufio.NewScanner(in); s.Scan(); {
		p.mu.Lock()
		p.log = append(p.log[max(0, len(p.log)-logged+1):], s.Text())
		p.mu.Unlock()
		select {
		case p.lines <- s.Text():
		default: // start has returned
		}
	}
	close(p.ended)
}

func (p *program) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// stop ends the program, and waits for its end.
func (p *program) stop() {
	_ = p.command.Process.Kill()
	<-p.ended
}
