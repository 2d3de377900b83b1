package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// program is the built edge as a process.
type program struct {
	*exec.Cmd
	t              *testing.T
	file           string // its configuration
	lines          chan string
	address, admin string
}

// start builds the edge, and runs it with a configuration.
func start(t *testing.T, config string) *program {
	t.Helper()
	folder := t.TempDir()
	p := &program{t: t, file: filepath.Join(folder, "edge.yaml"), lines: make(chan string, 1000)}
	binary := filepath.Join(folder, "edge")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.write(config)
	p.Cmd = exec.Command(binary, "--config", p.file, "--listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0")
	log, err := p.StderrPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for scanner := bufio.NewScanner(log); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
		close(p.lines)
	}()
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	var where struct{ Address, Admin string }
	_ = json.Unmarshal([]byte(p.logs(`"listening"`)), &where)
	p.address, p.admin = "http://"+where.Address, "http://"+where.Admin
	edgetest.Eventually(t, "it is ready", func() bool { status, _ := p.ask(http.MethodGet, "/readyz"); return status == http.StatusOK })
	return p
}

// write replaces the configuration.
func (p *program) write(config string) {
	p.t.Helper()
	if err := os.WriteFile(p.file, []byte(config), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// logs waits for a line of the log that has a text.
func (p *program) logs(text string) string {
	p.t.Helper()
	for {
		line := edgetest.Await(p.t, p.lines)
		p.t.Log(line)
		if strings.Contains(line, text) {
			return line
		}
		if line == "" {
			p.t.Fatalf("it ended without %q in its log", text)
		}
	}
}

// hangUp sends SIGHUP.
func (p *program) hangUp() {
	p.t.Helper()
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
}

// ask requests a page of the operator.
func (p *program) ask(method, page string) (int, string) {
	p.t.Helper()
	request, err := http.NewRequest(method, p.admin+page, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(text))
}

// counts checks how many reloads had an outcome.
func (p *program) counts(outcome, want string) {
	p.t.Helper()
	if _, metrics := p.ask(http.MethodGet, "/metrics"); !strings.Contains(metrics, `partyline_reloads_total{outcome="`+outcome+`"} `+want+"\n") {
		p.t.Errorf("%s reloads are not %s", outcome, want)
	}
}

// A running edge reads its file again on SIGHUP and on POST /reload. What is faulty, or needs a restart, changes
// nothing and is named; clients never notice.
func TestReload(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program")
	}
	server := natsdtest.Start(t)
	const chat = `"/chat": {connect: open, relay: [{event: say, to: all, self: true}]}`
	config := func(namespaces string) string {
		return "nats: {url: \"" + server.ClientURL() + "\"}\nnamespaces: {" + namespaces + "}\n"
	}
	p := start(t, config(chat))
	talk := enginetest.NewConversation(t)
	enter := func(name, namespace string) *edgetest.Socket {
		t.Helper()
		return edgetest.Enter(enginetest.Dial(t, talk, name, p.address, nil), namespace, "")
	}
	ann, bob := enter("ann", "/chat"), enter("bob", "/chat")
	fine := func(body string) {
		t.Helper()
		ann.Emit("", body)
		ann.Gets(body)
		bob.Gets(body)
	}
	fine(`["say",1]`)

	p.write(config(chat) + "engine: {ping_interval: soon}\nlisen: \":1\"\n")
	faults := p.file + `:3: engine.ping_interval: "soon" is not a duration; write a number with its unit, such as 25s or 1m30s` + "\n" +
		p.file + ":4: lisen: unknown key; did you mean listen?"
	p.hangUp()
	if line := p.logs("the configuration was not reloaded"); !strings.Contains(line, "engine.ping_interval") || !strings.Contains(line, "lisen") {
		t.Errorf("the log does not name the faults: %s", line)
	}
	if status, text := p.ask(http.MethodPost, "/reload"); status != http.StatusBadRequest || text != faults {
		t.Errorf("%d %q, want 400 %q", status, text, faults)
	}
	p.counts("faulty", "2")
	fine(`["say",2]`)

	p.write(config(`"/new": {connect: open}`) + "engine: {ping_interval: 7s}\npath: /io/\n")
	status, text := p.ask(http.MethodPost, "/reload")
	if want := p.file + ":3: engine.ping_interval: needs a restart: the program runs with 25s"; status != http.StatusConflict || !strings.Contains(text, want) ||
		!strings.Contains(text, ":4: path: needs a restart: the program runs with /socket.io/") {
		t.Errorf("%d %q, want 409 %q and path", status, text, want)
	}
	p.counts("needs restart", "1")
	refused := enginetest.Dial(t, talk, "refused", p.address, nil)
	refused.Send("40/new,")
	refused.Expect(`44/new,{"message":"Invalid namespace"}`)

	p.write(config(`"/new": {connect: open}`) + "log: {level: debug}\n")
	p.hangUp()
	if line := p.logs("the configuration was reloaded"); !strings.Contains(line, `"changed":["log.level","namespaces"]`) {
		t.Errorf("the log does not name what changed: %s", line)
	}
	p.counts("reloaded", "1")
	enter("carl", "/new").Hangup()
	p.logs(`"level":"DEBUG"`)
	refused.Send("40/chat,")
	refused.Expect(`44/chat,{"message":"Invalid namespace"}`)
	fine(`["say",3]`)

	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.logs("stopping")
	for range p.lines { // until it has ended
	}
	if err := p.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
