package test

import (
	"testing"

	"partyline/internal/edgetest"
)

func TestServiceAcksByResponding(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	root := edgetest.Enter(a.Client, "/", "")
	events := s.hear("sio.*.on.question")
	for _, id := range []string{"0", "1", "12", "9007199254740991"} {
		for _, body := range []string{`[]`, `[ "yes" , 1.0 ] `, `[null]`, `["connect"]`} {
			a.Emit(id, `["question"]`)
			if err := events.Gets("sio.chat.on.question", a.Ack(id), `["question"]`).Respond([]byte(body)); err != nil {
				t.Fatal(err)
			}
			a.Expect("43/chat," + id + body)
		}
	}
	root.Emit("5", `["question"]`)
	if err := events.Gets("sio._.on.question", root.Ack("5"), `["question"]`).Respond([]byte(`["root"]`)); err != nil {
		t.Fatal(err)
	}
	root.Expect(`435["root"]`)
}

// The edge keeps no table: acks come in any order, from any publisher.
func TestAcksComeInAnyOrder(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	events := s.hear("sio.chat.on.question")
	for _, id := range []string{"1", "2", "3"} {
		a.Emit(id, `["question"]`)
		events.Next()
	}
	elsewhere := edgetest.Connect(t, s.NATS.ClientURL())
	for _, id := range []string{"3", "1", "2"} {
		if err := elsewhere.Publish(a.Ack(id), []byte("["+id+"]")); err != nil {
			t.Fatal(err)
		}
		a.Expect("43/chat," + id + "[" + id + "]")
	}
}

func TestBadAcksAreDropped(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	bad := []string{"", "yes", `{"stream":"tap","seq":1}`, `"x"`, `null`, `["x"`, "[\"\xff\"]"}
	for _, body := range bad {
		s.Publish(a.Ack("1"), body)
	}
	s.Counts("dropped_total", "bad body", len(bad))
	for _, number := range []string{"01", "-1", "+1", "1e3", "x", "9007199254740992", "18446744073709551616"} {
		s.Publish(a.Ack(number), `["no"]`)
	}
	s.Publish(a.Ack("1.2"), `["no"]`)
	s.onlyMarker(a)
}

func TestAckIDBeyondExactIntegersEndsTheSession(t *testing.T) {
	s := begin(t, usual())
	events := s.hear("sio.chat.on.disconnect")
	for _, id := range []string{"9007199254740992", "99999999999999999999"} {
		a := s.Enter("a", "/chat")
		a.Emit(id, `["question"]`)
		a.ExpectEnd()
		events.Gets("sio.chat.on.disconnect", a.Address(), left("forced close"))
	}
}

func TestUnexpectedAckIsIgnored(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	everything := s.hear("sio.chat.>")
	a.Send(`43/chat,7["for nobody"]`)
	a.Send(`461-/chat,8[{"_placeholder":true,"num":0}]`)
	a.SendBinary([]byte("abc"))
	a.Emit("", `["marker"]`)
	everything.Gets("sio.chat.on.marker", a.Address(), `["marker"]`)
}
