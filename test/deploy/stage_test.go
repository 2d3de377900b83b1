// Package deploy tries what a deploy of the application does to its clients: three NATS servers, edges and instances of
// a service at different ones, all of them processes of their own, a tap on every subject, and clients that go on
// emitting while instances come and go. Everything is counted by sequence numbers.
package deploy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

// patience is how long a test waits for what must come. The machine may be busy.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		if folder, err := programs(); err == nil {
			_ = os.RemoveAll(folder)
		}
		os.Exit(status)
	}))
}

// programs is the folder with the programs, built once; without the race detector, which would make NATS the bottleneck.
var programs = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "deploy")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", folder, "partyline/cmd/edge", "partyline/test/deploy/worker", "github.com/nats-io/nats-server/v2")
	output, err := build.CombinedOutput()
	if err != nil {
		return folder, fmt.Errorf("%w\n%s", err, output)
	}
	return folder, nil
})

// process is a program that runs.
type process struct {
	t       *testing.T
	name    string
	command *exec.Cmd
	lines   chan string   // what it printed, as far as somebody looks
	exited  chan struct{} // closed when it has ended and all it printed was read
	err     error         // how it ended; read after exited

	mu  sync.Mutex
	log []string // guarded by mu
}

// start runs a program until the test ends. label names it in the log of a failure.
func start(t *testing.T, label, program string, args ...string) *process {
	t.Helper()
	folder, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{
		t: t, name: label, command: exec.Command(filepath.Join(folder, program), args...),
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
			default: // nobody looks any more
			}
		}
	}()
	go func() {
		p.err = p.command.Wait()
		_ = out.Close()
		<-read
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill(syscall.SIGKILL)
		if t.Failed() {
			p.mu.Lock()
			t.Logf("the end of the log of %s:\n%s", p.name, strings.Join(p.log[max(0, len(p.log)-40):], "\n"))
			p.mu.Unlock()
		}
	})
	return p
}

// kill sends a signal that ends the process, and waits for its end.
func (p *process) kill(signal syscall.Signal) {
	p.t.Helper()
	_ = p.command.Process.Signal(signal)
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Errorf("%s does not end", p.name)
		_ = p.command.Process.Kill()
		<-p.exited
	}
}

// line waits for a line that has a text.
func (p *process) line(has string) string {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case line := <-p.lines:
			if strings.Contains(line, has) {
				return line
			}
		case <-p.exited:
			p.t.Fatalf("%s has ended: %v", p.name, p.err)
		case <-late:
			p.t.Fatalf("%s does not say %q", p.name, has)
		}
	}
}

// freePorts are ports that nobody listens on just now.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// natsCluster runs three NATS servers and returns their URLs.
func natsCluster(t *testing.T) []string {
	t.Helper()
	const servers = 3
	ports := freePorts(t, 2*servers)
	var routes, urls []string
	for i := range servers {
		routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(ports[servers+i]))
	}
	for i := range servers {
		url := "nats://127.0.0.1:" + strconv.Itoa(ports[i])
		p := start(t, fmt.Sprint("NATS ", i), "nats-server", "-a", "127.0.0.1", "-p", strconv.Itoa(ports[i]), "-n", fmt.Sprint("n", i),
			"--cluster_name", "deploy", "--cluster", routes[i], "--routes", strings.Join(routes, ","))
		p.line("Server is ready")
		urls = append(urls, url)
	}
	var conns []*nats.Conn
	for _, url := range urls {
		conns = append(conns, connect(t, url))
	}
	for i, from := range conns { // each server hears each other
		for j, to := range conns {
			subject := fmt.Sprintf("route.%d.%d", i, j)
			sub, err := to.SubscribeSync(subject)
			if err != nil || to.Flush() != nil {
				t.Fatal(err)
			}
			eventually(t, "the routes stand", func() bool {
				_ = from.Publish(subject, nil)
				_, err := sub.NextMsg(20 * time.Millisecond)
				return err == nil
			})
			_ = sub.Unsubscribe()
		}
	}
	return urls
}

func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come true that %s", what)
		}
	}
}

// edgeAt runs an edge at a NATS server and returns where clients reach it.
func edgeAt(t *testing.T, label, url string) string {
	t.Helper()
	p := start(t, label, "edge", "--nats.url", url, "--listen", "127.0.0.1:0", "--admin.listen", "127.0.0.1:0", "--config", "testdata/edge.yaml")
	var at struct{ Address, Admin string }
	if err := json.Unmarshal([]byte(p.line(`"listening"`)), &at); err != nil {
		t.Fatal(err)
	}
	eventually(t, label+" is ready", func() bool {
		response, err := http.Get("http://" + at.Admin + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return at.Address
}

// workerAt runs an instance at a NATS server.
func workerAt(t *testing.T, label, url string) *process {
	t.Helper()
	p := start(t, label, "worker", url)
	p.line("ready")
	return p
}
