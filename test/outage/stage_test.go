// Package outage takes NATS away from edges, in every way in which it goes, and brings it back. What is sent is numbered:
// what was sent while there was a connection arrives once and in order, and of what could not be sent somebody is told.
package outage

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"partyline/edge"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/internal/tally"
)

func TestMain(m *testing.M) {
	if flag.Parse(); testing.Short() {
		return // whole programs and outages are not for `make check`
	}
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's toxics have no logger of their own
	goleak.VerifyTestMain(m,
		// A link of toxiproxy that cannot write any more leaves what its other goroutines still had for it (link.go, write).
		goleak.IgnoreTopFunction("github.com/Shopify/toxiproxy/v2/toxics.(*NoopToxic).Pipe"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"))
}

// patience is how long a test waits for what must come: five times what it usually takes to notice a black hole.
const patience = 75 * time.Second

// namespaces of every edge here: one that everybody may enter, and one in which a service admits.
func namespaces() map[string]edge.Namespace {
	return map[string]edge.Namespace{
		"/room": {Connect: edge.ConnectOpen, Rooms: []string{"*"}},
		"/door": {Connect: edge.ConnectService, ConnectTimeout: 5 * time.Second, Unavailable: edge.UnavailableRefuse},
		"/pair": {Connect: edge.ConnectOpen, AutoJoin: []string{"both"}, Relay: []edge.Relay{{Event: "say", To: edge.ToRooms, Self: true}}},
	}
}

// stage is an edge whose way to NATS leads over a proxy, and a NATS client beside the proxy.
type stage struct {
	*edgetest.Node
	t     *testing.T
	nats  *natsdtest.Server
	proxy *toxiproxy.Proxy
	nc    *nats.Conn
	pair  *pair // of healthy clients on an edge of their own, which hangs on no proxy
}

// begin starts NATS, the proxy, the edge behind it, the edge of the healthy pair, and a service.
func begin(t *testing.T, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	server := natsdtest.Start(t)
	s := &stage{t: t, nats: server, proxy: startProxy(t, server), nc: connect(t, server.ClientURL())}
	o := edgetest.Options{
		NATS: "nats://" + s.proxy.Listen, Namespaces: namespaces(),
		Limits: edge.Limits{RoomsPerSocket: 2 * rooms, NamespacesPerSession: 10},
	}
	for _, c := range change {
		c(&o)
	}
	s.Node = edgetest.Start(t, o).Ready()
	s.pair = newPair(t, edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: namespaces()}).Ready())
	return s
}

// startProxy runs a toxiproxy in front of a NATS server until the test ends.
func startProxy(t *testing.T, server *natsdtest.Server) *toxiproxy.Proxy {
	t.Helper()
	host := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(host, "nats", "127.0.0.1:0", strings.TrimPrefix(server.ClientURL(), "nats://"))
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proxy.Toxics.ResetToxics(context.Background())
		proxy.Stop()
	})
	return proxy
}

// poison puts a toxic on both directions of the proxy.
func (s *stage) poison(kind, attributes string) {
	s.t.Helper()
	for _, way := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":{%s}}`, kind, way, attributes)
		if _, err := s.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// swallow makes a black hole of the proxy: it takes what comes and passes nothing on, and says nothing.
func (s *stage) swallow() { s.t.Helper(); s.poison("timeout", `"timeout":0`) }

// stall makes a black hole that does not even take what comes, so that writing to it blocks.
func (s *stage) stall() { s.t.Helper(); s.poison("bandwidth", `"rate":0`) }

// heal ends the black hole.
func (s *stage) heal() { s.proxy.Toxics.ResetToxics(context.Background()) }

// cut ends the edge's connection and refuses new ones.
func (s *stage) cut() {
	s.t.Helper()
	s.proxy.Stop()
	s.lost()
}

// mend lets the edge connect again.
func (s *stage) mend() {
	s.t.Helper()
	if err := s.proxy.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// lost waits until the edge knows that NATS is away.
func (s *stage) lost() {
	s.t.Helper()
	s.eventually("the edge has lost NATS", func() bool { return !s.Bus.Connected() })
	if why := s.Bus.Ready(); len(why) != 1 || why[0] != "not connected to NATS" {
		s.t.Errorf("an edge without NATS says that it is not ready because of %q", why)
	}
}

// back waits until the edge is ready again.
func (s *stage) back() {
	s.t.Helper()
	s.eventually("the edge is ready again", func() bool { return len(s.Bus.Ready()) == 0 })
}

func (s *stage) eventually(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("it did not come true that %s", what)
		}
	}
}

// connect makes a NATS client that lasts as long as the test.
func connect(t *testing.T, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, append(options, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

// socket is a client in a namespace.
type socket struct {
	*enginetest.Client
	id, head string
}

func (s *stage) enter(name, namespace string) *socket {
	s.t.Helper()
	c := s.Dial(name)
	return &socket{c, c.Connect(namespace, ""), namespace + ","}
}

// emit sends an event; id is the ack id, or "".
func (so *socket) emit(id, body string) { so.Send("42" + so.head + id + body) }

// gets waits for an event as the next frame.
func (so *socket) gets(body string) { so.Expect("42" + so.head + body) }

func (s *stage) publish(subject, body string) {
	s.t.Helper()
	if err := s.nc.Publish(subject, []byte(body)); err != nil {
		s.t.Fatal(err)
	}
}

// join puts a socket into rooms, as a service does.
func (s *stage) join(so *socket, names []string) {
	s.t.Helper()
	body := `["` + strings.Join(names, `","`) + `"]`
	answer, err := s.nc.Request("sio.room.join.socket."+so.id, []byte(body), patience)
	if err != nil || answer.Header != nil {
		s.t.Fatalf("join: %v %v", answer, err)
	}
}

// figure reads a metric of a node; label is the value of its label, or "".
func figure(n *edgetest.Node, name, label string) int {
	for _, set := range []*tally.Set{n.Edge.Metrics(), n.Bus.Metrics(), n.Engine.Metrics()} {
		for _, m := range set.Metrics() {
			if m.Name == name && m.Value() == label {
				return int(m.Read())
			}
		}
	}
	panic("no metric " + name + " " + label)
}

// pair is two clients in one room, whose numbered messages all arrive, once and in order.
type pair struct {
	t        *testing.T
	node     *edgetest.Node
	ann, bob *enginetest.Client
	said     int
}

func newPair(t *testing.T, n *edgetest.Node) *pair {
	t.Helper()
	p := &pair{t: t, node: n, ann: n.Dial("ann"), bob: n.Dial("bob")}
	p.ann.Connect("/pair", "")
	p.bob.Connect("/pair", "")
	return p
}

// say lets one of them say the next number, and both must hear it as the next that they hear at all.
func (p *pair) say() error {
	speaker := p.ann
	if p.said%2 == 1 {
		speaker = p.bob
	}
	p.said++
	message := fmt.Sprintf(`42/pair,["say",%d]`, p.said)
	speaker.Send(message)
	for _, who := range []*enginetest.Client{p.ann, p.bob} {
		if got, ok := who.Await(); !ok || got != message {
			return fmt.Errorf("of the healthy pair one heard %q (%v) instead of %q", got, ok, message)
		}
	}
	return nil
}

// chat lets the two talk beside the test until it is stopped.
func (p *pair) chat() (stop func()) {
	before, quit, done := p.said, make(chan struct{}), make(chan error, 1)
	go func() {
		pace := time.NewTicker(5 * time.Millisecond)
		defer pace.Stop()
		for {
			if err := p.say(); err != nil {
				done <- err
				return
			}
			select {
			case <-quit:
				done <- nil
				return
			case <-pace.C:
			}
		}
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		close(quit)
		if err := <-done; err != nil {
			p.t.Error(err)
		}
		p.t.Logf("meanwhile the healthy pair said %d things", p.said-before)
	}
	p.t.Cleanup(stop)
	return stop
}
