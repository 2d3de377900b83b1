package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// left is the body of a disconnect notice.
func left(reason string, rooms ...string) string {
	quoted := make([]string, len(rooms))
	for i, room := range rooms {
		quoted[i] = fmt.Sprintf("%q", room)
	}
	return fmt.Sprintf(`["disconnect",{"reason":"%s","rooms":[%s]}]`, reason, strings.Join(quoted, ","))
}

func TestClientLeavesANamespace(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	root := edgetest.Enter(a.Client, "/", "")
	s.join(a, `["vip","한국 방"]`)
	notices := s.hear("sio.*.on.disconnect")
	a.Send("41/chat,")
	m := notices.Gets("sio.chat.on.disconnect", a.Address(), left("client namespace disconnect", "vip", "한국 방"))
	if m.Header != nil {
		t.Errorf("the notice has the headers %v", m.Header)
	}
	s.onlyMarker(root)
	again := edgetest.Enter(a.Client, "/chat", "") // with a new id and no rooms
	if again.ID == a.ID {
		t.Errorf("the id %s came back", a.ID)
	}
	s.Publish("sio.chat.emit.room.vip", `["no"]`)
	s.onlyMarker(again)
}

func TestLostTransportLeavesAllNamespaces(t *testing.T) {
	s := begin(t, usual())
	s.serve("door", `[{"rooms":["vip"],"user":"ann"}]`)
	a := s.Enter("a", "/door")
	root := edgetest.Enter(a.Client, "/", "")
	notices := s.hear("sio.*.on.disconnect")
	a.Hangup()
	m := notices.Gets("sio.door.on.disconnect", a.Address(), left("transport close", "vip"))
	if user := m.Header["Sio-User"]; !slices.Equal(user, []string{"ann"}) {
		t.Errorf("Sio-User is %q", user)
	}
	notices.Gets("sio._.on.disconnect", root.Address(), left("transport close"))
}

func TestSilentClientTimesOut(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) {
		o.Engine.MaxPayload, o.Engine.Transports = 100_000, []string{"websocket"}
		o.Engine.PingInterval, o.Engine.PingTimeout, o.Engine.UpgradeTimeout = time.Hour, time.Hour, time.Hour
		o.Engine.PingInterval = 30 * time.Millisecond
		o.Engine.PingTimeout = time.Nanosecond // no client is that fast
	})
	notices := s.hear("sio.chat.on.*")
	a := s.Dial("a")
	a.Send("40/chat,")
	if m := notices.Next(); m.Subject != "sio.chat.on.connect" {
		t.Fatalf("%s came first", m.Subject)
	}
	if m := notices.Next(); string(m.Data) != left("ping timeout") {
		t.Errorf("the notice is %s", m.Data)
	}
}

func TestServiceDisconnectsASocket(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	root := edgetest.Enter(a.Client, "/", "")
	notices := s.hear("sio.*.on.disconnect")
	for _, body := range []string{"", "[]", "[false]"} {
		s.join(a, `["vip"]`)
		s.change("sio.chat.disconnect.socket."+a.ID, body, 1)
		a.Expect("41/chat,")
		notices.Gets("sio.chat.on.disconnect", a.Address(), left("server namespace disconnect", "vip"))
		s.fails("sio.chat.disconnect.socket."+a.ID, body, "unknown socket")
		s.onlyMarker(root) // the session stays open
		a = edgetest.Enter(a.Client, "/chat", "")
	}
	for _, body := range []string{"[1]", "{}", "[true,true]", "x", "null"} {
		s.fails("sio.chat.disconnect.socket."+a.ID, body, "")
	}
	s.onlyMarker(a)
}

func TestServiceClosesTheSessionOfASocket(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	root := edgetest.Enter(a.Client, "/", "")
	notices := s.hear("sio.*.on.disconnect")
	s.Publish(root.Address(), `["last words"]`)
	s.change("sio.chat.disconnect.socket."+a.ID, "[true]", 1)
	root.Gets(`["last words"]`)
	a.Expect("41/chat,")
	root.Expect("41")
	a.ExpectEnd()
	notices.Gets("sio.chat.on.disconnect", a.Address(), left("server namespace disconnect"))
	notices.Gets("sio._.on.disconnect", root.Address(), left("server namespace disconnect"))
	s.Counts("sockets", "", 0)
}

func TestServiceDisconnectsRoomsAndAll(t *testing.T) {
	s := begin(t, usual())
	a, b, c, other := s.Enter("a", "/chat"), s.Enter("b", "/chat"), s.Enter("c", "/chat"), s.Enter("other", "/")
	s.join(a, `["vip"]`)
	s.join(b, `["vip"]`)
	s.change("sio.chat.disconnect.room.vip", "", 2)
	a.Expect("41/chat,")
	b.Expect("41/chat,")
	s.onlyMarker(c, other)
	again := edgetest.Enter(a.Client, "/chat", "")
	s.change("sio.chat.disconnect.all", "[true]", 2)
	again.Expect("41/chat,")
	c.Expect("41/chat,")
	again.ExpectEnd()
	c.ExpectEnd()
	s.change("sio.chat.disconnect.all", "[true]", 0)
	s.onlyMarker(other)
}

// Services that were asked to admit a socket receive its disconnect notice, whatever they answer.
func TestWhoGoesWhileBeingAdmittedIsReported(t *testing.T) {
	s := begin(t, usual())
	life := s.hear("sio.door.on.*")
	a := s.Dial("a")
	a.Send("40/door,")
	request := life.Next()
	id := handshake(t, request)["sid"].(string)
	a.Hangup()
	life.Gets("sio.door.on.disconnect", "sio.door.emit.socket."+id, left("transport close"))
	if err := request.Respond([]byte(`[{"rooms":["vip"]}]`)); err != nil {
		t.Fatal(err)
	}
	s.Counts("dropped_total", "answer to a connect that is over", 1)
	s.Counts("rooms", "", 0)
	s.Counts("sockets", "", 0)
}

func TestWhoIsRefusedIsNotReported(t *testing.T) {
	s := begin(t, usual())
	s.serve("door", "", "Sio-Error: no")
	notices := s.hear("sio.*.on.disconnect")
	a := s.Dial("a")
	a.Send("40/door,")
	a.Expect(`44/door,{"message":"no"}`)
	chat := edgetest.Enter(a, "/chat", "")
	a.Hangup()
	notices.Gets("sio.chat.on.disconnect", chat.Address(), left("transport close"))
}

// A service may change its mind before the client has its answer. For a client that is not connected yet, that is a
// refusal.
func TestServiceDisconnectsWhomItIsAdmitting(t *testing.T) {
	s := begin(t, usual())
	life := s.hear("sio.door.on.*")
	a := s.Dial("a")
	a.Send("40/door,")
	request := life.Next()
	id := handshake(t, request)["sid"].(string)
	s.change("sio.door.disconnect.socket."+id, "", 1)
	a.Expect(`44/door,{"message":"server namespace disconnect"}`)
	life.Gets("sio.door.on.disconnect", "sio.door.emit.socket."+id, left("server namespace disconnect"))
	if err := request.Respond([]byte(`[]`)); err != nil {
		t.Fatal(err)
	}
	s.Counts("dropped_total", "answer to a connect that is over", 1)
	edgetest.Enter(a, "/chat", "")
}

// After the admission the client is connected, even while the edge's subscriptions for it are still being made.
func TestServiceDisconnectsWhomItHasJustAdmitted(t *testing.T) {
	s := begin(t, usual())
	life := s.hear("sio.door.on.*")
	a := s.Dial("a")
	for _, hangUp := range []string{"[false]", "[true]"} {
		a.Send("40/door,")
		request := life.Next()
		id := handshake(t, request)["sid"].(string)
		if err := request.Respond([]byte(`[{"rooms":["vip"]}]`)); err != nil {
			t.Fatal(err)
		}
		s.Publish("sio.door.emit.socket."+id, `["bye"]`)
		s.Publish("sio.door.disconnect.socket."+id, hangUp)
		a.Expect(`40/door,{"sid":"` + id + `"}`)
		a.Expect(`42/door,["bye"]`)
		a.Expect(`41/door,`)
		life.Gets("sio.door.on.disconnect", "sio.door.emit.socket."+id, left("server namespace disconnect", "vip"))
	}
	s.Counts("sockets", "", 0)
}

// A group that admits a client that has left meanwhile also receives the end: it did not receive the earlier notice.
func TestAGroupAdmitsWhoHasGone(t *testing.T) {
	s := begin(t, usual())
	life, group := s.hear("sio.door.on.*"), s.hear("sio.*.own.chat.>")
	a := s.Dial("a")
	a.Send("40/door,")
	request := life.Next()
	a.Hangup()
	address := life.Next().Reply
	for _, headers := range [][]string{nil, {"Sio-Error: no", "Sio-Group: chat"}, {"Sio-Group: chat"}} {
		if err := request.RespondMsg(edgetest.Message("", "", `[]`, headers...)); err != nil {
			t.Fatal(err)
		}
	}
	group.Gets("sio.door.own.chat.disconnect", address, left("transport close"))
	s.Counts("dropped_total", "answer to a connect that is over", 3)
	s.Publish("sio.door.own.chat.marker", `["marker"]`)
	group.Gets("sio.door.own.chat.marker", "", `["marker"]`) // nothing else came
}

// TestDisconnectComesBeforeTheEndOfItsSession disconnects sockets whose clients go on to send. A packet that comes too
// late ends the session, but the client has read DISCONNECT before, so it does not come back by itself.
func TestDisconnectComesBeforeTheEndOfItsSession(t *testing.T) {
	s := begin(t, usual())
	for i := range 100 {
		a := s.Enter(fmt.Sprint("a", i), "/chat")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 200 {
				a.Send(`42/chat,["still here"]`)
			}
		}()
		s.Publish("sio.chat.disconnect.socket."+a.ID, "[false]")
		a.Expect("41/chat,")
		<-done
	}
}
