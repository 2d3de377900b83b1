package docs_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

const tutorial = "tutorial.md"

// TestTutorial follows the tutorial from its first line to its last: it saves the files, runs the commands, and checks
// the tabs of a browser. Only the ports differ, and `make build`, which would fetch the client, is a `go build`.
func TestTutorial(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	p := newPupil(t)
	rest := read(t, tutorial)
	for rest != "" {
		at := fence.FindStringSubmatchIndex(rest)
		if at == nil {
			p.follow(rest)
			break
		}
		p.follow(rest[:at[0]])
		p.block(rest[at[2]:at[3]], rest[at[4]:at[5]])
		rest = rest[at[1]:]
	}
	if p.looked < 10 || p.ran < 6 {
		t.Errorf("the tutorial has %d checks of tabs and %d commands that this test can read", p.looked, p.ran)
	}
}

// pupil follows the tutorial.
type pupil struct {
	t      *testing.T
	root   string            // of the repository; go runs there
	folder string            // the tutorial's files are saved there, and everything else runs there
	file   string            // the file for the next block, if it is a file
	ports  *strings.Replacer // from those of the page to free ones
	nats   string            // the address of NATS
	tabs   *tabs
	runs   map[string]*running // by "edge", "service" and "web"
	ran    int
	looked int
}

func newPupil(t *testing.T) *pupil {
	t.Helper()
	tabs := openBrowser(t)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	p := &pupil{t: t, root: root, folder: t.TempDir(), tabs: tabs, runs: map[string]*running{}}
	var pairs []string
	for _, port := range []string{"3000", "3001", "4222", "5173"} {
		pairs = append(pairs, port, freePort(t))
	}
	p.ports = strings.NewReplacer(pairs...)
	p.nats = "127.0.0.1:" + pairs[5]
	return p
}

func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(stand.FreePorts(t, 1)[0])
}

// steps are the sentences with a meaning for the test. All others are for people only.
var steps = []struct {
	pattern *regexp.Regexp
	act     func(*pupil, []string)
}{
	{regexp.MustCompile("Save this as `([^`]+)`:"), func(p *pupil, m []string) { p.file = m[1] }},
	{regexp.MustCompile("In `([^`]+)`, replace the `(\\w+)` handler by:"), func(p *pupil, m []string) { p.file = m[1] + " " + m[2] }},
	{regexp.MustCompile(`<(http://localhost:5173/#(\w+))>`), func(p *pupil, m []string) { p.tabs.do(tab{Open: m[2], URL: p.ports.Replace(m[1])}) }},
	{regexp.MustCompile("<(http://localhost:5173/)> in a third tab, [^.]+\\. It says `([^`]+)`"), func(p *pupil, m []string) {
		p.tabs.do(tab{Open: "third", URL: p.ports.Replace(m[1]), State: m[2]})
	}},
	{regexp.MustCompile("Send `([^`]+)` in (\\w+)'s tab"), func(p *pupil, m []string) { p.tabs.do(tab{Tab: m[2], Say: m[1]}) }},
	{regexp.MustCompile("Both tabs show `([^`]+)`"), func(p *pupil, m []string) { p.look(m[1], "Ann", "Bob") }},
	{regexp.MustCompile("Both tabs say `([^`]+)`"), func(p *pupil, m []string) {
		for _, name := range []string{"Ann", "Bob"} {
			p.tabs.do(tab{Tab: name, State: m[1]})
		}
	}},
	{regexp.MustCompile("(Only )?(\\w+)'s tab shows `([^`]+)`"), func(p *pupil, m []string) {
		p.look(m[3], m[2])
		if m[1] != "" {
			other := map[string]string{"Ann": "Bob", "Bob": "Ann"}[m[2]]
			p.t.Cleanup(func() { p.tabs.do(tab{Tab: other, Hides: m[3]}) }) // once later messages have arrived
		}
	}},
	{regexp.MustCompile(`Stop the (\w+) with Ctrl-C`), func(p *pupil, m []string) { p.runs[m[1]].stop() }},
	{regexp.MustCompile("It prints `(\\w+)`"), func(p *pupil, m []string) {
		edgetest.Eventually(p.t, "the service prints "+m[1], func() bool { return strings.Contains(p.runs["service"].log.String(), m[1]) })
	}},
}

// follow executes a part of the text, sentence by sentence.
func (p *pupil) follow(text string) {
	p.t.Helper()
	text = strings.Join(strings.Fields(text), " ")
	for text != "" {
		first, act := []int(nil), (func(*pupil, []string))(nil)
		for _, s := range steps {
			if at := s.pattern.FindStringSubmatchIndex(text); at != nil && (first == nil || at[0] < first[0]) {
				first, act = at, s.act
			}
		}
		if first == nil {
			return
		}
		var m []string
		for i := 0; i < len(first); i += 2 {
			m = append(m, text[max(0, first[i]):max(0, first[i+1])])
		}
		act(p, m)
		text = text[first[1]:]
	}
}

func (p *pupil) look(line string, names ...string) {
	p.t.Helper()
	for _, name := range names {
		p.looked++
		p.tabs.do(tab{Tab: name, Shows: line})
	}
}

// block saves a file, or runs commands.
func (p *pupil) block(language, text string) {
	p.t.Helper()
	if language == "sh" {
		for line := range strings.Lines(text) {
			p.ran++
			p.command(p.ports.Replace(strings.TrimSpace(line)))
		}
		return
	}
	if p.file == "" {
		p.t.Fatalf("a block of %s belongs to no file", language)
	}
	name, handler, isPart := strings.Cut(p.file, " ")
	path := filepath.Join(p.folder, name)
	if isPart {
		old := regexp.MustCompile(`(?ms)^\tchat\.On\("` + handler + `".*?^\t\}\)\n`)
		whole := read(p.t, path)
		if len(old.FindAllString(whole, -1)) != 1 {
			p.t.Fatalf("%s has not one handler of %s", name, handler)
		}
		text = old.ReplaceAllLiteralString(whole, text)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	writeFile(p.t, path, p.ports.Replace(text))
	p.file = ""
}

// command runs a line until it ends, or, if it is a server, until it is stopped.
func (p *pupil) command(line string) {
	p.t.Helper()
	name := ""
	switch {
	case strings.HasPrefix(line, "make build"):
		line = "go build -o " + filepath.Join(p.folder, "bin") + "/ ./cmd/embedded"
	case strings.HasPrefix(line, "./bin/embedded"):
		name = "edge"
	case strings.HasPrefix(line, "go run ./tutorial/service"):
		name = "service"
	case strings.HasPrefix(line, "python3"):
		name = "web"
	}
	r := p.start(line)
	if name == "" {
		if err := r.wait(); err != nil {
			p.t.Fatalf("%s: %v\n%s", line, err, r.log)
		}
		return
	}
	p.runs[name] = r
	if name == "edge" { // a person needs longer for the next terminal than an edge for its start
		edgetest.Eventually(p.t, "NATS listens", func() bool {
			conn, err := net.Dial("tcp", p.nats)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
	}
}

// running is a command with its process group.
type running struct {
	t       *testing.T
	command *exec.Cmd
	log     *output
	ended   chan error
	done    sync.Once
	err     error
}

// output collects what a command prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs a line of the page in a shell. An overlay makes Go see the tutorial's files as part of the repository.
func (p *pupil) start(line string) *running {
	p.t.Helper()
	r := &running{t: p.t, log: &output{}, ended: make(chan error, 1)}
	r.command = exec.Command("sh", "-c", line)
	r.command.Dir, r.command.Stdout, r.command.Stderr = p.folder, r.log, r.log
	r.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.command.WaitDelay = edgetest.Patience
	r.command.Env = append(os.Environ(), "PARTYLINE_LISTEN="+p.ports.Replace("127.0.0.1:3000"),
		"PARTYLINE_ADMIN_LISTEN="+p.ports.Replace("127.0.0.1:3001"), "PARTYLINE_EMBEDDED_LISTEN="+p.nats, "NATS_URL=nats://"+p.nats)
	if strings.HasPrefix(line, "go ") {
		const service = "tutorial/service/main.go"
		overlay, _ := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(p.root, service): filepath.Join(p.folder, service)}})
		file := filepath.Join(p.folder, "overlay.json")
		writeFile(p.t, file, string(overlay))
		r.command.Dir = p.root
		r.command.Env = append(r.command.Env, "GOFLAGS=-overlay="+file)
	}
	if err := r.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { r.ended <- r.command.Wait() }()
	p.t.Cleanup(func() {
		if r.stop(); p.t.Failed() {
			p.t.Logf("%s\n%s", line, r.log)
		}
	})
	return r
}

func (r *running) wait() error {
	r.done.Do(func() {
		late := time.AfterFunc(3*edgetest.Patience, func() { _ = syscall.Kill(-r.command.Process.Pid, syscall.SIGKILL) })
		defer late.Stop()
		r.err = <-r.ended
	})
	return r.err
}

// stop is Ctrl-C: the terminal interrupts the whole process group.
func (r *running) stop() {
	_ = syscall.Kill(-r.command.Process.Pid, syscall.SIGINT)
	_ = r.wait()
}

// tab is a line for testdata/tabs.mjs.
type tab struct {
	Open  string `json:"open,omitempty"`
	URL   string `json:"url,omitempty"`
	Tab   string `json:"tab,omitempty"`
	Say   string `json:"say,omitempty"`
	Shows string `json:"shows,omitempty"`
	Hides string `json:"hides,omitempty"`
	State string `json:"state,omitempty"`
}

// tabs are the tabs of a browser, which a script drives.
type tabs struct {
	t       *testing.T
	in      *json.Encoder
	answers *bufio.Scanner
}

// openBrowser starts the script, or skips the test if a program is missing.
func openBrowser(t *testing.T) *tabs {
	t.Helper()
	chromium := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && chromium == "" {
			chromium = path
		}
	}
	_, noClient := os.Stat("../web/client/VERSION")
	_, noScript := os.Stat(filepath.Join(nodeModules, "playwright-core"))
	_, noNode := exec.LookPath("node")
	_, noPython := exec.LookPath("python3")
	if chromium == "" || noClient != nil || noScript != nil || noNode != nil || noPython != nil {
		t.Skip("LEFT OUT: docs/" + tutorial + " needs chromium, Node.js, Python 3, and what `make test` installs")
	}
	script := exec.Command("node", "testdata/tabs.mjs")
	script.Env = append(os.Environ(), "CHROMIUM="+chromium, fmt.Sprint("PATIENCE=", edgetest.Patience.Milliseconds()))
	script.Stderr = os.Stderr
	in, err := script.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(6*edgetest.Patience, func() { _ = script.Process.Kill() })
	t.Cleanup(func() {
		_ = in.Close()
		if err := script.Wait(); err != nil {
			t.Errorf("the browser ended with %v", err)
		}
		late.Stop()
	})
	return &tabs{t: t, in: json.NewEncoder(in), answers: bufio.NewScanner(out)}
}

// do performs an action in a tab, and waits until it is done.
func (b *tabs) do(step tab) {
	b.t.Helper()
	if err := b.in.Encode(step); err != nil {
		b.t.Fatal(err)
	}
	if !b.answers.Scan() || b.answers.Text() != "ok" {
		b.t.Fatalf("%+v: %s", step, b.answers.Text())
	}
}
