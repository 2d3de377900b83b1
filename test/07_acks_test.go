package test

import "testing"

func TestServiceAcksByResponding(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	root := also(a.Client, "/")
	events := s.hear("sio.*.on.question")
	for _, id := range []string{"0", "1", "12", "9007199254740991"} {
		for _, body := range []string{`[]`, `[ "yes" , 1.0 ] `, `[null]`, `["connect"]`} {
			a.send(id, `["question"]`)
			if err := events.gets("sio.chat.on.question", a.ack(id), `["question"]`).Respond([]byte(body)); err != nil {
				t.Fatal(err)
			}
			a.Expect("43/chat," + id + body)
		}
	}
	root.send("5", `["question"]`)
	if err := events.gets("sio._.on.question", root.ack("5"), `["question"]`).Respond([]byte(`["root"]`)); err != nil {
		t.Fatal(err)
	}
	root.Expect(`435["root"]`)
}

// The edge keeps no table: acks come in any order, from anybody.
func TestAcksComeInAnyOrder(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	events := s.hear("sio.chat.on.question")
	for _, id := range []string{"1", "2", "3"} {
		a.send(id, `["question"]`)
		events.next()
	}
	elsewhere := service(t, s.nats.ClientURL())
	for _, id := range []string{"3", "1", "2"} {
		if err := elsewhere.Publish(a.ack(id), []byte("["+id+"]")); err != nil {
			t.Fatal(err)
		}
		a.Expect("43/chat," + id + "[" + id + "]")
	}
}

func TestBadAcksAreDropped(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	bad := []string{"", "yes", `{"stream":"tap","seq":1}`, `"x"`, `null`, `["x"`, "[\"\xff\"]"}
	for _, body := range bad {
		s.publish(a.ack("1"), body)
	}
	s.counts("dropped_total", "bad body", len(bad))
	for _, number := range []string{"01", "-1", "+1", "1e3", "x", "9007199254740992", "18446744073709551616"} {
		s.publish(a.ack(number), `["no"]`)
	}
	s.publish(a.ack("1.2"), `["no"]`)
	s.onlyMarker(a)
}

func TestAckIDBeyondExactIntegersEndsTheSession(t *testing.T) {
	s := begin(t, usual())
	events := s.hear("sio.chat.on.disconnect")
	for _, id := range []string{"9007199254740992", "99999999999999999999"} {
		a := s.enter("a", "/chat")
		a.send(id, `["question"]`)
		a.ExpectEnd()
		events.gets("sio.chat.on.disconnect", a.address(), left("forced close"))
	}
}

func TestAckThatNobodyAskedForIsIgnored(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	everything := s.hear("sio.chat.>")
	a.Send(`43/chat,7["for nobody"]`)
	a.Send(`461-/chat,8[{"_placeholder":true,"num":0}]`)
	a.SendBinary([]byte("abc"))
	a.send("", `["marker"]`)
	everything.gets("sio.chat.on.marker", a.address(), `["marker"]`)
}
