package test

import (
	"fmt"
	"testing"

	"partyline/edge"
)

// What one publisher sends reaches a socket in order, whatever it is addressed to.
func TestOrderAcrossTargets(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	s.join(a, `["x","y","z"]`)
	targets := []string{"all", "room.x", "socket." + a.id, "room.y", "room.z"}
	const rounds = 2000
	for i := range rounds {
		subject, body := "sio.chat.emit."+targets[i%len(targets)], fmt.Sprintf(`["n",%d]`, i)
		if i%7 == 0 {
			subject, body = "sio.chat.ack."+a.id+".1", fmt.Sprintf(`[%d]`, i)
		}
		s.publish(subject, body)
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
	a := s.enter("a", "/chat")
	if m := events.next(); m.Subject != "sio.chat.on.connect" {
		t.Fatalf("%s came first", m.Subject)
	}
	const rounds = 1000
	for i := range rounds {
		a.send("", fmt.Sprintf(`["n.%d"]`, i%3))
	}
	a.Send("41/chat,")
	for i := range rounds {
		events.gets(fmt.Sprintf("sio.chat.on.n.%d", i%3), a.address(), fmt.Sprintf(`["n.%d"]`, i%3))
	}
	events.gets("sio.chat.on.disconnect", a.address(), left("client namespace disconnect"))
}

// A leave and a disconnect take effect in their turn.
func TestOrderOfEventsAndCommands(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	s.join(a, `["x"]`)
	s.publish("sio.chat.emit.room.x", `["before"]`)
	s.publish("sio.chat.leave.socket."+a.id, `["x"]`)
	s.publish("sio.chat.emit.room.x", `["after"]`)
	s.publish("sio.chat.emit.all", `["last"]`)
	s.publish("sio.chat.disconnect.socket."+a.id, "")
	s.publish("sio.chat.emit.all", `["too late"]`)
	s.ask("sio.chat.fetch.all", "") // answered behind all of it, and before a comes again
	a.gets(`["before"]`)
	a.gets(`["last"]`)
	a.Expect("41/chat,")
	again := also(a.Client, "/chat")
	s.onlyMarker(again)
}

// A client that joins and then speaks is heard by whoever joined before.
func TestOrderOfJoinAndRelay(t *testing.T) {
	s := begin(t, rules{"/chat": {
		Connect: edge.ConnectOpen, Rooms: []string{"*"}, Relay: []edge.Relay{{Event: "say", To: edge.ToRooms, Self: true}},
	}})
	a := s.enter("a", "/chat")
	for i := range 100 {
		a.send("1", fmt.Sprintf(`["join","r%d"]`, i))
		a.Expect(`43/chat,1[{"ok":true}]`)
		a.send("", fmt.Sprintf(`["say",%d]`, i))
		a.gets(fmt.Sprintf(`["say",%d]`, i))
	}
}
