package test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"partyline/edge"
	"partyline/edge/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// cable lies between an edge and NATS, and can be cut while the service goes on.
type cable struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex
	cut   bool       // guarded by mu
	conns []net.Conn // guarded by mu: both ends of what is plugged in
}

func layCable(t *testing.T, natsURL string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: listener, target: strings.TrimPrefix(natsURL, "nats://")}
	c.running.Go(c.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		c.Cut()
		c.running.Wait()
	})
	return c
}

func (c *cable) URL() string { return "nats://" + c.listener.Addr().String() }

func (c *cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, near, far)
		if c.cut {
			c.unplug()
		}
		c.mu.Unlock()
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			c.running.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				_ = way[0].Close()
			})
		}
	}
}

// unplug needs mu.
func (c *cable) unplug() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// Cut ends all connections, and every new one at once.
func (c *cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	c.unplug()
}

// Mend lets connections through again.
func (c *cable) Mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
}

// cuttable is a stage whose edge hangs on a cable.
func cuttable(t *testing.T, namespaces rules) (*stage, *cable) {
	t.Helper()
	server := natsdtest.Start(t)
	c := layCable(t, server.ClientURL())
	return beginAt(t, server, namespaces, func(o *edgetest.Options) { o.NATS = c.URL() }), c
}

// lose cuts, and waits until the edge knows.
func (s *stage) lose(c *cable) {
	s.t.Helper()
	c.Cut()
	edgetest.Eventually(s.t, "the edge has lost NATS", func() bool { return !s.Bus.Connected() })
	if why := s.Bus.Ready(); len(why) == 0 {
		s.t.Error("an edge without NATS says that it is ready")
	}
}

func alone() rules {
	return usual().with("/self", edge.Namespace{
		Connect: edge.ConnectOpen, Rooms: []string{"*"}, AutoJoin: []string{"auto"}, Relay: []edge.Relay{{Event: "say", To: edge.ToRooms, Self: true}},
	})
}

func TestSocketsOutliveNATS(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.enter("a", "/self")
	a.send("1", `["join","x"]`)
	a.Expect(`43/self,1[{"ok":true}]`)
	for range 2 {
		s.lose(c)
		c.Mend()
		s.Ready()
		s.publish("sio.self.emit.room.x", `["x"]`)
		a.gets(`["x"]`)
		s.publish("sio.self.emit.all", `["all"]`)
		a.gets(`["all"]`)
		s.publish(a.address(), `["you"]`)
		a.gets(`["you"]`)
		s.change("sio.self.join.room.x", `["y"]`, 1)
		a.send("", `["say"]`)
		a.gets(`["say"]`)
	}
}

func TestServiceIsAwayWithNATS(t *testing.T) {
	s, c := cuttable(t, alone().with("/strict", edge.Namespace{Unavailable: edge.UnavailableRefuse}))
	s.serve("door", `[{"rooms":["x"]}]`)
	a := s.enter("a", "/chat")
	s.lose(c)
	a.Send("40/strict,")
	a.Expect(`44/strict,{"message":"no service"}`)
	a.Send("40/door,")
	s.counts("connects_waiting", "", 1)
	c.Mend()
	a.Connected("/door")
}

func TestOpenNamespacesAdmitWithoutNATS(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.enter("a", "/chat")
	s.lose(c)
	b := also(a.Client, "/self")
	c.Mend()
	s.Ready()
	for _, subject := range []string{"sio.self.emit.all", "sio.self.emit.room.auto", b.address()} {
		s.publish(subject, `["x"]`)
		b.gets(`["x"]`)
	}
}

func TestJoinsAreAnsweredWhenNATSIsBack(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.enter("a", "/self")
	s.lose(c)
	a.send("1", `["join","x"]`)
	a.send("2", `["leave","auto"]`)
	also(a.Client, "/chat") // and no answer stands before this
	c.Mend()
	a.Expect(`43/self,1[{"ok":true}]`)
	a.Expect(`43/self,2[{"ok":true}]`)
	s.publish("sio.self.emit.room.auto", `["no"]`)
	s.publish("sio.self.emit.room.x", `["x"]`)
	a.gets(`["x"]`)
	s.onlyMarker(a)
}

// Nothing is sent minutes late: what cannot be passed on is lost, counted and not acked.
func TestEventsAreNotKept(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.enter("a", "/self")
	events := s.hear("sio.self.on.*")
	s.lose(c)
	a.send("1", `["lost"]`)
	a.send("", `["say","lost"]`) // the event, and its relay
	s.counts("events_failed_total", "", 2)
	if n := figure(s.Edge.Metrics(), "relayed_total", ""); n != 0 {
		t.Errorf("%d relays were counted", n)
	}
	c.Mend()
	s.Ready()
	events.gets("sio.self.on.$ready", "", `["$ready",{"edge":"`+s.ID+`"}]`)
	a.send("2", `["found"]`)
	if err := events.gets("sio.self.on.found", a.ack("2"), `["found"]`).Respond([]byte(`[]`)); err != nil {
		t.Fatal(err)
	}
	a.Expect(`43/self,2[]`)
}

func TestDisconnectNoticesAreKept(t *testing.T) {
	s, c := cuttable(t, alone())
	a, b := s.enter("a", "/self"), s.enter("b", "/self")
	notices := s.hear("sio.*.on.disconnect")
	s.lose(c)
	a.Send("41/self,")
	s.counts("sockets", "", 1)
	b.Hangup()
	s.counts("sockets", "", 0)
	c.Mend()
	notices.gets("sio.self.on.disconnect", a.address(), left("client namespace disconnect", "auto"))
	notices.gets("sio.self.on.disconnect", b.address(), left("transport close", "auto"))
}

func TestRoomsLeftMeanwhileAreNotHeard(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.enter("a", "/self")
	s.join(a, `["x"]`)
	s.lose(c)
	a.send("", `["leave","x"]`)
	c.Mend()
	s.Ready()
	s.publish("sio.self.emit.room.x", `["no"]`)
	s.onlyMarker(a)
}

func TestServerRestarts(t *testing.T) {
	s := begin(t, alone())
	s.serve("door", `[{"rooms":["x"]}]`)
	a := s.enter("a", "/self")
	door := also(a.Client, "/door")
	s.nats.Stop()
	edgetest.Eventually(t, "both have lost NATS", func() bool { return !s.Bus.Connected() && !s.nc.IsConnected() })
	s.nats.Restart()
	s.Ready()
	edgetest.Eventually(t, "the service is back", func() bool { return s.nc.IsConnected() && s.nc.Flush() == nil })
	s.publish("sio.door.emit.room.x", `["x"]`)
	door.gets(`["x"]`)
	s.publish("sio.self.emit.room.auto", `["auto"]`)
	a.gets(`["auto"]`)
	s.enter("b", "/door")
}

// An edge may start before NATS does.
func TestEdgeStartsBeforeNATS(t *testing.T) {
	server := natsdtest.Start(t)
	server.Stop()
	n := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: alone()})
	a := enterOn(n, "a", "/self")
	a.Send("40/door,") // it waits
	a.send("1", `["join","x"]`)
	server.Restart()
	a.Expect(`43/self,1[{"ok":true}]`)
	n.Ready()
	a.send("", `["say"]`)
	a.gets(`["say"]`)
}

// What cannot be kept while NATS is away must not count as under way for ever after: a client whose joins were not
// answered may join when NATS is back.
func TestJoinsThatWereNotKeptDoNotCountAsUnderWay(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.enter("a", "/self")
	s.lose(c)
	for s.Bus.AfterSubscribed(func() {}) { // until no more is kept
	}
	for range 2000 { // more than one session may have under way
		a.send("1", `["join","x"]`)
	}
	a.Send("40/chat,")
	for !strings.HasPrefix(a.Next(), "40/chat,") { // so the edge has seen all of them
	}
	c.Mend()
	s.Ready()
	held := make(chan struct{})
	edgetest.Eventually(t, "there is room for more", func() bool { return s.Bus.AfterSubscribed(func() { close(held) }) })
	<-held // and so is all that was kept
	a.send("2", `["join","y"]`)
	for got := a.Next(); got != `43/self,2[{"ok":true}]`; got = a.Next() {
		if !strings.HasPrefix(got, "43/self,1") {
			t.Fatalf("a got %s", got)
		}
	}
}
