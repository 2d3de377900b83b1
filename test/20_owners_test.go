package test

import (
	"fmt"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

func TestAClaimedSocketsEventsGoToItsOwner(t *testing.T) {
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

// A service whose namespaces are a pattern hears connects of all, and names its group for the rest.
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

func TestClaimsThatCannotBe(t *testing.T) {
	for name, headers := range map[string][]string{
		"no group":         {"Sio-Owner: chat-a"},
		"two tokens":       {"Sio-Group: chat", "Sio-Owner: a.b"},
		"a word of target": {"Sio-Group: all"},
		"a subject":        {"Sio-Group: chat", "Sio-Owner: a.>"},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, usual())
			s.serve("door", `[]`, headers...)
			c := s.Dial("ann")
			c.Send("40/door,")
			c.Expect(`44/door,{"message":"invalid answer"}`)
		})
	}
}

// Whatever changes a socket's rooms, its owner hears of it, before whoever changed it has the answer.
func TestTheOwnerKnowsRooms(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[{"rooms":["hall"],"user":"ann","data":{"n":1}}]`)
	state := func(rev int, rooms string) {
		t.Helper()
		body := fmt.Sprintf(`["connect",{"sid":"%s","rev":%d,"rooms":%s,"user":"ann","data":{"n":1}}]`, so.ID, rev, rooms)
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

// The first answer counts. Whoever claims a socket later is told that it is not his.
func TestTwoClaims(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	other := s.hear("sio.door.on.connect") // another service, in no queue group with the first
	losses := s.hear("sio.door.own.chat-z.>")
	so := s.own(a, "ann", `[]`)
	m := other.Next()
	a.answer(m, `[]`, "Sio-Group: other", "Sio-Owner: chat-z")
	losses.Gets("sio.door.own.chat-z.disconnect", so.Address(), `["disconnect",{"reason":"not yours","rooms":[]}]`)
	a.answer(m, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a")        // an owner that answers twice keeps it
	s.Counts("dropped_total", "answer to a connect that is over", 2) // before the client goes, which takes another way
	so.Emit("", `["x"]`)
	a.gets(so, "x", `["x"]`)
	so.Hangup()
	a.owned.Next()
	a.answer(m, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a") // too late, it has gone
	a.gets(so, "disconnect", `["disconnect",{"reason":"not yours","rooms":[]}]`)
}

// An instance on its way out does not decide; the edge asks again.
func TestAskAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	c := s.Dial("ann")
	c.Send("40/door,")
	a.answer(a.asked.Next(), "", "Sio-Error: again")
	a.claim(a.asked, `[]`)
	so := &socket{Client: c, Head: "/door,", Token: "door"}
	so.ID = c.Connected("/door")
	s.leaving(a, 1, "/door")
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	a.answer(a.takes.Next(), "", "Sio-Error: again")
	a.claim(a.takes, `[]`)
	a.owned.Next() // the end mark
	so.Emit("", `["x"]`)
	a.gets(so, "x", `["x"]`)
}

// What was on its way to an instance that left is lost without a word, so the edge asks once more.
func TestAConnectIsAskedAgainWhenSomebodyLeft(t *testing.T) {
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

// A refused takeover disconnects the client.
func TestATakeoverIsRefused(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	s.Publish("sio.$svc.chat.chat-a.bye", string(a.announcement()))
	a.answer(a.takes.Next(), "", "Sio-Error: no")
	so.Expect("41/door,")
}

// While nobody takes a socket over its events are held, up to a limit.
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
	a.owned.Next() // the end mark
	a.claim(a.takes, `[]`)
	a.claim(a.takes, `[]`)
	for n := 0; n < 1024; {
		if m := a.owned.Next(); m.Reply == so.Address() {
			if want := fmt.Sprintf(`["n",%d]`, n); string(m.Data) != want {
				t.Fatalf("%s came, want %s", m.Data, want)
			}
			n++
		}
	}
}
