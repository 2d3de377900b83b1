package test

import (
	"fmt"
	"strings"
	"testing"

	"partyline/internal/edgetest"
	"partyline/rule"
)

// What one publisher sends reaches a socket in order, to whatever target it is addressed.
func TestOrderAcrossTargets(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	s.join(a, `["x","y","z"]`)
	targets := []string{"all", "room.x", "socket." + a.ID, "room.y", "room.z"}
	const rounds = 2000
	for i := range rounds {
		subject, body := "sio.chat.emit."+targets[i%len(targets)], fmt.Sprintf(`["n",%d]`, i)
		if i%7 == 0 {
			subject, body = "sio.chat.ack."+a.ID+".1", fmt.Sprintf(`[%d]`, i)
		}
		s.Publish(subject, body)
	}
	for i := range rounds {
		want := fmt.Sprintf(`42/chat,["n",%d]`, i)
		if i%7 == 0 {
			want = fmt.Sprintf(`43/chat,1[%d]`, i)
		}
		a.Expect(want)
	}
}

// What a client sends reaches a service in order, across its events and its end.
func TestOrderOfAClientsEvents(t *testing.T) {
	s := begin(t, usual())
	events := s.hear("sio.chat.on.>")
	a := s.Enter("a", "/chat")
	if m := events.Next(); m.Subject != "sio.chat.on.connect" {
		t.Fatalf("%s came first", m.Subject)
	}
	const rounds = 1000
	for i := range rounds {
		a.Emit("", fmt.Sprintf(`["n.%d"]`, i%3))
	}
	a.Send("41/chat,")
	for i := range rounds {
		events.Gets(fmt.Sprintf("sio.chat.on.n.%d", i%3), a.Address(), fmt.Sprintf(`["n.%d"]`, i%3))
	}
	events.Gets("sio.chat.on.disconnect", a.Address(), left("client namespace disconnect"))
}

// Leave and disconnect take effect in order with the other messages.
func TestOrderOfEventsAndCommands(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	s.join(a, `["x"]`)
	s.Publish("sio.chat.emit.room.x", `["before"]`)
	s.Publish("sio.chat.leave.socket."+a.ID, `["x"]`)
	s.Publish("sio.chat.emit.room.x", `["after"]`)
	s.Publish("sio.chat.emit.all", `["last"]`)
	s.Publish("sio.chat.disconnect.socket."+a.ID, "")
	s.Publish("sio.chat.emit.all", `["too late"]`)
	s.Ask("sio.chat.fetch.all", "") // answered after all of them, and before a connects again
	a.Gets(`["before"]`)
	a.Gets(`["last"]`)
	a.Expect("41/chat,")
	again := edgetest.Enter(a.Client, "/chat", "")
	s.onlyMarker(again)
}

// What a client says after it joined reaches all members that joined before.
func TestOrderOfJoinAndRelay(t *testing.T) {
	s := begin(t, rules{"/chat": {
		Connect: rule.ConnectOpen, Rooms: []string{"*"}, Relay: []rule.Relay{{Event: "say", To: rule.ToRooms, Self: true}},
	}})
	a := s.Enter("a", "/chat")
	for i := range 100 {
		a.Emit("1", fmt.Sprintf(`["join","r%d"]`, i))
		a.Expect(`43/chat,1[{"ok":true}]`)
		a.Emit("", fmt.Sprintf(`["say",%d]`, i))
		a.Gets(fmt.Sprintf(`["say",%d]`, i))
	}
}

// An ack to an ask of one socket comes in the order of the socket's events. From a paused session it comes first.
func TestOrderOfAcksAndEvents(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	all := s.hear(">")
	// next is the next event or ack.
	next := func() string {
		for {
			if m := all.Next(); strings.HasPrefix(m.Subject, "_INBOX.order.") || m.Subject == "sio.door.own.chat-a.n" {
				return string(m.Data)
			}
		}
	}
	const rounds = 300
	for i := range rounds {
		s.PublishReply("sio.door.ask.socket."+so.ID, fmt.Sprint("_INBOX.order.", i), `["ready?"]`)
		id := s.isAsked(so, `["ready?"]`)
		so.Emit("", fmt.Sprintf(`["n",%d]`, i))
		so.Acks(id, fmt.Sprintf(`["yes",%d]`, i))
		so.Emit("", fmt.Sprintf(`["n",%d,"too"]`, i))
	}
	for i := range rounds {
		for _, want := range []string{`["n",%d]`, `["yes",%d]`, `["n",%d,"too"]`} {
			if got, want := next(), fmt.Sprintf(want, i); got != want {
				t.Fatalf("%s came, want %s", got, want)
			}
		}
	}
	s.pause(so, "chat-a")
	s.PublishReply("sio.door.ask.socket."+so.ID, "_INBOX.order.paused", `["ready?"]`)
	id := s.isAsked(so, `["ready?"]`)
	so.Emit("", `["n","held"]`)
	so.Acks(id, `["yes"]`)
	if got := next(); got != `["yes"]` {
		t.Fatalf("%s came in front of the ack", got)
	}
	s.resume(so, "chat-a")
	if got := next(); got != `["n","held"]` {
		t.Fatalf("%s came", got)
	}
}
