package test

import (
	"fmt"
	"strings"
	"testing"

	"partyline/config"
	"partyline/engine"
	"partyline/internal/edgetest"
	"partyline/rule"
)

func TestRoomsPerSocket(t *testing.T) {
	s := begin(t, rules{
		"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"*"}, AutoJoin: []string{"auto"}},
		"/door": {},
	}, func(o *edgetest.Options) { o.Limits = config.Limits{RoomsPerSocket: 3} })
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	s.join(a, `["1","auto","1"]`)
	s.fails("sio.chat.join.socket."+a.ID, `["2","3"]`, "too many rooms")
	s.join(a, `["2"]`)
	s.join(a, `["2","1"]`) // nothing new
	a.Emit("1", `["join","3"]`)
	if got := a.Next(); !strings.HasPrefix(got, `43/chat,1[{"error":"too many rooms`) {
		t.Errorf("the client was answered %q", got)
	}
	s.change("sio.chat.join.all", `["3"]`, 1) // of the two sockets, one may join another room
	s.Publish("sio.chat.emit.room.3", `["3"]`)
	b.Gets(`["3"]`)
	s.onlyMarker(a, b)
	a.Emit("2", `["leave","1"]`)
	a.Expect(`43/chat,2[{"ok":true}]`)
	a.Emit("3", `["join","3"]`)
	a.Expect(`43/chat,3[{"ok":true}]`)
	s.serve("door", `[{"rooms":["1","2","3","4"]}]`)
	c := s.Dial("c")
	c.Send("40/door,")
	c.Expect(`44/door,{"message":"invalid answer"}`)
}

func TestNamespacesPerSession(t *testing.T) {
	s := begin(t, rules{"*": {Connect: rule.ConnectOpen}}, func(o *edgetest.Options) { o.Limits = config.Limits{NamespacesPerSession: 2} })
	a := s.Enter("a", "/")
	b := edgetest.Enter(a.Client, "/b", "")
	a.Send("40/c,")
	a.Expect(`44/c,{"message":"too many namespaces"}`)
	b.Send("41/b,")
	edgetest.Enter(a.Client, "/c", "")
	s.onlyMarker(a)
}

// Events that arrive together are passed on together, but never as more than the smallest queue takes.
func TestEventsThatComeTogetherFitIntoTheQueue(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) { o.Limits = config.Limits{QueuePackets: 16} })
	a := s.Enter("a", "/chat")
	const events = 200
	for n := range events {
		s.Publish("sio.chat.emit.all", fmt.Sprintf(`["%d"]`, n))
	}
	for n := range events {
		a.Gets(fmt.Sprintf(`["%d"]`, n))
	}
}

func TestSecondConnectEndsTheSession(t *testing.T) {
	s := begin(t, usual())
	notices := s.hear("sio.chat.on.disconnect")
	for _, packet := range []string{"40/chat,", `42/door,["x"]`, "41/door,", `43/door,1[]`, "44/chat,"} {
		a := s.Enter("a", "/chat")
		a.Send(packet)
		a.ExpectEnd()
		notices.Gets("sio.chat.on.disconnect", a.Address(), left("forced server close"))
	}
}

func TestLongestNames(t *testing.T) {
	s := begin(t, rules{"*": {Connect: rule.ConnectOpen}})
	a := s.Enter("a", "/chat")
	long, tokens := strings.Repeat("x", 512), strings.Repeat("x.", 15)+"x"
	events := s.hear("sio.chat.on.>")
	for _, name := range []string{long, tokens} {
		a.Emit("9007199254740991", `["`+name+`"]`)
		events.Gets("sio.chat.on."+name, a.Ack("9007199254740991"), `["`+name+`"]`)
		s.join(a, `["`+name+`"]`)
		s.Publish("sio.chat.emit.room."+name, `["in"]`)
		a.Gets(`["in"]`)
	}
	// Each byte is escaped, in subject and reply: more than NATS takes. The event is counted as failed, and the
	// session stays.
	spaces := strings.Repeat(" ", 500)
	namespace := s.Dial("b")
	namespace.Connect("/"+spaces, "")
	namespace.Send("42/" + spaces + `,1["` + spaces + `"]`)
	s.Counts("events_failed_total", "", 1)
	s.onlyMarker(edgetest.Enter(namespace, "/chat", ""))
}

func TestLargestEvent(t *testing.T) {
	config := engine.DefaultConfig()
	config.MaxPayload = 10_000
	s := begin(t, usual(), func(o *edgetest.Options) { o.Engine = config })
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	events := s.hear("sio.chat.on.file")
	body := `["file",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`
	half := make([]byte, (10_000-len(body))/2)
	send := func(so *socket, more int) {
		so.Send("452-/chat," + body)
		so.SendBinary(half)
		so.SendBinary(make([]byte, 10_000-len(body)-len(half)+more))
	}
	send(a, 0)
	if m := events.Next(); len(m.Data) != 10_000 {
		t.Errorf("%d bytes came", len(m.Data))
	}
	notices := s.hear("sio.chat.on.disconnect")
	send(a, 1)
	a.ExpectEnd()
	notices.Gets("sio.chat.on.disconnect", a.Address(), left("forced close"))
	s.onlyMarker(b)
}

// Messages for a socket that is being admitted wait, up to the queue limit of a session.
func TestWhatWaitsForConnectIsBounded(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) { o.QueueBytes = 100_000 })
	life := s.hear("sio.door.on.*")
	a := s.Dial("a")
	a.Send("40/door,")
	id := handshake(t, life.Next())["sid"].(string)
	body := `["news","` + strings.Repeat("x", 1000) + `"]`
	for range 200 {
		s.Publish("sio.door.emit.socket."+id, body)
	}
	a.ExpectEnd()
	life.Gets("sio.door.on.disconnect", "sio.door.emit.socket."+id, left("queue overflow"))
}

// A client that does not read is disconnected, and the others are not affected.
func TestClientThatDoesNotReadIsClosed(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) { o.QueueBytes = 100_000 })
	notices := s.hear("sio.chat.on.disconnect")
	slow, b := s.poll(), s.Enter("b", "/chat")
	id := slow.enter("/chat")
	for i := range 110 {
		body := fmt.Sprintf(`["news",%d,"%s"]`, i, strings.Repeat("x", 1000))
		s.Publish("sio.chat.emit.all", body)
		b.Gets(body)
	}
	notices.Gets("sio.chat.on.disconnect", "sio.chat.emit.socket."+id, left("queue overflow"))
}
