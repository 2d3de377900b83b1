package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/edge/edgetest"
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
	a := s.enter("a", "/chat")
	root := also(a.Client, "/")
	s.join(a, `["vip","한국 방"]`)
	notices := s.hear("sio.*.on.disconnect")
	a.Send("41/chat,")
	m := notices.gets("sio.chat.on.disconnect", a.address(), left("client namespace disconnect", "vip", "한국 방"))
	if m.Header != nil {
		t.Errorf("the notice has the headers %v", m.Header)
	}
	s.onlyMarker(root)
	again := also(a.Client, "/chat") // with a new id and no rooms
	if again.id == a.id {
		t.Errorf("the id %s came back", a.id)
	}
	s.publish("sio.chat.emit.room.vip", `["no"]`)
	s.onlyMarker(again)
}

func TestLostTransportLeavesAllNamespaces(t *testing.T) {
	s := begin(t, usual())
	s.serve("door", `[{"rooms":["vip"],"user":"ann"}]`)
	a := s.enter("a", "/door")
	root := also(a.Client, "/")
	notices := s.hear("sio.*.on.disconnect")
	a.Hangup()
	m := notices.gets("sio.door.on.disconnect", a.address(), left("transport close", "vip"))
	if user := m.Header["Sio-User"]; !slices.Equal(user, []string{"ann"}) {
		t.Errorf("Sio-User is %q", user)
	}
	notices.gets("sio._.on.disconnect", root.address(), left("transport close"))
}

func TestSilentClientTimesOut(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) {
		o.Engine.MaxPayload, o.Engine.Transports = 100_000, []string{"websocket"}
		o.Engine.PingInterval, o.Engine.PingTimeout, o.Engine.UpgradeTimeout = time.Hour, time.Hour, time.Hour
		o.Engine.PingInterval = 30 * time.Millisecond
		o.Engine.PingTimeout = time.Nanosecond // nobody is that fast
	})
	notices := s.hear("sio.chat.on.*")
	a := s.Dial("a")
	a.Send("40/chat,")
	if m := notices.next(); m.Subject != "sio.chat.on.connect" {
		t.Fatalf("%s came first", m.Subject)
	}
	if m := notices.next(); string(m.Data) != left("ping timeout") {
		t.Errorf("the notice is %s", m.Data)
	}
}

func TestServiceDisconnectsASocket(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	root := also(a.Client, "/")
	notices := s.hear("sio.*.on.disconnect")
	for _, body := range []string{"", "[]", "[false]"} {
		s.join(a, `["vip"]`)
		s.change("sio.chat.disconnect.socket."+a.id, body, 1)
		a.Expect("41/chat,")
		notices.gets("sio.chat.on.disconnect", a.address(), left("server namespace disconnect", "vip"))
		s.fails("sio.chat.disconnect.socket."+a.id, body, "unknown socket")
		s.onlyMarker(root) // the session goes on
		a = also(a.Client, "/chat")
	}
	for _, body := range []string{"[1]", "{}", "[true,true]", "x", "null"} {
		s.fails("sio.chat.disconnect.socket."+a.id, body, "")
	}
	s.onlyMarker(a)
}

func TestServiceClosesTheSessionOfASocket(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	root := also(a.Client, "/")
	notices := s.hear("sio.*.on.disconnect")
	s.publish(root.address(), `["last words"]`)
	s.change("sio.chat.disconnect.socket."+a.id, "[true]", 1)
	root.gets(`["last words"]`)
	a.Expect("41/chat,")
	root.Expect("41")
	a.ExpectEnd()
	notices.gets("sio.chat.on.disconnect", a.address(), left("server namespace disconnect"))
	notices.gets("sio._.on.disconnect", root.address(), left("server namespace disconnect"))
	s.counts("sockets", "", 0)
}

func TestServiceDisconnectsRoomsAndAll(t *testing.T) {
	s := begin(t, usual())
	a, b, c, other := s.enter("a", "/chat"), s.enter("b", "/chat"), s.enter("c", "/chat"), s.enter("other", "/")
	s.join(a, `["vip"]`)
	s.join(b, `["vip"]`)
	s.change("sio.chat.disconnect.room.vip", "", 2)
	a.Expect("41/chat,")
	b.Expect("41/chat,")
	s.onlyMarker(c, other)
	again := also(a.Client, "/chat")
	s.change("sio.chat.disconnect.all", "[true]", 2)
	again.Expect("41/chat,")
	c.Expect("41/chat,")
	again.ExpectEnd()
	c.ExpectEnd()
	s.change("sio.chat.disconnect.all", "[true]", 0)
	s.onlyMarker(other)
}

// Services that were asked to admit somebody are told that he went, whatever they answer.
func TestWhoGoesWhileBeingAdmittedIsReported(t *testing.T) {
	s := begin(t, usual())
	life := s.hear("sio.door.on.*")
	a := s.Dial("a")
	a.Send("40/door,")
	request := life.next()
	id := handshake(t, request)["sid"].(string)
	a.Hangup()
	life.gets("sio.door.on.disconnect", "sio.door.emit.socket."+id, left("transport close"))
	if err := request.Respond([]byte(`[{"rooms":["vip"]}]`)); err != nil {
		t.Fatal(err)
	}
	s.counts("dropped_total", "answer to a connect that is over", 1)
	s.counts("rooms", "", 0)
	s.counts("sockets", "", 0)
}

func TestWhoIsRefusedIsNotReported(t *testing.T) {
	s := begin(t, usual())
	s.serve("door", "", "Sio-Error: no")
	notices := s.hear("sio.*.on.disconnect")
	a := s.Dial("a")
	a.Send("40/door,")
	a.Expect(`44/door,{"message":"no"}`)
	chat := also(a, "/chat")
	a.Hangup()
	notices.gets("sio.chat.on.disconnect", chat.address(), left("transport close"))
}

// A service may change its mind before the client knows: to a client that is not connected yet, that is a refusal.
func TestServiceDisconnectsWhomItIsAdmitting(t *testing.T) {
	s := begin(t, usual())
	life := s.hear("sio.door.on.*")
	a := s.Dial("a")
	a.Send("40/door,")
	request := life.next()
	id := handshake(t, request)["sid"].(string)
	s.change("sio.door.disconnect.socket."+id, "", 1)
	a.Expect(`44/door,{"message":"server namespace disconnect"}`)
	life.gets("sio.door.on.disconnect", "sio.door.emit.socket."+id, left("server namespace disconnect"))
	if err := request.Respond([]byte(`[]`)); err != nil {
		t.Fatal(err)
	}
	s.counts("dropped_total", "answer to a connect that is over", 1)
	also(a, "/chat")
}

// Behind the admission the client is connected, also while the edge's subscriptions for it are on their way.
func TestServiceDisconnectsWhomItHasJustAdmitted(t *testing.T) {
	s := begin(t, usual())
	life := s.hear("sio.door.on.*")
	a := s.Dial("a")
	for _, hangUp := range []string{"[false]", "[true]"} {
		a.Send("40/door,")
		request := life.next()
		id := handshake(t, request)["sid"].(string)
		if err := request.Respond([]byte(`[{"rooms":["vip"]}]`)); err != nil {
			t.Fatal(err)
		}
		s.publish("sio.door.emit.socket."+id, `["bye"]`)
		s.publish("sio.door.disconnect.socket."+id, hangUp)
		a.Expect(`40/door,{"sid":"` + id + `"}`)
		a.Expect(`42/door,["bye"]`)
		a.Expect(`41/door,`)
		life.gets("sio.door.on.disconnect", "sio.door.emit.socket."+id, left("server namespace disconnect", "vip"))
	}
	s.counts("sockets", "", 0)
}

// A group that admits a client which has gone meanwhile hears of the end, too: it did not hear the notice before.
func TestAGroupAdmitsWhoHasGone(t *testing.T) {
	s := begin(t, usual())
	life, group := s.hear("sio.door.on.*"), s.hear("sio.*.own.chat.>")
	a := s.Dial("a")
	a.Send("40/door,")
	request := life.next()
	a.Hangup()
	address := life.next().Reply
	for _, headers := range [][]string{nil, {"Sio-Error: no", "Sio-Group: chat"}, {"Sio-Group: chat"}} {
		if err := request.RespondMsg(message("", "", `[]`, headers...)); err != nil {
			t.Fatal(err)
		}
	}
	group.gets("sio.door.own.chat.disconnect", address, left("transport close"))
	s.counts("dropped_total", "answer to a connect that is over", 3)
	s.publish("sio.door.own.chat.marker", `["marker"]`)
	group.gets("sio.door.own.chat.marker", "", `["marker"]`) // that was all
}
