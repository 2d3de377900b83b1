package test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// An instance leaves: it gets an end mark after the last event, and nothing more. Newer events wait for the next
// owner.
func TestAnOwnerLeaves(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[{"rooms":["hall"],"user":"ann","data":{"n":1}}]`)
	so.Emit("", `["one"]`)
	s.Counts("events_in_total", "", 1)
	s.leaving(a, 1, "/door")
	a.gets(so, "one", `["one"]`)
	a.owned.Gets("sio.door.own.chat-a.disconnecting", "", fmt.Sprintf(`["disconnecting",{"edge":"%s"}]`, s.ID))
	s.leaving(a, 1, "/door") // repeating it does no harm
	a.owned.Next()

	held := s.Figure("events_held_total", "") // earlier events may have been held, too
	so.Emit("", `["two"]`)
	so.Emit("5", `["three"]`)
	s.Counts("events_held_total", "", held+2)
	s.change("sio.door.join.all", `["late"]`, 1)
	a.drop()
	b := startInstance(t, s.NC, "chat-b")
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	h := b.accepts(`[{"rooms":["more"]}]`)
	if k := h.Handover; h.SID != so.ID || h.Auth["name"] != "ann" || k == nil || k.From != "chat-a" || k.User != "ann" ||
		strings.Join(k.Rooms, " ") != "hall late" || k.Data["n"] != 1.0 {
		t.Errorf("the request for a handover has %+v %+v", h, h.Handover)
	}
	m := b.owned.Next()
	if want := `["connect",{"sid":"` + so.ID + `","rev":2,"rooms":["hall","late","more"],"user":"ann","data":{"n":1},"transport":"websocket"}]`; string(m.Data) != want {
		t.Errorf("the new owner receives %s, want %s", m.Data, want)
	}
	b.gets(so, "two", `["two"]`)
	m = b.owned.Gets("sio.door.own.chat-b.three", so.Ack("5"), `["three"]`)
	b.answer(m, `[]`)
	so.Expect(`43/door,5[]`)
	so.Emit("", `["four"]`)
	b.gets(so, "four", `["four"]`)
	s.Counts("takeovers_total", "", 1)
}

// A socket that ends without an owner is assigned once more, for its last events.
func TestTheLastEventsFindAnOwner(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[{"rooms":["hall"]}]`)
	s.leaving(a, 1, "/door")
	notices := s.hear("sio.door.on.disconnect")
	so.Emit("", `["last"]`)
	so.Send("41/door,")
	if m := notices.Next(); m.Reply != so.Address() {
		t.Errorf("the notice is about %s", m.Reply)
	}
	a.drop()
	b := startInstance(t, s.NC, "chat-b")
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	b.accepts(`[]`)
	b.gets(so, "last", `["last"]`)
	b.gets(so, "disconnect", `["disconnect",{"reason":"client namespace disconnect","rooms":["hall"]}]`)
}

// A dead owner is noticed by its silence, even if a tap subscribes to all subjects. It is notified, in case it lives.
func TestAnOwnerFallsSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t, usual())
	tap := s.hear("sio.>")
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	a.silence()
	b := startInstance(t, s.NC, "chat-b")
	so.Emit("", `["lost"]`)
	a.gets(so, "lost", `["lost"]`)
	b.accepts(`[]`)
	a.gets(so, "disconnect", `["disconnect",{"reason":"owner changed","rooms":[],"assignment":1}]`)
	so.Emit("", `["found"]`)
	b.gets(so, "found", `["found"]`)
	s.Counts("instances_died_total", "", 1)
	_ = tap
}

// Without a tap, NATS itself reports no responders, and it takes a second.
func TestAnOwnerIsGoneAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t, usual())
	nc := edgetest.Connect(t, s.NATS.ClientURL())
	a := startInstance(t, nc, "chat-a")
	so := s.own(a, "ann", `[]`)
	b := startInstance(t, s.NC, "chat-b")
	a.silence()
	nc.Close()
	if _, err := s.NC.Request("sio.$svc.chat.chat-a.ping", []byte("[]"), edgetest.Patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("another subscriber receives a ping: %v", err)
	}
	so.Emit("", `["lost"]`)
	b.accepts(`[]`)
	so.Emit("", `["found"]`)
	for m := b.owned.Next(); string(m.Data) != `["found"]`; m = b.owned.Next() {
		if string(m.Data) == `["lost"]` {
			t.Error("a lost event was delivered")
		}
	}
}

// A ping that is answered ends the suspicion. Events are held only until then, and no other instance is asked.
func TestAnOwnerIsDoubtedInVain(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	pings := s.hear("sio.$svc.chat.chat-a.ping")
	_ = a.owned.Subscription.Unsubscribe() // briefly, as while an instance reconnects
	s.Flush()
	so.Emit("", `["lost"]`)
	m := pings.Next()
	a.owned = s.hear("sio.door.own.chat-a.>")
	if m.Reply != "sio.$edge."+s.ID+".pong.chat-a" {
		t.Errorf("the ping has the reply subject %s", m.Reply)
	}
	a.answer(m, "[]")
	so.Emit("", `["x"]`)
	a.gets(so, "x", `["x"]`)
	s.Counts("takeovers_total", "", 0)
}
