package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
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
}

// machines starts the example on loopback: the blocks of the page, with other addresses.
func machines(t *testing.T) []*machine {
	t.Helper()
	page, err := os.ReadFile(grow)
	if err != nil {
		t.Fatal(err)
	}
	block := func(language string) string {
		found := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(page)
		if found == nil {
			t.Fatalf("%s has no block of %s", grow, language)
		}
		return string(found[1])
	}
	var all []*machine
	var routes []string
	for i, address := range freeAddresses(t, 9) {
		if i%3 == 0 {
			all = append(all, &machine{name: []string{"one", "two", "three"}[i/3], files: t.TempDir()})
		}
		m := all[i/3]
		*[]*string{&m.clients, &m.nats, &m.route}[i%3] = address
		if i%3 == 2 {
			routes = append(routes, fmt.Sprintf("@10.0.0.%d:6222", i/3+1), "@"+address)
		}
	}
	for _, m := range all {
		conf := strings.NewReplacer(append(routes, "server_name: one", "server_name: "+m.name, "listen: 127.0.0.1:4222", "listen: "+m.nats,
			"listen: 10.0.0.1:6222", "listen: "+m.route)...).Replace(block("conf"))
		yaml := strings.NewReplacer("10.0.0.1:3000", m.clients, "/etc/partyline", m.files).Replace(block("yml"))
		for name, text := range map[string]string{"nats.conf": conf, "partyline.yaml": yaml} {
			if err := os.WriteFile(filepath.Join(m.files, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m.start(t)
	}
	return all
}

// freeAddresses returns addresses whose ports are free now.
func freeAddresses(t *testing.T, n int) (all []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all
}

// start runs the machine until it is killed, or the test ends, and waits until it listens.
func (m *machine) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), edgetest.Patience)
	defer cancel()
	m.process = exec.Command(os.Args[0], "--config", filepath.Join(m.files, "partyline.yaml"), "--admin.listen=127.0.0.1:0")
	m.process.Env = append(os.Environ(), asMain+"=1", "NATS_TOKEN="+token, "PARTYLINE_NATS_TOKEN="+token, "PARTYLINE_EDGES_SECRET=secret")
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

// person is a client that remembers what it has heard.
type person struct {
	*edgetest.Socket
	mu    sync.Mutex
	heard map[string]bool // guarded by mu
}

// enter connects a client to a machine.
func enter(t *testing.T, talk *enginetest.Conversation, m *machine) *person {
	t.Helper()
	p := &person{Socket: edgetest.Enter(enginetest.Dial(t, talk, m.name, "http://"+m.clients, nil), "/chat_room", ""), heard: map[string]bool{}}
	go func() {
		for frame, ok := p.Await(); ok; frame, ok = p.Await() {
			p.mu.Lock()
			p.heard[frame] = true
			p.mu.Unlock()
		}
	}()
	return p
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
		for _, p := range listeners {
			p.mu.Lock()
			heard := p.heard["42"+p.Head+body]
			p.mu.Unlock()
			if !heard {
				return false
			}
		}
		return true
	})
}

// TestThreeMachines plays docs/how-to/grow.md: clients on each machine hear one another, and a service at any NATS
// server reaches them all. One machine is killed, and the others go on.
func TestThreeMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	all, talk := machines(t), enginetest.NewConversation(t)
	one, two, three := enter(t, talk, all[0]), enter(t, talk, all[1]), enter(t, talk, all[2])
	say := func(p *person) func(string) { return func(body string) { p.Emit("", body) } }
	reaches(t, "one speaks", say(one), two, three)
	reaches(t, "two speaks", say(two), one, three)
	reaches(t, "three speaks", say(three), one, two)
	if _, err := nats.Connect(all[1].nats); err == nil {
		t.Error("a NATS client without the token connects")
	}
	nc := edgetest.Connect(t, "nats://"+token+"@"+all[1].nats)
	reaches(t, "a service speaks", func(body string) { _ = nc.Publish("sio.chat_room.emit.all", []byte(body)) }, one, two, three)

	all[0].kill()
	reaches(t, "two speaks after one has died", say(two), three)
	back := enter(t, talk, all[2])
	reaches(t, "who came back hears two", say(two), back, three)
	reaches(t, "who came back is heard", say(back), two, three)
	all[0].start(t)
	reaches(t, "the machine is back", say(enter(t, talk, all[0])), two, three, back)
}
