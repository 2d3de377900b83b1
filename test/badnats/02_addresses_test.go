package badnats

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// A message for a socket that has gone is dropped. That is normal, so it is not logged.
func TestSocketThatIsGone(t *testing.T) {
	s := begin(t)
	eve := s.Dial("eve")
	id := eve.Connect("/chat", "")
	eve.Hangup()
	s.Counts("sockets", "", 2)
	never := s.ID + "." + strings.Repeat("A", 20)
	for _, id := range []string{id, never} {
		s.drops(edgetest.Message("sio.chat.emit.socket."+id, "", `["x"]`), unknownSocket, 0)
		s.drops(edgetest.Message("sio.chat.ack."+id+".1", "", `["x"]`), unknownSocket, 0)
		s.drops(edgetest.Message("sio.chat.ack."+id+".connect", "", `[]`), lateAnswer, 0) // the line is about the namespace
		s.refused("sio.chat.join.socket."+id, `["x"]`, "unknown socket")
		s.refused("sio.chat.leave.socket."+id, `["x"]`, "unknown socket")
		s.refused("sio.chat.disconnect.socket."+id, ``, "unknown socket")
	}
}

// refused makes a request, and checks that the answer is an error and that the pair still works.
func (s *stage) refused(subject, body, reason string) {
	s.t.Helper()
	answer := s.Ask(subject, body)
	if got := answer.Header.Get("Sio-Error"); !strings.Contains(got, reason) || got == "" || len(answer.Data) > 0 {
		s.t.Errorf("%s %.60q was answered %q %v, want the error %q", subject, body, answer.Data, answer.Header, reason)
	}
	s.pair.Fine()
}

// A socket exists only in its own namespace: a publisher to one namespace must not reach another.
func TestSocketOfAnotherNamespace(t *testing.T) {
	s := begin(t)
	for _, token := range []string{"other", "_", "nowhere", "CHAT"} {
		s.drops(edgetest.Message("sio."+token+".emit.socket."+s.pair.Ann.ID, "", `["x"]`), wrongNamespace, 1)
		s.drops(edgetest.Message("sio."+token+".ack."+s.pair.Ann.ID+".1", "", `["x"]`), wrongNamespace, 1)
		s.drops(edgetest.Message("sio."+token+".ack."+s.pair.Ann.ID+".connect", "", `[]`), wrongNamespace, 1)
		s.refused("sio."+token+".join.socket."+s.pair.Ann.ID, `["x"]`, "unknown socket")
		s.refused("sio."+token+".leave.socket."+s.pair.Ann.ID, `["both"]`, "unknown socket")
		s.refused("sio."+token+".disconnect.socket."+s.pair.Ann.ID, `[true]`, "unknown socket")
	}
	// Nor by a header: only eve is in /other.
	eve := s.Dial("eve")
	eve.Connect("/other", "")
	s.Publish("sio.other.emit.all", `["x"]`, "Sio-Rooms: "+s.pair.Ann.ID, "Sio-Rooms: both")
	s.pair.Fine()
	if eve.Pending() > 0 {
		t.Errorf("eve got %s", eve.Next())
	}
}

// A connect is answered once. Later answers change nothing.
func TestSecondAnswerToAConnect(t *testing.T) {
	s := begin(t)
	asked := s.Hear("sio.door.on.connect")
	eve := s.Dial("eve")
	eve.Send("40/door,")
	request := asked.Next()
	// Not a decision: for instance, the ack of a stream that stores the request.
	s.drops(edgetest.Message(request.Reply, "", `{"stream":"EVENTS","seq":1}`), badBody, 1)
	s.Publish(request.Reply, `[]`)
	if got := eve.Next(); !strings.HasPrefix(got, `40/door,{"sid":"`) {
		t.Fatalf("eve got %s", got)
	}
	before := s.Figure("dropped_total", lateAnswer)
	for _, m := range []string{`[{"rooms":["late"]}]`, `[]`, `nonsense`} {
		s.Publish(request.Reply, m)
	}
	s.Publish(request.Reply, `[]`, "Sio-Error: no, after all")
	s.Counts("dropped_total", lateAnswer, before+4)
	s.pair.Fine()
	eve.Send("41/door,")
	s.Counts("sockets", "", 2)
	if eve.Pending() > 0 {
		t.Errorf("eve got %s", eve.Next())
	}
}

// The edge keeps no table of acks. The client has one, and ignores all others (socket.io-client, socket.js, onack). A
// body that is not an array is dropped before.
func TestAcksThatNobodyWaitsFor(t *testing.T) {
	s := begin(t)
	eve := s.Dial("eve")
	id := eve.Connect("/chat", "")
	// She does not listen to the pair.
	if answer := s.Ask("sio.chat.leave.socket."+id, `["both"]`); answer.Header != nil {
		t.Fatal(answer.Header)
	}
	respondTwice := func(m *nats.Msg) {
		_ = m.Respond([]byte("[3]"))
		_ = m.Respond([]byte("[4]"))
	}
	s.Handle("sio.chat.on.sum", respondTwice)
	eve.Send(`42/chat,7["sum",1,2]`)
	eve.Expect(`43/chat,7[3]`)
	eve.Expect(`43/chat,7[4]`) // a second reply to it
	s.Publish("sio.chat.ack."+id+".8", `["never asked"]`)
	eve.Expect(`43/chat,8["never asked"]`)
	for _, body := range []string{`{"stream":"EVENTS","seq":1}`, `{}`, `"x"`, `null`, ``, `[1`, "[\"\xff\"]"} {
		s.drops(edgetest.Message("sio.chat.ack."+id+".7", "", body), badBody, 1)
		s.drops(edgetest.Message("sio.chat.emit.socket."+id, "", body), badBody, 1)
	}
	s.drops(edgetest.Message("sio.chat.ack."+id+".7", "", `[{"_placeholder":true,"num":1}]abc`, "Sio-Attachments: 3"),
		badBody, 1)
	s.drops(edgetest.Message("sio.chat.ack."+id+".7", "", `[]`, "Sio-Attachments: 9"), badBody, 1)
	// Numbers that no client can have given.
	before := s.Figure("dropped_total", "bad subject")
	numbers := []string{"x", "-1", "01", "1.5", "9007199254740992", "18446744073709551616", "Connect"}
	for _, n := range numbers {
		s.Publish("sio.chat.ack."+id+"."+n, `[]`)
	}
	edgetest.Eventually(t, "bad numbers are counted", func() bool {
		// one has a token too many and reaches no edge
		return s.Figure("dropped_total", "bad subject") >= before+len(numbers)-1
	})
	s.pair.Fine()
	eve.Send(`42/chat,9["sum"]`)
	eve.Expect(`43/chat,9[3]`)
	eve.Expect(`43/chat,9[4]`)
}
