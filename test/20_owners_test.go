package test

import (
	"fmt"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

func TestAnOwnedSocketsEventsGoToItsOwner(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	others, all := s.hear("sio.door.on.>"), s.hear("sio.door.on.disconnect")
	so := s.own(a, "ann", `[{"rooms":["hall"],"user":"ann"}]`)
	so.Emit("", `["order.1",1]`)
	m := a.owned.Gets("sio.door.own.chat-a.order.1", so.Address(), `["order.1",1]`)
	if m.Header.Get("Sio-User") != "ann" {
		t.Errorf("the headers are %v", m.Header)
	}
	so.Emit("7", `["ask"]`)
	m = a.owned.Gets("sio.door.own.chat-a.ask", so.Ack("7"), `["ask"]`)
	a.answer(m, `["answer"]`)
	so.Expect(`43/door,7["answer"]`)
	so.Send("451-/door," + `["file",{"_placeholder":true,"num":0}]`)
	so.SendBinary([]byte("xyz"))
	m = a.owned.Next()
	if m.Header.Get("Sio-Attachments") != "3" || !strings.HasSuffix(string(m.Data), "xyz") {
		t.Errorf("the binary event is %q %v", m.Data, m.Header)
	}
	so.Send("41/door,")
	end := `["disconnect",{"reason":"client namespace disconnect","rooms":["hall"]}]`
	all.Gets("sio.door.on.disconnect", so.Address(), end)
	a.gets(so, "disconnect", end)
	others.Next() // connect
	others.Gets("sio.door.on.disconnect", so.Address(), end)
}

// A service whose namespaces are a pattern receives the connect requests of all of them, and names its group for the
// rest.
func TestAGroupsEvents(t *testing.T) {
	s := begin(t, usual())
	s.serve("door", `[]`, "Sio-Group: chat")
	group := s.hear("sio.*.own.chat.>")
	so := s.Enter("ann", "/door")
	so.Emit("", `["hello"]`)
	group.Gets("sio.door.own.chat.hello", so.Address(), `["hello"]`)
	s.Publish("sio.door.join.socket."+so.ID, `["a"]`)
	s.change("sio.door.join.all", `["a"]`, 1)
	so.Send("41/door,")
	group.Gets("sio.door.own.chat.disconnect", so.Address(), `["disconnect",{"reason":"client namespace disconnect","rooms":["a"]}]`)
}

func TestGroupsThatCannotBe(t *testing.T) {
	for name, group := range map[string]string{"a word of target": "all", "a subject": "a.>", "two tokens": "a.b"} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, usual())
			s.serve("door", `[]`, "Sio-Group: "+group)
			c := s.Dial("ann")
			c.Send("40/door,")
			c.Expect(`44/door,{"message":"invalid answer"}`)
		})
	}
}

// An answer of contract 1.1 that claims a socket is no decision, whatever its headers. The log reports it once, and
// the client waits for a decision.
func TestAnAnswerWithAClaimDoesNotCount(t *testing.T) {
	for name, headers := range map[string][]string{
		"a claim": {"Sio-Group: chat", "Sio-Owner: chat-a"}, "no group": {"Sio-Owner: chat-a"}, "two tokens": {"Sio-Group: chat", "Sio-Owner: a.b"},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, usual())
			requests := s.hear("sio.door.on.connect")
			c := s.Dial("ann")
			c.Send("40/door,")
			m := requests.Next()
			for range 3 {
				s.Send(edgetest.Message(m.Reply, "", `[]`, headers...))
			}
			s.Counts("dropped_total", "bad body", 3)
			lines := 0
			for _, line := range s.Logged() {
				if strings.Contains(line, "Sio-Owner") {
					lines++
				}
			}
			if lines != 1 {
				t.Errorf("%d lines of the log are about it, want 1", lines)
			}
			s.Publish(m.Reply, `[]`)
			c.Connected("/door")
		})
	}
}

// All services get a notice of an owned socket, but only its owner is asked.
func TestOthersGetANotice(t *testing.T) {
	s := begin(t, usual())
	notices := s.hear("sio.door.on.>")
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[{"user":"ann"}]`)
	m := notices.Next()
	if m.Subject != "sio.door.on.connect" || m.Reply != so.Address() || !strings.Contains(string(m.Data), so.ID) {
		t.Errorf("%s %s %s", m.Subject, m.Reply, m.Data)
	}
	s.Publish(m.Reply, `["welcome"]`)
	so.Gets(`["welcome"]`)
}

// Whatever changes a socket's rooms, its owner is notified before the requester has the answer.
func TestTheOwnerKnowsRooms(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[{"rooms":["hall"],"user":"ann","data":{"n":1}}]`)
	state := func(rev int, rooms string) {
		t.Helper()
		body := fmt.Sprintf(`["connect",{"sid":"%s","rev":%d,"rooms":%s,"user":"ann","data":{"n":1},"transport":"websocket"}]`, so.ID, rev, rooms)
		a.owned.Gets("sio.door.own.chat-a.connect", "", body)
	}
	if m := s.Ask("sio.door.join.socket."+so.ID, `["vip","x.y"]`); string(m.Data) != fmt.Sprintf(`[{"edge":"%s","sockets":1,"rev":1}]`, s.ID) {
		t.Errorf("the answer is %s", m.Data)
	}
	state(1, `["hall","vip","x.y"]`)
	s.change("sio.door.leave.all", `["vip"]`, 1)
	state(2, `["hall","x.y"]`)
	s.change("sio.door.leave.all", `["vip"]`, 1) // nothing changes
	so.Emit("", `["next"]`)
	a.gets(so, "next", `["next"]`)
}

// The first answer counts. An instance that answers twice keeps the socket. If the socket has gone, the instance is
// notified.
func TestTwoAnswers(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	c := s.Dial("ann")
	c.Send("40/door,")
	m := a.request()
	a.admits(m, `[]`)
	so := &socket{Client: c, Head: "/door,", Token: "door"}
	so.ID = c.Connected("/door")
	a.admits(m, `[]`)
	other := &instance{t: t, nc: s.NC, name: "chat-z", owned: s.hear("sio.door.own.chat-z.>")}
	other.admits(m, `[]`) // before the client disconnects
	other.gets(so, "disconnect", `["disconnect",{"reason":"owner changed","rooms":[],"assignment":1}]`)
	s.Counts("dropped_total", "answer to a connect that is over", 2) // before the client disconnects
	so.Emit("", `["x"]`)
	a.gets(so, "x", `["x"]`)
	so.Hangup()
	a.gets(so, "disconnect", `["disconnect",{"reason":"transport close","rooms":[]}]`)
	a.admits(m, `[]`) // too late: the socket has gone
	a.gets(so, "disconnect", `["disconnect",{"reason":"owner changed","rooms":[],"assignment":1}]`)
}

// An instance that leaves does not decide. The edge asks it again, or another one.
func TestAskAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	c := s.Dial("ann")
	c.Send("40/door,")
	a.decides(a.request(), "", "Sio-Error: again")
	a.accepts(`[]`)
	so := &socket{Client: c, Head: "/door,", Token: "door"}
	so.ID = c.Connected("/door")
	b := startInstance(t, s.NC, "chat-b")
	s.leaving(a, 1, "/door")
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	b.decides(b.request(), "", "Sio-Error: again")
	b.accepts(`[]`)
	so.Emit("", `["x"]`)
	b.gets(so, "x", `["x"]`)
}

// Messages to an instance that left are lost without an error, so the edge asks once more.
func TestAConnectIsAskedAgainWhenAnInstanceLeft(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	lost := s.hear("sio.door.on.connect")
	c := s.Dial("ann")
	c.Send("40/door,")
	lost.Next()
	s.Publish("sio.$svc.chat.chat-a.left", `[{"instance":"chat-a","group":"chat"}]`)
	s.NC.PublishMsg(edgetest.Message(lost.Next().Reply, "", `[]`))
	c.Connected("/door")
}

// A refused handover disconnects the client.
func TestAHandoverIsRefused(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	b := startInstance(t, s.NC, "chat-b")
	s.Publish("sio.$svc.chat.chat-a.bye", string(a.announcement()))
	ends := s.hear("sio.door.on.disconnect")
	b.decides(b.request(), "", "Sio-Error: no")
	so.Expect("41/door,")
	ends.Gets("sio.door.on.disconnect", so.Address(), `["disconnect",{"reason":"server namespace disconnect","rooms":[]}]`)
}

// A refused handover with Sio-Close closes the transport, and the client comes back. If the socket has gone meanwhile,
// its session stays.
func TestARefusedHandoverCloses(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so, other := s.own(a, "ann", `[]`), s.own(a, "bob", `[]`)
	ends := s.hear("sio.door.on.disconnect")
	s.leaving(a, 2, "/door")
	other.Emit("", `["last"]`)
	other.Send("41/door,")
	left := `["disconnect",{"reason":"client namespace disconnect","rooms":[]}]`
	ends.Gets("sio.door.on.disconnect", other.Address(), left)
	s.Publish("sio.$svc.chat.chat-a.bye", string(a.announcement()))
	b := startInstance(t, s.NC, "chat-b")
	for range 2 {
		b.decides(b.request(), "", "Sio-Error: no", "Sio-Close: true")
	}
	if text, ok := so.Await(); ok && text != "1" {
		t.Errorf("the client gets %q", text)
	}
	so.ExpectEnd()
	ends.Gets("sio.door.on.disconnect", so.Address(), `["disconnect",{"reason":"forced server close","rooms":[]}]`)
	other.Send("40/chat,")
	other.Connected("/chat")
}

// While no instance takes a socket over, its events are held, up to a limit.
func TestTooManyEventsAreHeld(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	other := s.own(a, "bob", `[]`)
	s.leaving(a, 2, "/door")
	end := s.hear("sio.door.on.disconnect")
	for i := range 1100 {
		so.Emit("", fmt.Sprintf(`["n",%d]`, i))
	}
	if m := end.Next(); string(m.Data) != `["disconnect",{"reason":"queue overflow","rooms":[]}]` || m.Reply != so.Address() {
		t.Errorf("the notice is %s of %s", m.Data, m.Reply)
	}
	other.Emit("", `["fine"]`)
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	b := startInstance(t, s.NC, "chat-b")
	b.accepts(`[]`)
	b.accepts(`[]`)
	for n := 0; n < 1024; {
		if m := b.owned.Next(); m.Reply == so.Address() {
			if want := fmt.Sprintf(`["n",%d]`, n); string(m.Data) != want {
				t.Fatalf("%s came, want %s", m.Data, want)
			}
			n++
		}
	}
}
