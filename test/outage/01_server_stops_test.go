package outage

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// heard sends what a service receives to a channel, and acks it.
func heard(events chan<- string) nats.MsgHandler {
	return func(m *nats.Msg) {
		events <- string(m.Data)
		_ = m.Respond([]byte("[]"))
	}
}

// The server stops and starts again, for all of its clients.
func TestServerStopsAndStarts(t *testing.T) {
	t.Parallel()
	s := begin(t)
	c := gather(s)
	up := s.listen(c.all[0])
	c.roundTrip()
	up.arrive(100)
	s.pair.Fine()

	s.NATS.Stop()
	s.lost()
	edgetest.Eventually(s.t, "the service has lost NATS", func() bool { return !s.NC.IsConnected() })
	up.emit(100) // none is acked, as the following answers show
	edgetest.Eventually(s.t, "each event that was not sent is counted", func() bool { return s.Node.Figure("events_failed_total", "") == 100 })
	b := s.Dial("b")
	b.Send("40/door,")
	b.Expect(`44/door,{"message":"no service"}`)
	c.swap()

	s.NATS.Restart()
	c.swappedOver()
	s.back()
	edgetest.Eventually(s.t, "the service is back", func() bool { return s.NC.IsConnected() && s.NC.FlushTimeout(time.Second) == nil })
	c.roundTrip()
	up.arrive(100)
	edgetest.Eventually(s.t, "the pair's own edge is back", func() bool { return len(s.pair.Node.Bus.Ready()) == 0 })
	for range 100 {
		s.pair.Fine()
	}
	if n := len(up.events); n > 0 {
		t.Errorf("the service received %d more events, the first %s", n, <-up.events)
	}
}

// Only the edge loses NATS: its connection is closed, and new ones are refused. All others stay connected, and receive
// what the edge kept after the outage.
func TestConnectionIsCut(t *testing.T) {
	t.Parallel()
	s := begin(t)
	c := gather(s)
	up := s.listen(c.all[0])
	leaver, goer := s.Enter("leaver", "/room"), s.Enter("goer", "/room")
	notices := make(chan string, 1000)
	s.Handle("sio.room.on.disconnect", func(m *nats.Msg) { notices <- m.Reply + " " + string(m.Data) })
	stop := s.pair.Chat()
	c.roundTrip()
	up.arrive(10)
	for range 3 {
		s.cut()
		failed := s.Node.Figure("events_failed_total", "")
		up.emit(100)
		edgetest.Eventually(s.t, "each event that was not sent is counted", func() bool { return s.Node.Figure("events_failed_total", "") == failed+100 })
		s.Publish("sio.room.emit.all", `["missed"]`) // the edge misses it, as any subscriber without a connection does
		s.proxy.Mend()
		s.back()
		c.roundTrip()
		up.arrive(10)
	}

	s.cut()
	sockets := s.Node.Figure("sockets", "")
	leaver.Send("41/room,")
	edgetest.Eventually(s.t, "one has left", func() bool { return s.Node.Figure("sockets", "") == sockets-1 })
	goer.Hangup()
	edgetest.Eventually(s.t, "one has gone", func() bool { return s.Node.Figure("sockets", "") == sockets-2 })
	c.swap()
	s.proxy.Mend()
	c.swappedOver()
	s.back()
	c.roundTrip()
	for _, want := range []string{
		"sio.room.emit.socket." + leaver.ID + ` ["disconnect",{"reason":"client namespace disconnect","rooms":[]}]`,
		"sio.room.emit.socket." + goer.ID + ` ["disconnect",{"reason":"transport close","rooms":[]}]`,
	} {
		if got := <-notices; got != want {
			t.Errorf("the service received %s, want %s", got, want)
		}
	}
	if n := s.Node.Figure("nats_answers_dropped_total", ""); n != 0 {
		t.Errorf("%d answers or notices were dropped", n)
	}
	stop()
}

// The ready check gives a reason at every step of the reconnect. Joins that were made meanwhile are answered only at
// its end.
func TestWayBack(t *testing.T) {
	t.Parallel()
	s := begin(t)
	a := s.Enter("a", "/room")
	s.cut()
	a.Emit("1", `["join","late"]`)
	s.poison("latency", `"latency":300`) // each step takes long enough to be observed
	s.proxy.Mend()
	var steps []string
	edgetest.Eventually(s.t, "the edge is ready again", func() bool {
		why := s.Bus.Ready()
		for _, reason := range why {
			if !slices.Contains(steps, reason) {
				steps = append(steps, reason)
			}
		}
		if len(why) > 0 && a.Pending() > 0 && len(s.Bus.Ready()) > 0 {
			t.Fatalf("a join was answered while the edge was not ready: %q", why)
		}
		return len(why) == 0
	})
	if want := []string{"not connected to NATS", "subscriptions are not in place yet"}; !slices.Equal(steps, want) {
		t.Errorf("the edge was not ready because of %q, want %q", steps, want)
	}
	a.Expect(`43/room,1[{"ok":true}]`)
	s.Publish("sio.room.emit.room.late", `["in time"]`)
	a.Gets(`["in time"]`)
}
