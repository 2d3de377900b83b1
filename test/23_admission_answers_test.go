package test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// An admission that is sent as a request is answered as a join is: when its subscriptions are active. What the service
// then sends to the rooms reaches the new member after its CONNECT.
func TestAnAdmissionIsAnsweredWhenItHolds(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	for i, headers := range [][]string{nil, {"Sio-Group: chat"}, {"Sio-From: chat-a", "Sio-Assignment: 1"}} {
		if i == 2 {
			requests = startInstance(t, s.NC, "chat-a").owned
		}
		c := s.Dial("ann")
		c.Send("40/door,")
		room := strings.Repeat("r", i+1)
		if got, want := string(s.Ask(requests.Next().Reply, `[{"rooms":["`+room+`"]}]`, headers...).Data), `[{"edge":"`+s.ID+`","sockets":1}]`; got != want {
			t.Errorf("the answer is %s, want %s", got, want)
		}
		s.Publish("sio.door.emit.room."+room, `["welcome"]`)
		c.Connected("/door")
		c.Expect(`42/door,["welcome"]`)
	}
}

// An admission that is dropped is answered with the reason.
func TestAnAdmissionThatComesToNothingIsAnswered(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	knock := func() string {
		s.Dial("ann").Send("40/door,")
		return requests.Next().Reply
	}
	admitted := knock()
	s.change(admitted, `[]`, 1)
	s.fails(admitted, `[{"rooms":["late"]}]`, "the socket is admitted already")
	s.fails(knock(), `[{"rooms":"no array"}]`, "invalid answer")
	s.fails(knock(), `[{"rooms":["`+strings.Repeat("long", 200)+`"]}]`, "invalid answer")
	s.fails(strings.Replace(admitted, "sio.door.", "sio.chat.", 1), `[]`, "unknown socket")
	c := s.Dial("bob")
	c.Send("40/door,")
	left := requests.Next().Reply
	gone := s.hear("sio.door.on.disconnect")
	c.Hangup()
	gone.Next()
	s.fails(left, `[]`, "unknown socket")
}

// A refusal, and a body that is no answer at all, are not answered.
func TestOnlyAdmissionsAreAnswered(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	inbox := nats.NewInbox()
	answers := s.hear(inbox)
	c := s.Dial("ann")
	c.Send("40/door,")
	to := requests.Next().Reply
	s.PublishReply(to, inbox, `{"stream":"ALL","seq":1}`)
	s.PublishReply(to, inbox, ``, "Sio-Error: go away")
	c.Expect(`44/door,{"message":"go away"}`)
	s.Dial("bob").Send("40/door,")
	s.PublishReply(requests.Next().Reply, inbox, `[]`)
	answers.Gets(inbox, "", `[{"edge":"`+s.ID+`","sockets":1}]`)
}

// A message in the body of a refusal reaches the client as it is; the header only says that it is a refusal.
func TestARefusalWithItsMessageInTheBody(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	for body, want := range map[string]string{
		`[]`:                      `{"message":"again and again"}`,
		`[{"code":1}]`:            `{"message":"again and again","data":{"code":1}}`,
		`[null,""]`:               `{"message":""}`,
		`[7," two\nlines "]`:      `{"message":" two\nlines ","data":7}`,
		`["x","not mine"]`:        `{"message":"not mine","data":"x"}`,
		`[{"code":1},"a",2]`:      `{"message":"again and again"}`, // none of a refusal: that is in the log
		`[{"code":1},{"text":1}]`: `{"message":"again and again"}`,
	} {
		c := s.Dial("ann")
		c.Send("40/door,")
		s.Publish(requests.Next().Reply, body, "Sio-Error: again and again")
		c.Expect("44/door," + want)
	}
}

// A refusal with Sio-Close refuses nothing: it closes the transport without a word, so that the client comes back. A
// socket that was not admitted gives no disconnect notice; the others of the session do.
func TestARefusalThatCloses(t *testing.T) {
	s := begin(t, usual())
	requests, ends := s.hear("sio.door.on.connect"), s.hear("sio.*.on.disconnect")
	so := s.Enter("ann", "/chat")
	so.Send("40/door,")
	s.Publish(requests.Next().Reply, `[]`, "Sio-Error: busy", "Sio-Close: true")
	if text, ok := so.Await(); ok && text != "1" {
		t.Errorf("the client gets %q", text)
	}
	so.ExpectEnd()
	ends.Gets("sio.chat.on.disconnect", so.Address(), `["disconnect",{"reason":"forced server close","rooms":[]}]`)
	c := s.Dial("bob")
	c.Send("40/door,")
	s.Publish(requests.Next().Reply, `[]`, "Sio-Error: no", "Sio-Close: false")
	c.Expect(`44/door,{"message":"no"}`)
	s.Counts("connects_refused_total", "refused by service", 2)
	if n, _, _ := ends.Pending(); n > 0 {
		t.Errorf("%d more notices", n)
	}
}
