package badnats

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// All of it at once, from several publishers, while the pair talks: nothing of the pair's is lost, late, or out of order,
// and nothing is left behind.
func TestFlood(t *testing.T) {
	s := begin(t)
	for range 20 {
		s.fine()
	}
	sockets, rooms, subscriptions := s.figure("sockets", ""), s.figure("rooms", ""), s.figure("nats_subscriptions", "")
	goroutines := runtime.NumGoroutine()
	const rounds = 20
	var flood []*nats.Msg
	for _, c := range badEvents {
		for _, subject := range []string{"sio.chat.emit.all", "sio.chat.broadcast.room.both", "sio.chat.emit.socket." + s.annID, "sio.other.emit.socket." + s.annID} {
			flood = append(flood, message(subject, "", c.body, c.headers...))
		}
	}
	for _, body := range []string{``, `{}`, `[]`, `["` + s.annID + `"]`} {
		for _, verb := range []string{"join", "leave"} {
			flood = append(flood, message("sio.chat."+verb+".all", "sio.chat.emit.all", body), message("sio.chat."+verb+".room.both", "$SYS.x", body))
		}
	}
	done := make(chan error, 1)
	go func() {
		for i := range rounds {
			for _, m := range flood {
				if err := s.nc.PublishMsg(m); err != nil {
					done <- err
					return
				}
			}
			// And each time a subject that was never there before.
			if err := s.nc.PublishMsg(message(fmt.Sprintf("sio.chat.leave.room.new-%d", i), "", `{}`)); err != nil {
				done <- err
				return
			}
		}
		done <- s.nc.Flush()
	}()
	for flooding := true; flooding; {
		s.fine()
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
		s.fine()
	}
	t.Logf("the pair said %d things beside %d bad messages", s.said, rounds*(len(flood)+1))
	if n := s.figure("nats_channel_dropped_total", ""); n != 0 {
		t.Errorf("%d messages were dropped", n)
	}
	if s.figure("sockets", "") != sockets || s.figure("rooms", "") != rooms || s.figure("nats_subscriptions", "") != subscriptions {
		t.Errorf("there are %d sockets, %d rooms and %d subscriptions, want %d, %d and %d", s.figure("sockets", ""), s.figure("rooms", ""),
			s.figure("nats_subscriptions", ""), sockets, rooms, subscriptions)
	}
	edgetest.Eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	if n := len(s.Logged()); n > 200 { // one a subject and reason
		t.Errorf("the log has %d lines", n)
	}
}
