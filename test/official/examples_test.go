package official

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// service is an example's service: a process beside the edge, which can be ended and started again.
type service struct {
	t           *testing.T
	log         *log
	folder      string
	command     []string
	environment []string

	endsBySignal bool // after SIGTERM, once it has left: it has no handler of its own

	process *exec.Cmd     // nil while it does not run
	exited  chan struct{} // closed when process has ended
}

// startService runs a service until the test ends. It must print the word ready, and end well after SIGTERM.
func startService(t *testing.T, folder string, command []string, environment ...string) *service {
	t.Helper()
	s := &service{t: t, log: newLog(), folder: folder, command: command, environment: environment}
	s.start()
	return s
}

func (s *service) start() {
	t := s.t
	t.Helper()
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Errorf("%s: %v", s.command, err)
		}
		for _, bad := range []string{"DATA RACE", "panic", "level=ERROR"} {
			if strings.Contains(s.log.String(), bad) {
				t.Errorf("%s: its log says %q", s.command, bad)
			}
		}
		if t.Failed() {
			t.Logf("the log of %s:\n%s", s.command, tail(s.log.String()))
		}
	})
	if err := s.begin(); err != nil {
		t.Fatalf("%s does not start: %v\n%s", s.command, err, s.log)
	}
}

func (s *service) begin() error {
	before := len(s.log.String())
	process := exec.Command(s.command[0], s.command[1:]...)
	process.Dir, process.Stdout, process.Stderr = s.folder, s.log, s.log
	process.Env = append(append(os.Environ(), "GORACE=halt_on_error=1 atexit_sleep_ms=0"), s.environment...)
	if err := process.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = process.Wait() // end reads ProcessState
	}()
	s.process, s.exited = process, exited
	late := time.After(deadline)
	for {
		text, changed := s.log.read()
		if strings.Contains(text[before:], "ready") {
			return nil
		}
		select {
		case <-changed:
		case <-exited:
			return os.ErrProcessDone
		case <-late:
			return os.ErrDeadlineExceeded
		}
	}
}

func (s *service) end() error {
	if s.process == nil {
		return nil
	}
	process := s.process
	s.process = nil
	_ = process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(2 * deadline):
		_ = process.Process.Kill()
		<-s.exited
		return os.ErrDeadlineExceeded
	}
	status, _ := process.ProcessState.Sys().(syscall.WaitStatus)
	if !process.ProcessState.Success() && !(s.endsBySignal && status.Signaled() && status.Signal() == syscall.SIGTERM) {
		return &exec.ExitError{ProcessState: process.ProcessState}
	}
	return nil
}

// kill ends it without a chance to leave.
func (s *service) kill() error {
	if s.process == nil {
		return nil
	}
	process := s.process
	s.process = nil
	defer func() { <-s.exited }()
	return process.Process.Kill()
}

// controlServices lets a script deploy: POST /stop/one, /kill/one, /start/two. One request at a time.
func controlServices(t *testing.T, services map[string]*service) string {
	mux := http.NewServeMux()
	for name, s := range services {
		for action, act := range map[string]func() error{"stop": s.end, "kill": s.kill, "start": s.begin} {
			mux.HandleFunc("POST /"+action+"/"+name, func(w http.ResponseWriter, _ *http.Request) {
				if err := act(); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
				}
			})
		}
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return "PARTYLINE_DEPLOY=" + server.URL
}

// chatExample runs an edge with the chat's configuration, and two instances of the chat. The first one serves the
// page. It returns the environment of a script.
func chatExample(t *testing.T) (p *program, environment []string) {
	t.Helper()
	address := freeAddress(t)
	page := "http://" + address
	p = start(t, "embedded", "--config", "../../examples/chat/partyline.yaml", "--embedded.jetstream.dir", t.TempDir(),
		"--cors.origins", page)
	dir, _ := build()
	instance := func(environment ...string) *service {
		return startService(t, ".", []string{filepath.Join(dir, "chat")}, append(environment, "NATS_URL="+p.at.NATS)...)
	}
	services := map[string]*service{
		"one": instance("PAGE_LISTEN="+address, "EDGE_URL=http://"+p.at.Address),
		"two": instance(),
	}
	return p, []string{"PARTYLINE_PAGE=" + page, controlServices(t, services)}
}

func TestExampleChat(t *testing.T) {
	t.Parallel()
	needScripts(t)
	p, environment := chatExample(t)
	p.run(t, "../examples/chat.test.mjs", environment...)
}

func TestExampleChatInTheBrowser(t *testing.T) {
	t.Parallel()
	needScripts(t)
	environment := needBrowser(t)
	p, more := chatExample(t)
	p.run(t, "../examples/page.test.mjs", append(environment, more...)...)
}

// TestExampleNodeChat runs the chat in two instances. Its page comes from one of them, which is the proxy of
// development, and in JavaScript also from a site in front of both, where the edge has the connections.
func TestExampleNodeChat(t *testing.T) {
	t.Parallel()
	needScripts(t)
	environment := needBrowser(t)
	needNodePackage(t)
	for _, variant := range []struct{ name, program string }{{"JavaScript", "server.mjs"}, {"TypeScript", "build/server.mjs"}} {
		t.Run(variant.name, func(t *testing.T) {
			folder := nodeChat(t)
			p := start(t, "embedded", "--config", "testdata/service.yaml")
			services := map[string]*service{}
			var addresses []string
			for _, name := range []string{"one", "two"} {
				addresses = append(addresses, freeAddress(t))
				_, port, _ := net.SplitHostPort(addresses[len(addresses)-1])
				services[name] = &service{t: t, log: newLog(), folder: folder, command: []string{"node", variant.program}, endsBySignal: true,
					environment: []string{"NATS_URL=" + p.at.NATS, "PARTYLINE_EDGE=http://" + p.at.Address, "PORT=" + port}}
				services[name].start()
			}
			more := []string{"PARTYLINE_PAGE=http://" + addresses[0], controlServices(t, services)}
			if variant.name == "JavaScript" { // how instances are replaced does not depend on the variant
				more = append(more, "PARTYLINE_SITE="+site(t, "http://"+p.at.Address, addresses))
			}
			p.run(t, "../examples/node-chat.test.mjs", append(environment, more...)...)
		})
	}
}

// TestExampleNodeService runs the service and its client for the terminal with the packages of the other scripts.
func TestExampleNodeService(t *testing.T) {
	t.Parallel()
	needScripts(t)
	modules, err := filepath.Abs("../node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("../../examples/node-service")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	p := start(t, "embedded", "--config", "../../examples/node-service/partyline.yaml")
	services := map[string]*service{}
	for _, name := range []string{"one", "two"} {
		services[name] = startService(t, folder, []string{"node", "service.mjs"}, "NATS_URL="+p.at.NATS)
	}
	p.run(t, "../examples/node-service.test.mjs", "PARTYLINE_TALK="+filepath.Join(folder, "talk.mjs"),
		controlServices(t, services))
}

func TestExampleOneFile(t *testing.T) {
	t.Parallel()
	needScripts(t)
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	address, nats := freeAddress(t), freeAddress(t)
	startService(t, ".", []string{filepath.Join(dir, "one-file")}, "LISTEN="+address, "PARTYLINE_EMBEDDED_LISTEN="+nats)
	runScript(t, "../examples/one-file.test.mjs", "PARTYLINE_URL=http://"+address, "PARTYLINE_NATS=nats://"+nats)
}

func TestExampleCLI(t *testing.T) {
	t.Parallel()
	needScripts(t)
	// The demo compiles its programs. The first time that may take longer than a script waits.
	const tools = "github.com/nats-io/nats.go/examples/"
	compile := exec.Command("go", "build", "-o", t.TempDir(), tools+"nats-pub", tools+"nats-req")
	if output, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	start(t, "embedded").run(t, "../examples/cli.test.mjs") // as `make run` starts it
}
