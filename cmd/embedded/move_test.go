package main

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// plain is a namespace without recovery: a drain may lose what its clients get.
const plain = "  /plain: {connect: open}\n"

// underWay is how long before the end of a connection something may have been published that it does not get.
const underWay = time.Second

// servers are NATS servers beside the machines, as the page describes them.
type servers struct {
	files   *machine // where their configuration is
	names   []string
	urls    []string // with the user of edges and services
	conf    []string
	running []*stand.Process
	old     []string // lines of the configuration that go in the last step
}

// serveBeside starts the servers, in the cluster of the machines.
func serveBeside(t *testing.T, all []*machine) *servers {
	t.Helper()
	t.Setenv("NATS_PASSWORD", "p4ss")
	t.Setenv("NATS_ADMIN_PASSWORD", "4dmin")
	s := &servers{files: &machine{files: t.TempDir()}}
	text, ports := routesTo(block(t, "conf", 1), all), stand.FreePorts(t, 6)
	for line := range strings.Lines(text) {
		if strings.Contains(line, "until step 6") {
			s.old = append(s.old, line)
		}
	}
	var routes []string
	for i := range 3 {
		routes = append(routes, fmt.Sprintf("@10.0.1.%d:6222", i+1), fmt.Sprint("@127.0.0.1:", ports[3+i]))
	}
	for i := range 3 {
		name := fmt.Sprint("nats-", i+1)
		s.names, s.urls = append(s.names, name), append(s.urls, fmt.Sprint("nats://partyline:p4ss@127.0.0.1:", ports[i]))
		change := strings.NewReplacer(append(routes, "server_name: nats-1", "server_name: "+name, "10.0.1.1:4222", fmt.Sprint("127.0.0.1:", ports[i]),
			"listen: 10.0.1.1:6222", fmt.Sprint("listen: 127.0.0.1:", ports[3+i]), "/var/lib/nats", filepath.Join(s.files.files, name))...)
		s.conf = append(s.conf, change.Replace(text))
		for n := range s.old {
			s.old[n] = change.Replace(s.old[n])
		}
		s.files.write(t, name+".conf", s.conf[i])
		p := stand.Start(t, name, "nats-server", "-c", filepath.Join(s.files.files, name+".conf"))
		p.Line("Server is ready")
		s.running = append(s.running, p)
	}
	return s
}

// routesTo puts the addresses of the machines into a configuration, and removes the routes to machines that are not there.
func routesTo(text string, all []*machine) string {
	for i := range 3 {
		if i < len(all) {
			text = strings.ReplaceAll(text, fmt.Sprintf("@10.0.0.%d:6222", i+1), "@"+all[i].route)
		}
		text = regexp.MustCompile(fmt.Sprintf(`(?m)^.*@10\.0\.0\.%d:6222.*\n`, i+1)).ReplaceAllString(text, "")
	}
	return text
}

// keepStreams moves the streams to the servers.
func (s *servers) keepStreams(t *testing.T, nc *nats.Conn) {
	t.Helper()
	js, err := nc.JetStream(nats.MaxWait(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"SIO_LOG", "SIO_SESSIONS"} {
		edgetest.Eventually(t, "JetStream takes the new place of "+name, func() bool {
			info, err := js.StreamInfo(name)
			if err != nil {
				return false
			}
			info.Config.Placement = &nats.Placement{Tags: []string{"new"}}
			_, err = js.UpdateStream(&info.Config)
			return err == nil
		})
	}
	for _, name := range []string{"SIO_LOG", "SIO_SESSIONS"} {
		edgetest.Eventually(t, name+" has moved", func() bool { return slices.Contains(s.names, leaderOf(t, nc, name)) })
	}
}

// forget removes the old servers from the routes.
func (s *servers) forget(t *testing.T) {
	t.Helper()
	for i, name := range s.names {
		text := s.conf[i]
		for _, line := range s.old {
			text = strings.Replace(text, line, "", 1)
		}
		s.files.write(t, name+".conf", text)
		s.running[i].Signal(syscall.SIGHUP)
		s.running[i].Line("Reloaded server configuration")
	}
}

// station publishes numbers in both namespaces, over the connection that it has at the time.
type station struct {
	mu     sync.Mutex
	nc     *nats.Conn  // guarded by mu
	number int         // guarded by mu
	stored []int       // guarded by mu: of those in the log
	said   []time.Time // guarded by mu: when each number was published in /plain
}

// speak publishes the next number.
func (s *station) speak() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, time.Now())
	_ = s.nc.Publish("sio.plain.emit.all", fmt.Appendf(nil, `["message","plain %d"]`, len(s.said)-1))
	s.number++
	if m, err := s.nc.Request("sio.chat_room.emit.all", fmt.Appendf(nil, `["message","number %d"]`, s.number), 2*time.Second); err == nil && strings.Contains(string(m.Data), `"seq"`) {
		s.stored = append(s.stored, s.number)
	}
}

// move makes it publish over another connection.
func (s *station) move(nc *nats.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.nc.Flush()
	s.nc = nc
}

// greeter runs an instance of a service that answers clients.
func greeter(t *testing.T, url string) (stop func()) {
	t.Helper()
	io, err := backend.New(edgetest.Connect(t, url), "greeter", backend.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	io.Of("/plain").On("ask", func() string { return "hello" })
	if err := io.Start(edgetest.Patient(t)); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := io.Close(edgetest.Patient(t)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestMoveToEdges plays docs/how-to/grow.md, from three machines to edges beside NATS servers, while numbers are published
// and clients ask a service. Clients of the namespace with recovery miss nothing. The others miss only what is published
// while they are away, and no ack of a connection that lasts.
func TestMoveToEdges(t *testing.T) {
	edgetest.ForRelease(t, "the move from embedded to edges")
	all := machines(t, plain)
	edges := &balancer{edges: []string{all[0].clients, all[1].clients, all[2].clients}}
	old := func(i int) string { return "nats://" + token + "@" + all[i].nats }
	s := &station{nc: edgetest.Connect(t, old(0))}
	edgetest.Eventually(t, "the log has three copies", func() bool {
		return leaderOf(t, s.nc, "SIO_LOG") != "" && leaderOf(t, s.nc, "SIO_SESSIONS") != ""
	})
	stops := []func(){greeter(t, old(0)), greeter(t, old(1))}
	var kept, others []*person
	for range 6 {
		kept, others = append(kept, enter(t, "/chat_room", edges.next)), append(others, enter(t, "/plain", edges.next))
	}
	quiet := talk(t, s, others)

	beside := serveBeside(t, all)                      // step 1
	beside.keepStreams(t, edgetest.Connect(t, old(0))) // step 2
	for i := range beside.urls {                       // step 3
		edges.add(startEdge(t, i, beside))
	}
	for i, stop := range stops { // step 4
		greeter(t, beside.urls[i])
		stop()
	}
	s.move(edgetest.Connect(t, beside.urls[2]))
	for _, m := range all { // step 5
		edges.remove(m.clients)
		m.stop(t)
		beside.removePeer(t, m.name)
	}
	beside.forget(t) // step 6
	afterwards := len(s.numbers())
	edgetest.Eventually(t, "the log stores more", func() bool { return len(s.numbers()) > afterwards+20 })
	quiet()
	for _, p := range kept {
		p.missedNothing(t, s.numbers())
	}
	for _, p := range others {
		s.judge(t, p)
	}
	beside.hasMajority(t)
}

// balancer sends clients to edges at random.
type balancer struct {
	mu    sync.Mutex
	edges []string // guarded by mu
}

func (b *balancer) next() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.edges[rand.IntN(len(b.edges))]
}

func (b *balancer) add(edge string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.edges = append(b.edges, edge)
}

func (b *balancer) remove(edge string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.edges = slices.DeleteFunc(b.edges, func(one string) bool { return one == edge })
}

// startEdge runs an edge with the file of a machine, without what is about the NATS inside, and returns its address.
func startEdge(t *testing.T, i int, s *servers) string {
	t.Helper()
	t.Setenv("PARTYLINE_EDGES_SECRET", "secret")
	before, rest, found := strings.Cut(block(t, "yml", 0)+plain, "embedded:\n")
	_, after, _ := strings.Cut(rest, "\n")
	if !found {
		t.Fatal("the file of a machine has no section embedded")
	}
	name := fmt.Sprint("edge ", i)
	port := fmt.Sprint(stand.FreePorts(t, 1)[0])
	s.files.write(t, name+".yaml", strings.ReplaceAll(before+after, "10.0.0.1:3000", "127.0.0.1:"+port))
	e := stand.StartEdge(t, name, "--nats.url", strings.Join(s.urls, ","), "--config", filepath.Join(s.files.files, name+".yaml"), "--advertise", "http://ADDRESS")
	return e.Address
}

// stop ends a machine as an operator does.
func (m *machine) stop(t *testing.T) {
	t.Helper()
	_ = m.process.Process.Signal(syscall.SIGTERM)
	if err := m.process.Wait(); err != nil {
		t.Errorf("machine %s ended with %v", m.name, err)
	}
	m.process = nil
}

// system connects as the operator of the servers.
func (s *servers) system(t *testing.T) *nats.Conn {
	t.Helper()
	return edgetest.Connect(t, strings.Replace(s.urls[0], "partyline:p4ss", "admin:4dmin", 1))
}

// removePeer does what `nats server cluster peer-remove` does.
func (s *servers) removePeer(t *testing.T, name string) {
	t.Helper()
	nc := s.system(t)
	edgetest.Eventually(t, "JetStream forgets "+name, func() bool {
		m, err := nc.Request("$JS.API.SERVER.REMOVE", fmt.Appendf(nil, `{"peer":%q}`, name), time.Second)
		return err == nil && strings.Contains(string(m.Data), `"success":true`)
	})
}

// hasMajority checks that JetStream works without the old servers.
func (s *servers) hasMajority(t *testing.T) {
	t.Helper()
	js, err := edgetest.Connect(t, s.urls[0]).JetStream(nats.MaxWait(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	edgetest.Eventually(t, "a stream is made", func() bool {
		_, err := js.AddStream(&nats.StreamConfig{Name: "LATER", Subjects: []string{"later"}, Replicas: 3})
		return err == nil
	})
}

// numbers returns those that are in the log.
func (s *station) numbers() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.stored)
}

// talk lets the station speak and clients ask until quiet is called.
func talk(t *testing.T, s *station, clients []*person) (quiet func()) {
	over := make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
			}
			s.speak()
			for _, p := range clients {
				p.ask()
			}
		}
	})
	quiet = sync.OnceFunc(func() {
		close(over)
		talking.Wait()
	})
	t.Cleanup(quiet)
	return quiet
}

// judge checks what a client of /plain got.
func (s *station) judge(t *testing.T, p *person) {
	t.Helper()
	last := fmt.Sprint("plain ", len(s.said)-1)
	edgetest.Eventually(t, "a client has the last number, and all acks", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Contains(p.heard, last) && len(p.waits) == 0
	})
	got, away := p.numbers("plain")
	inOrder(t, got)
	missed := 0
	for n, at := range s.said[got[0]:] {
		if slices.Contains(got, got[0]+n) {
			continue
		}
		missed++
		if !slices.ContainsFunc(away, func(w [2]time.Time) bool { return at.After(w[0].Add(-underWay)) && at.Before(w[1]) }) {
			t.Errorf("it missed number %d, which was published while it was there", got[0]+n)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.Logf("a client was away %d times, missed %d of %d numbers, and got %d of %d acks", len(away), missed, len(s.said), p.answered, p.asked)
	if len(away) == 0 {
		t.Error("it was never sent elsewhere")
	}
	if p.unanswered > 2*len(away) {
		t.Errorf("%d acks are missing", p.unanswered)
	}
}
