package test

import (
	"strings"
	"testing"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// cuttable is a stage whose edge is connected through a cable.
func cuttable(t *testing.T, namespaces rules) (*stage, *natsdtest.Cable) {
	t.Helper()
	server := natsdtest.Start(t)
	c := server.Cable()
	return beginAt(t, server, namespaces, func(o *edgetest.Options) { o.InProcess = c }), c
}

// lose cuts the cable, and waits until the edge notices.
func (s *stage) lose(c *natsdtest.Cable) {
	s.t.Helper()
	c.Cut()
	edgetest.Eventually(s.t, "the edge has lost NATS", func() bool { return !s.Bus.Connected() })
	if why := s.Bus.Ready(); len(why) == 0 {
		s.t.Error("an edge without NATS reports that it is ready")
	}
}

func alone() rules {
	return usual().with("/self", rule.Namespace{
		Connect: rule.ConnectOpen, Rooms: []string{"*"}, AutoJoin: []string{"auto"}, Relay: []rule.Relay{{Event: "say", To: rule.ToRooms, Self: true}},
	})
}

func TestSocketsOutliveNATS(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.Enter("a", "/self")
	a.Emit("1", `["join","x"]`)
	a.Expect(`43/self,1[{"ok":true}]`)
	for range 2 {
		s.lose(c)
		c.Mend()
		s.Ready()
		s.Publish("sio.self.emit.room.x", `["x"]`)
		a.Gets(`["x"]`)
		s.Publish("sio.self.emit.all", `["all"]`)
		a.Gets(`["all"]`)
		s.Publish(a.Address(), `["you"]`)
		a.Gets(`["you"]`)
		s.change("sio.self.join.room.x", `["y"]`, 1)
		a.Emit("", `["say"]`)
		a.Gets(`["say"]`)
	}
}

func TestServiceIsAwayWithNATS(t *testing.T) {
	s, c := cuttable(t, alone().with("/strict", rule.Namespace{Unavailable: rule.UnavailableRefuse}))
	s.serve("door", `[{"rooms":["x"]}]`)
	a := s.Enter("a", "/chat")
	s.lose(c)
	a.Send("40/strict,")
	a.Expect(`44/strict,{"message":"no service"}`)
	a.Send("40/door,")
	s.Counts("connects_waiting", "", 1)
	c.Mend()
	a.Connected("/door")
}

func TestOpenNamespacesAdmitWithoutNATS(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.Enter("a", "/chat")
	s.lose(c)
	b := edgetest.Enter(a.Client, "/self", "")
	c.Mend()
	s.Ready()
	for _, subject := range []string{"sio.self.emit.all", "sio.self.emit.room.auto", b.Address()} {
		s.Publish(subject, `["x"]`)
		b.Gets(`["x"]`)
	}
}

func TestJoinsAreAnsweredWhenNATSIsBack(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.Enter("a", "/self")
	s.lose(c)
	a.Emit("1", `["join","x"]`)
	a.Emit("2", `["leave","auto"]`)
	edgetest.Enter(a.Client, "/chat", "") // and no answer comes before this
	c.Mend()
	a.Expect(`43/self,1[{"ok":true}]`)
	a.Expect(`43/self,2[{"ok":true}]`)
	s.Publish("sio.self.emit.room.auto", `["no"]`)
	s.Publish("sio.self.emit.room.x", `["x"]`)
	a.Gets(`["x"]`)
	s.onlyMarker(a)
}

// Nothing is sent minutes late: what cannot be passed on is lost, counted, and not acked.
func TestEventsAreNotKept(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.Enter("a", "/self")
	events := s.hear("sio.self.on.*")
	s.lose(c)
	a.Emit("1", `["lost"]`)
	a.Emit("", `["say","lost"]`) // the event, and its relay
	s.Counts("events_failed_total", "", 2)
	if n := s.Figure("relayed_total", ""); n != 0 {
		t.Errorf("%d relays were counted", n)
	}
	c.Mend()
	s.Ready()
	events.Gets("sio.self.on.$ready", "", `["$ready",{"edge":"`+s.ID+`"}]`)
	a.Emit("2", `["found"]`)
	if err := events.Gets("sio.self.on.found", a.Ack("2"), `["found"]`).Respond([]byte(`[]`)); err != nil {
		t.Fatal(err)
	}
	a.Expect(`43/self,2[]`)
}

func TestDisconnectNoticesAreKept(t *testing.T) {
	s, c := cuttable(t, alone())
	a, b := s.Enter("a", "/self"), s.Enter("b", "/self")
	notices := s.hear("sio.*.on.disconnect")
	s.lose(c)
	a.Send("41/self,")
	s.Counts("sockets", "", 1)
	b.Hangup()
	s.Counts("sockets", "", 0)
	c.Mend()
	notices.Gets("sio.self.on.disconnect", a.Address(), left("client namespace disconnect", "auto"))
	notices.Gets("sio.self.on.disconnect", b.Address(), left("transport close", "auto"))
}

func TestRoomsLeftMeanwhileAreNotHeard(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.Enter("a", "/self")
	s.join(a, `["x"]`)
	s.lose(c)
	a.Emit("", `["leave","x"]`)
	c.Mend()
	s.Ready()
	s.Publish("sio.self.emit.room.x", `["no"]`)
	s.onlyMarker(a)
}

func TestServerRestarts(t *testing.T) {
	s := begin(t, alone())
	s.serve("door", `[{"rooms":["x"]}]`)
	a := s.Enter("a", "/self")
	door := edgetest.Enter(a.Client, "/door", "")
	s.NATS.Stop()
	edgetest.Eventually(t, "both have lost NATS", func() bool { return !s.Bus.Connected() && !s.NC.IsConnected() })
	s.NATS.Restart()
	s.Ready()
	edgetest.Eventually(t, "the service is back", func() bool { return s.NC.IsConnected() && s.NC.Flush() == nil })
	s.Publish("sio.door.emit.room.x", `["x"]`)
	door.Gets(`["x"]`)
	s.Publish("sio.self.emit.room.auto", `["auto"]`)
	a.Gets(`["auto"]`)
	s.Enter("b", "/door")
}

// An edge may start before NATS does.
func TestEdgeStartsBeforeNATS(t *testing.T) {
	server := natsdtest.Start(t)
	server.Stop()
	n := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: alone()})
	a := n.Enter("a", "/self")
	a.Send("40/door,") // it waits for its answer
	a.Emit("1", `["join","x"]`)
	server.Restart()
	a.Expect(`43/self,1[{"ok":true}]`)
	n.Ready()
	a.Emit("", `["say"]`)
	a.Gets(`["say"]`)
}

// What cannot be kept while NATS is away must not count as pending permanently. A client whose joins were not answered
// may join when NATS is back.
func TestJoinsThatWereNotKeptDoNotCountAsUnderWay(t *testing.T) {
	s, c := cuttable(t, alone())
	a := s.Enter("a", "/self")
	s.lose(c)
	for s.Bus.AfterSubscribed(func() {}) { // until the queue is full
	}
	for range 2000 { // more than one session may have under way
		a.Emit("1", `["join","x"]`)
	}
	a.Send("40/chat,")
	for !strings.HasPrefix(a.Next(), "40/chat,") { // so the edge has processed all of them
	}
	c.Mend()
	s.Ready()
	held := make(chan struct{})
	edgetest.Eventually(t, "there is room for more", func() bool { return s.Bus.AfterSubscribed(func() { close(held) }) })
	<-held // so everything queued is done
	a.Emit("2", `["join","y"]`)
	for got := a.Next(); got != `43/self,2[{"ok":true}]`; got = a.Next() {
		if !strings.HasPrefix(got, "43/self,1") {
			t.Fatalf("a got %s", got)
		}
	}
}
