package official

import (
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

	process *exec.Cmd     // nil while it does not run
	exited  chan struct{} // closed when process has ended
}

// startService runs a service until the test ends. It must print the word ready, and end well after SIGTERM.
func startService(t *testing.T, folder string, command []string, environment ...string) *service {
	t.Helper()
	s := &service{t: t, log: newLog(), folder: folder, command: command, environment: environment}
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Errorf("%s: %v", command, err)
		}
		for _, bad := range []string{"DATA RACE", "panic", "level=ERROR"} {
			if strings.Contains(s.log.String(), bad) {
				t.Errorf("%s: its log says %q", command, bad)
			}
		}
		if t.Failed() {
			t.Logf("the log of %s:\n%s", command, tail(s.log.String()))
		}
	})
	if err := s.begin(); err != nil {
		t.Fatalf("%s does not start: %v\n%s", command, err, s.log)
	}
	return s
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
	if !process.ProcessState.Success() {
		return &exec.ExitError{ProcessState: process.ProcessState}
	}
	return nil
}

// controlServices lets a script deploy: POST /stop/one, /start/two. One request at a time.
func controlServices(t *testing.T, services map[string]*service) string {
	mux := http.NewServeMux()
	for name, s := range services {
		for action, act := range map[string]func() error{"stop": s.end, "start": s.begin} {
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
