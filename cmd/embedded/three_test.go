package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// asMain makes the test's binary behave as the program.
const asMain = "EMBEDDED_TEST_AS_MAIN"

const token = "s3cret"

// grow is the page with the example of three machines.
const grow = "../../docs/how-to/grow.md"

// machine is one process of the example.
type machine struct {
	process            *exec.Cmd
	clients, nats      string // addresses
	route, name, files string
	token              string // of its edge, for the NATS inside
}

// machines starts the example on loopback: the blocks of the page, with other addresses, and more namespaces.
func machines(t *testing.T, more string) []*machine {
	t.Helper()
	var all []*machine
	var routes []string
	for i, port := range stand.FreePorts(t, 9) {
		address := fmt.Sprint("127.0.0.1:", port)
		if i%3 == 0 {
			all = append(all, &machine{name: []string{"one", "two", "three"}[i/3], files: t.TempDir(), token: token})
		}
		m := all[i/3]
		*[]*string{&m.clients, &m.nats, &m.route}[i%3] = address
		if i%3 == 2 {
			routes = append(routes, fmt.Sprintf("@10.0.0.%d:6222", i/3+1), "@"+address)
		}
	}
	for _, m := range all {
		conf := strings.NewReplacer(append(routes, "server_name: one", "server_name: "+m.name, "listen: 127.0.0.1:4222", "listen: "+m.nats,
			"listen: 10.0.0.1:6222", "listen: "+m.route, "/var/lib/partyline", m.files)...).Replace(block(t, "conf", 0))
		yaml := strings.NewReplacer("10.0.0.1:3000", m.clients, "/etc/partyline", m.files).Replace(block(t, "yml", 0)) + more
		m.write(t, "nats.conf", conf)
		m.write(t, "partyline.yaml", yaml)
		m.start(t)
	}
	return all
}

// block returns a block of the page.
func block(t *testing.T, language string, n int) string {
	t.Helper()
	page, err := os.ReadFile(grow)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(page, -1)
	if len(found) <= n {
		t.Fatalf("%s has %d blocks of %s", grow, len(found), language)
	}
	return string(found[n][1])
}

// write writes one of the machine's files.
func (m *machine) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.files, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// address returns where clients connect.
func (m *machine) address() string { return m.clients }

// start runs the machine until it is killed, or the test ends, and waits until it listens.
func (m *machine) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), edgetest.Patience)
	defer cancel()
	m.process = exec.Command(os.Args[0], "--config", filepath.Join(m.files, "partyline.yaml"), "--admin.listen=127.0.0.1:0")
	m.process.Env = append(os.Environ(), asMain+"=1", "NATS_TOKEN="+token, "PARTYLINE_NATS_TOKEN="+m.token, "PARTYLINE_EDGES_SECRET=secret")
	log, err := m.process.StderrPipe()
	if err == nil {
		err = m.process.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	defer context.AfterFunc(ctx, func() { _ = m.process.Process.Kill() })()
	var read bytes.Buffer
	for decoder := json.NewDecoder(io.TeeReader(log, &read)); ; {
		var l line
		if err := decoder.Decode(&l); err != nil {
			_, _ = io.Copy(&read, log)
			t.Fatalf("machine %s does not listen: %s", m.name, read.String())
		}
		if l.Msg == "listening" {
			go func() { _, _ = io.Copy(io.Discard, log) }()
			return
		}
	}
}

// kill ends the process without a chance to leave.
func (m *machine) kill() {
	if m.process != nil {
		_ = m.process.Process.Kill()
		_ = m.process.Wait()
		m.process = nil
	}
}

// reaches waits until something that is said has been heard by all listeners. It is said again and again: a new
// subscription takes a little time to reach the other servers.
func reaches(t *testing.T, what string, say func(body string), listeners ...*person) {
	t.Helper()
	body, said := `["message","`+what+`"]`, time.Time{}
	edgetest.Eventually(t, what, func() bool {
		if time.Since(said) > 100*time.Millisecond {
			say(body)
			said = time.Now()
		}
		return !slices.ContainsFunc(listeners, func(p *person) bool { return !p.has(what) })
	})
}

// store publishes numbered events until so many more are in the log, and returns their numbers. What is not confirmed is
// not published again: it may be stored all the same.
func store(t *testing.T, nc *nats.Conn, number *int, count int) (stored []int) {
	t.Helper()
	edgetest.Eventually(t, "the log stores events", func() bool {
		*number++
		m, err := nc.Request("sio.chat_room.emit.all", fmt.Appendf(nil, `["message","number %d"]`, *number), 2*time.Second)
		if err == nil && bytes.Contains(m.Data, []byte(`"seq"`)) {
			stored = append(stored, *number)
		}
		return len(stored) == count
	})
	return stored
}

// missedNothing waits until a client has the last number, and checks that it had each stored one once, in order.
func (p *person) missedNothing(t *testing.T, stored []int) {
	t.Helper()
	edgetest.Eventually(t, "the last number is there", func() bool { return p.has(fmt.Sprint("number ", stored[len(stored)-1])) })
	got, _ := p.numbers("number")
	inOrder(t, got)
	for _, n := range stored {
		if !slices.Contains(got, n) {
			t.Errorf("it missed %d, and heard %v", n, got)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ids := slices.Compact(slices.Clone(p.ids)); len(ids) != 1 {
		t.Errorf("it was not recovered: it was %q", ids)
	}
}

// inOrder checks that numbers came in order, and each once.
func inOrder(t *testing.T, got []int) {
	t.Helper()
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("it heard %v, which is not in order or twice", got)
	}
}

// leaderOf returns the name of the server that leads a stream, once all of its copies are current; "" if not yet.
func leaderOf(t *testing.T, nc *nats.Conn, stream string) string {
	t.Helper()
	js, err := nc.JetStream(nats.MaxWait(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo(stream)
	if err != nil || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
		return ""
	}
	for _, copied := range info.Cluster.Replicas {
		if !copied.Current || copied.Offline {
			return ""
		}
	}
	return info.Cluster.Leader
}

// TestThreeMachines plays docs/how-to/grow.md: clients on each machine hear one another, and a service at any NATS
// server reaches them all. The machine that leads the log is killed, and the others go on. Its client comes back to
// another one, and misses nothing.
func TestThreeMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	all := machines(t, "")
	nc := edgetest.Connect(t, "nats://"+token+"@"+all[1].nats)
	leader := ""
	edgetest.Eventually(t, "the log has three copies", func() bool {
		leader = leaderOf(t, nc, "SIO_LOG")
		return leader != "" && leaderOf(t, nc, "SIO_SESSIONS") != ""
	})
	first := slices.IndexFunc(all, func(m *machine) bool { return m.name == leader })
	all[0], all[first] = all[first], all[0]
	var moved atomic.Int32 // where the client of the first machine goes
	one := enter(t, "/chat_room", func() string { return all[moved.Load()].clients })
	two, three := enter(t, "/chat_room", all[1].address), enter(t, "/chat_room", all[2].address)
	reaches(t, "one speaks", one.emit, two, three)
	reaches(t, "two speaks", two.emit, one, three)
	reaches(t, "three speaks", three.emit, one, two)
	if _, err := nats.Connect(all[1].nats); err == nil {
		t.Error("a NATS client without the token connects")
	}
	nc = edgetest.Connect(t, "nats://"+token+"@"+all[1].nats)
	reaches(t, "a service speaks", func(body string) { _ = nc.Publish("sio.chat_room.emit.all", []byte(body)) }, one, two, three)

	number := 0
	stored := store(t, nc, &number, 20)
	moved.Store(2)
	all[0].kill()
	stored = append(stored, store(t, nc, &number, 20)...)
	for _, p := range []*person{one, two, three} {
		p.missedNothing(t, stored)
	}
	reaches(t, "one, who came back, speaks", one.emit, two, three)
	all[0].start(t)
	reaches(t, "the machine is back", enter(t, "/chat_room", all[0].address).emit, one, two, three)
}
