package outage

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// The channel between NATS and the edge is full. What does not fit is dropped, and each message is counted. The edge
// is not ready until it has caught up, and logs it. What is not dropped arrives once and in order.
func TestChannelIsFull(t *testing.T) {
	t.Parallel()
	s := begin(t, func(o *edgetest.Options) { o.Channel = 8 })
	a := s.Enter("a", "/room")
	s.join(a, []string{"one", "two"})
	stop := s.pair.Chat()
	const full = "messages from NATS were dropped and the edge has not caught up yet"
	sent, got, told := 0, 0, false
	last := 0
	next := func() {
		text := a.Next()
		var n int
		if _, err := fmt.Sscanf(text, `42/room,["n",%d]`, &n); err != nil {
			t.Fatalf("a got %q", text)
		}
		if n <= last {
			t.Fatalf("message %d came after %d", n, last)
		}
		last = n
		got++
	}
	edgetest.Eventually(s.t, "the channel is full, and the edge says so", func() bool {
		for range 500 {
			sent++
			s.Publish([]string{"sio.room.emit.room.one", "sio.room.emit.room.two", "sio.room.emit.all", "sio.room.emit.socket." + a.ID}[sent%4],
				fmt.Sprintf(`["n",%d]`, sent))
		}
		s.Flush()
		told = told || slices.Contains(s.Bus.Ready(), full)
		for a.Pending() > 0 {
			next()
		}
		return told && s.Bus.Dropped() > 0
	})
	s.back()
	// Each message that was sent has either arrived or was dropped and counted.
	edgetest.Eventually(s.t, "all is accounted for", func() bool {
		for a.Pending() > 0 {
			next()
		}
		return got+int(s.Bus.Dropped()) >= sent
	})
	const announcements = 100 // more than the edge receives in that time; the channel drops them, too
	if extra := got + int(s.Bus.Dropped()) - sent; extra > announcements {
		t.Errorf("%d messages more are counted than were sent", extra)
	}
	t.Logf("%d messages, %d dropped", sent, s.Bus.Dropped())
	if n := s.Node.Figure("nats_channel_dropped_total", ""); n != int(s.Bus.Dropped()) {
		t.Errorf("the metric is %d", n)
	}
	if log := strings.Join(s.Logged(), "\n"); !strings.Contains(log, "messages from NATS were dropped: the edge does not keep up") {
		t.Errorf("the log does not report it:\n%s", log)
	}
	for range 100 { // and now one at a time
		sent++
		s.Publish("sio.room.emit.room.one", fmt.Sprintf(`["n",%d]`, sent))
		next()
	}
	stop()
}
