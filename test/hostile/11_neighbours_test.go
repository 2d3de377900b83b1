package hostile

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/engine"
	"partyline/internal/edgetest"
)

// enterFlood opens a session and joins the room of /flood, whose members hear each other.
func (s *stage) enterFlood() *raw {
	s.t.Helper()
	r := dialRaw(s.t, s.URL)
	r.write(textFrame("40/flood,"))
	for !strings.HasPrefix(r.next(), `40/flood,{"sid"`) {
	}
	r.write(textFrame(`42/flood,0["join","hall"]`))
	for r.next() != `43/flood,0[{"ok":true}]` {
	}
	return r
}

// Clients flood a room, each message of which goes to 200 readers. The edge slows them down: its channel from NATS
// never overflows, and the pair in another namespace loses nothing. None of them is closed.
func TestAFloodInAnotherNamespace(t *testing.T) {
	const readers, senders, together = 200, 8, 100
	s := begin(t, func(o *edgetest.Options) {
		o.Channel = 1000 // enough for the windows of two namespaces, and far from enough for the flood
		o.Engine = engine.DefaultConfig()
		o.Engine.PingInterval = time.Hour // the readers read only
	})
	all := make([]*raw, readers+senders)
	for i := range all {
		all[i] = s.enterFlood()
		all[i].drain()
	}
	var text []byte
	for range together {
		text = append(text, textFrame(`42/flood,["message","`+strings.Repeat("x", 100)+`"]`)...)
	}
	said, writes := len(s.Logged()), many(10)
	var sending sync.WaitGroup
	for _, r := range all[:senders] {
		sending.Go(func() {
			for range writes {
				r.write(text)
			}
		})
	}
	// Each message has arrived everywhere but at its sender, in about 135 bytes.
	messages := senders * writes * together
	edgetest.Eventually(t, fmt.Sprintf("%d messages have arrived", messages), func() bool {
		for _, r := range all[senders:] {
			if r.read.Load() < int64(messages*120) {
				return false
			}
		}
		return true
	})
	sending.Wait()
	if s.Figure("nats_channel_overflows_total", "") != 0 || s.Bus.Dropped() != 0 {
		t.Errorf("the channel from NATS overflowed, and %d messages were dropped", s.Bus.Dropped())
	}
	if s.Figure("events_slowed_total", "/flood") == 0 {
		t.Error("no client was slowed down")
	}
	if got := s.Engine.Sessions(); got != len(all)+2 {
		t.Errorf("%d sessions are left, want all %d and the pair", got, len(all))
	}
	s.quiet("the flood", said)
	for _, r := range all {
		r.hangup()
	}
}
