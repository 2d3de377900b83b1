package badnats

import (
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// A message that is larger than a session's queue could reach no client, not even an idle one. It is dropped: it
// would end every session that it is for, and one bad publish must not disconnect a room.
func TestMessageLargerThanAQueue(t *testing.T) {
	const queue = 100_000
	s := begin(t, func(o *edgetest.Options) { o.QueueBytes = queue })
	large := `["x","` + strings.Repeat("x", 2*queue) + `"]`
	for _, subject := range []string{"sio.chat.emit.all", "sio.chat.emit.room.both", "sio.chat.broadcast.all",
		"sio.chat.emit.socket." + s.pair.Ann.ID} {
		s.drops(edgetest.Message(subject, "", large), badBody, 1)
	}
	s.drops(edgetest.Message("sio.chat.ack."+s.pair.Ann.ID+".1", "", large), badBody, 1)
	// The attachments count, too.
	s.drops(edgetest.Message("sio.chat.emit.room.both", "",
		`["x",{"_placeholder":true,"num":0}]`+strings.Repeat("x", queue), "Sio-Attachments: 100000"), badBody, 1)
	// While a socket is being admitted, all messages that wait for it count.
	asked := s.Hear("sio.door.on.connect")
	eve := s.Dial("eve")
	eve.Send("40/door,")
	request := asked.Next()
	id := strings.TrimSuffix(strings.TrimPrefix(request.Reply, "sio.door.ack."), ".connect")
	s.drops(edgetest.Message("sio.door.emit.socket."+id, "", large), badBody, 1)
	s.Publish(request.Reply, `[]`)
	if got := eve.Next(); !strings.HasPrefix(got, `40/door,{"sid":"`) {
		t.Fatalf("eve got %s", got)
	}
	// What fits arrives.
	fits := `["x","` + strings.Repeat("x", queue/2) + `"]`
	s.Publish("sio.chat.emit.socket."+s.pair.Ann.ID, fits)
	s.pair.Ann.Expect(`42/chat,` + fits)
	s.pair.Fine()
	if n := s.Figure("sessions_ended_total", "queue overflow"); n != 0 {
		t.Errorf("%d sessions were closed", n)
	}
}
