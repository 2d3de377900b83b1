package badnats

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// Everything at once, from several publishers, while the pair talks: no message of the pair is lost, late, or out of
// order, and nothing is left behind.
func TestFlood(t *testing.T) {
	s := begin(t)
	for range 20 {
		s.pair.Fine()
	}
	sockets, rooms, subscriptions := s.Figure("sockets", ""), s.Figure("rooms", ""), s.Figure("nats_subscriptions", "")
	goroutines := runtime.NumGoroutine()
	const rounds = 20
	var flood []*nats.Msg
	for _, c := range badEvents {
		for _, subject := range []string{"sio.chat.emit.all", "sio.chat.broadcast.room.both",
			"sio.chat.emit.socket." + s.pair.Ann.ID, "sio.other.emit.socket." + s.pair.Ann.ID} {
			flood = append(flood, edgetest.Message(subject, "", c.body, c.headers...))
		}
	}
	for _, body := range []string{``, `{}`, `[]`, `["` + s.pair.Ann.ID + `"]`} {
		for _, verb := range []string{"join", "leave"} {
			flood = append(flood, edgetest.Message("sio.chat."+verb+".all", "sio.chat.emit.all", body),
				edgetest.Message("sio.chat."+verb+".room.both", "$SYS.x", body))
		}
	}
	done := make(chan error, 1)
	go func() {
		for i := range rounds {
			for _, m := range flood {
				if err := s.NC.PublishMsg(m); err != nil {
					done <- err
					return
				}
			}
			// And a new subject each time.
			if err := s.NC.PublishMsg(edgetest.Message(fmt.Sprintf("sio.chat.leave.room.new-%d", i), "", `{}`)); err != nil {
				done <- err
				return
			}
		}
		done <- s.NC.Flush()
	}()
	for flooding := true; flooding; {
		s.pair.Fine()
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			flooding = false
		default:
		}
	}
	for range 20 {
		s.pair.Fine()
	}
	t.Logf("the pair said %d things beside %d bad messages", s.pair.Said, rounds*(len(flood)+1))
	if n := s.Figure("nats_channel_dropped_total", ""); n != 0 {
		t.Errorf("%d messages were dropped", n)
	}
	if s.Figure("sockets", "") != sockets || s.Figure("rooms", "") != rooms ||
		s.Figure("nats_subscriptions", "") != subscriptions {
		t.Errorf("there are %d sockets, %d rooms and %d subscriptions, want %d, %d and %d", s.Figure("sockets", ""),
			s.Figure("rooms", ""),
			s.Figure("nats_subscriptions", ""), sockets, rooms, subscriptions)
	}
	edgetest.Eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	if n := len(s.Logged()); n > 200 { // one for each subject and reason
		t.Errorf("the log has %d lines", n)
	}
}
