package badnats

import (
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// A message that is larger than what may wait for one client could reach nobody, however idle. It is dropped: it would
// close every session that it is for, and one bad publish must not disconnect a room.
func TestMessageLargerThanAQueue(t *testing.T) {
	const queue = 100_000
	s := begin(t, func(o *edgetest.Options) { o.QueueBytes = queue })
	large := `["x","` + strings.Repeat("x", 2*queue) + `"]`
	for _, subject := range []string{"sio.chat.emit.all", "sio.chat.emit.room.both", "sio.chat.broadcast.all", "sio.chat.emit.socket." + s.annID} {
		s.drops(message(subject, "", large), badBody, 1)
	}
	s.drops(message("sio.chat.ack."+s.annID+".1", "", large), badBody, 1)
	// The attachments count, too.
	s.drops(message("sio.chat.emit.room.both", "", `["x",{"_placeholder":true,"num":0}]`+strings.Repeat("x", queue), "Sio-Attachments: 100000"), badBody, 1)
	// While a socket is admitted, all that waits for it counts.
	asked, err := s.nc.SubscribeSync("sio.door.on.connect")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	eve := s.Dial("eve")
	eve.Send("40/door,")
	request, err := asked.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSuffix(strings.TrimPrefix(request.Reply, "sio.door.ack."), ".connect")
	s.drops(message("sio.door.emit.socket."+id, "", large), badBody, 1)
	s.publish(message(request.Reply, "", `[]`))
	if got := eve.Next(); !strings.HasPrefix(got, `40/door,{"sid":"`) {
		t.Fatalf("eve got %s", got)
	}
	// What fits arrives.
	fits := `["x","` + strings.Repeat("x", queue/2) + `"]`
	s.publish(message("sio.chat.emit.socket."+s.annID, "", fits))
	s.ann.Expect(`42/chat,` + fits)
	s.fine()
	if n := s.figure("sessions_ended_total", "queue overflow"); n != 0 {
		t.Errorf("%d sessions were closed", n)
	}
}
