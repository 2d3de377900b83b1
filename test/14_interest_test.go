package test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/subjects"
)

// beside starts one more edge at the same NATS server.
func (s *stage) beside(namespaces rules, change ...func(*edgetest.Options)) *edgetest.Node {
	s.t.Helper()
	o := edgetest.Options{NATS: s.NATS.ClientURL(), Namespaces: namespaces}
	for _, c := range change {
		c(&o)
	}
	return edgetest.Start(s.t, o).Ready()
}

// Emits to a room go only to the edges that have a member.
func TestOnlyEdgesWithMembersHearARoom(t *testing.T) {
	s := begin(t, usual())
	other := s.beside(usual())
	a, b := s.Enter("a", "/chat"), other.Enter("b", "/chat")
	s.join(a, `["x"]`)
	before := receivedSoFar(t, other)
	const rounds = 100
	for range rounds {
		s.Publish("sio.chat.emit.room.x", `["x"]`)
		s.Publish("sio.chat.broadcast.room.x", `["x"]`)
		s.Publish(a.Address(), `["x"]`)
		s.Publish(a.Ack("1"), `["x"]`)
	}
	for range 4 * rounds {
		a.Next()
	}
	s.onlyMarker(b)
	if after := other.Heard(); after != before+1 {
		t.Errorf("the edge without a member had %d messages, want the marker alone", after-before)
	}
}

// An edge without a socket in a namespace receives nothing that is addressed to all of it.
func TestOnlyEdgesWithSocketsHearANamespace(t *testing.T) {
	s := begin(t, usual())
	other := s.beside(usual())
	a, b := s.Enter("a", "/chat"), other.Enter("b", "/")
	before := receivedSoFar(t, other)
	for range 100 {
		s.Publish("sio.chat.emit.all", `["x"]`)
		a.Gets(`["x"]`)
	}
	s.onlyMarker(b)
	if after := other.Heard(); after != before+1 {
		t.Errorf("the edge without a socket had %d messages, want the marker alone", after-before)
	}
}

func subscriptions(s *stage) int { return s.Figure("nats_subscriptions", "") }

func TestRoomLingersBehindItsLastMember(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) { o.Linger = time.Hour })
	a := s.Enter("a", "/chat")
	before := subscriptions(s)
	for range 3 {
		s.join(a, `["x"]`)
		s.Publish("sio.chat.emit.room.x", `["in"]`)
		a.Gets(`["in"]`)
		s.change("sio.chat.leave.socket."+a.ID, `["x"]`, 1)
		heard := s.Node.Heard()
		s.Publish("sio.chat.emit.room.x", `["out"]`)
		s.onlyMarker(a)
		if got := s.Node.Heard() - heard; got != 2 {
			t.Errorf("after the last member %d messages came, want the room's and the marker", got)
		}
		if got := subscriptions(s); got != before+1 {
			t.Errorf("there are %d subscriptions, want %d", got, before+1)
		}
	}
	if got, want := s.Figure("discarded_bytes_total", ""), 3*len(`["out"]`); got != want {
		t.Errorf("%d bytes were discarded, want %d", got, want)
	}
}

func TestLingerEnds(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) { o.Linger = 20 * time.Millisecond })
	before := subscriptions(s)
	a := s.Enter("a", "/chat")
	for range 3 {
		s.join(a, `["x","y"]`)
		s.Publish("sio.chat.emit.room.y", `["in"]`)
		a.Gets(`["in"]`)
		s.change("sio.chat.leave.socket."+a.ID, `["x","y"]`, 1)
		edgetest.Eventually(t, "the rooms' subscriptions are gone", func() bool { return subscriptions(s) == before+1 })
	}
	a.Hangup()
	edgetest.Eventually(t, "the namespace's subscription is gone", func() bool { return subscriptions(s) == before })
}

// When the last member of one edge leaves a room, the room's other edges are not affected.
func TestLeavingOneEdgeKeepsTheOthers(t *testing.T) {
	server := natsdtest.Start(t)
	s := beginAt(t, server, usual(), func(o *edgetest.Options) { o.Linger = time.Millisecond })
	other := s.beside(usual())
	a, b := s.Enter("a", "/chat"), other.Enter("b", "/chat")
	s.join(a, `["x"]`)
	s.Ask("sio.chat.join.socket."+b.ID, `["x"]`)
	s.change("sio.chat.leave.socket."+a.ID, `["x"]`, 1)
	s.Publish("sio.chat.emit.room.x", `["x"]`)
	b.Gets(`["x"]`)
	s.onlyMarker(a, b)
}

// A command to all or to a room reaches an edge with a member twice: by the subscription for such commands, and by
// that of the namespace or room. It counts once. The copy does not count as an event without a receiver.
func TestCommandsCountOnce(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	s.join(a, `["x"]`)
	type counts struct{ received, commands, unwanted, unknown int }
	count := func() counts {
		return counts{
			s.Figure("nats_received_total", ""), s.Figure("commands_total", ""), s.Figure("unwanted_total", ""),
			s.Figure("dropped_total", "unknown verb"),
		}
	}
	before := count()
	const rounds = 500
	for i := range rounds {
		s.Publish("sio.chat.join.room.x", `["y"]`)
		s.Publish("sio.chat.leave.all", `["y"]`)
		s.Publish("sio.chat.data.all", fmt.Sprintf(`[{"n":%d}]`, i))
	}
	s.PublishReply("sio.chat.ask.room.x", nats.NewInbox(), `["how?"]`)
	a.Gets(`1["how?"]`)
	s.Publish("sio.chat.frobnicate.room.x", `["a verb that nobody knows"]`)
	s.onlyMarker(a)
	after := count()
	const commands, announcements = 3*rounds + 1, 300
	if n := after.received - before.received; n < commands || n > commands+announcements {
		t.Errorf("%d messages count as received, want %d and some announcements", n, commands)
	}
	if n := after.commands - before.commands; n != commands-1 { // an ask counts as an ask
		t.Errorf("%d commands were carried out, want %d", n, commands-1)
	}
	if after.unwanted != before.unwanted {
		t.Errorf("%d messages are unwanted", after.unwanted-before.unwanted)
	}
	if after.unknown != before.unknown+1 {
		t.Errorf("%d messages have an unknown verb, want 1", after.unknown-before.unknown)
	}
}

// No edge receives what clients emit, in whatever namespace and under whatever name, and whatever it subscribes then.
// Otherwise a client could command edges, and each edge would receive the events of all clients.
func TestNoEdgeHearsWhatClientsEmit(t *testing.T) {
	words := []string{
		"all", "room", "socket", "on", "ack", "emit", "broadcast", "join", "leave", "disconnect", "connect", "x", "$edge", "*", ">", "%", "", "방",
	}
	names := rules{"/door": {ConnectTimeout: time.Minute}}
	for _, word := range words {
		names["/"+word] = rule.Namespace{Connect: rule.ConnectOpen, Rooms: []string{"*"}}
	}
	delete(names, "/*") // a pattern, which no client can enter as such
	s := begin(t, names)
	asked := s.hear("sio.door.on.connect") // so that the new socket waits
	a, newcomer := s.Dial("a"), s.Dial("newcomer")
	newcomer.Send("40/door,")
	asked.Next()
	var tokens []string
	var last *socket
	for name := range names {
		token, err := subjects.AppendNamespace(nil, name)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, string(token))
		if name != "/door" {
			last = edgetest.Enter(a, name, "")
			last.Token = string(token)
			s.Ask("sio."+last.Token+".join.socket."+last.ID, `["`+strings.Join(words, `","`)+`"]`)
		}
	}
	words = append(words, s.ID, last.ID, strings.TrimPrefix(last.ID, s.ID+"."), "7", ".", "a.b")
	random := rand.New(rand.NewPCG(1, 2))
	before, sent := receivedSoFar(t, s.Node), 0
	emit := func(event string) {
		tail, err := subjects.AppendEvent(nil, []byte(event))
		if err != nil {
			return // it is an invalid packet
		}
		s.Publish("sio."+tokens[random.IntN(len(tokens))]+".on."+string(tail), `["x"]`)
		sent++
	}
	for range 5000 {
		event := words[random.IntN(len(words))]
		for range random.IntN(5) {
			event += "." + words[random.IntN(len(words))]
		}
		emit(event)
	}
	s.Publish(last.Address(), `["marker"]`)
	for a.Next() != "42"+last.Head+`["marker"]` {
	}
	if n := s.Node.Heard() - before; n != 1 {
		t.Errorf("of %d events of clients an edge had %d, want the marker alone", sent, n-1)
	}
}
