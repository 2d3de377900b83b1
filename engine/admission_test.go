package engine

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHandshakesPerSecond begins as many sessions at once as a second allows, and then one at a time, on both
// transports.
func TestHandshakesPerSecond(t *testing.T) {
	const rate = 10
	play(t, func(set *Settings) { set.HandshakesPerSecond = rate }, func(t *testing.T, s *stage) {
		waits := map[string]bool{}
		late := func(header ...string) {
			t.Helper()
			transport := "polling"
			if len(header) > 0 {
				transport = "websocket"
			}
			status, text, h := s.request("GET", "EIO=4&transport="+transport, "", header...)
			wait := h.Get("Retry-After")
			seconds, err := strconv.Atoi(wait)
			if status != 503 || !strings.Contains(text, "too many sessions at a time") || err != nil || seconds < 1 || seconds > 5 {
				t.Errorf("one more over %s: %d %q, Retry-After %q", transport, status, text, wait)
			}
			waits[wait] = true
		}
		for range rate {
			s.poll()
		}
		for range 100 {
			late()
			late("Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		}
		if len(waits) < 3 {
			t.Errorf("all clients are asked to wait for the same time: %v", waits)
		}
		time.Sleep(time.Second / rate)
		s.open()
		late()
		time.Sleep(time.Hour)
		for range rate { // a long pause allows no more than one second
			s.poll()
		}
		late()
		if n := s.server.stats.denied[deniedTooFast].Value(); n != 202 {
			t.Errorf("%d were counted", n)
		}
		if n := s.server.stats.denied[deniedSessions].Value(); n != 0 {
			t.Errorf("%d were counted as over another limit", n)
		}
	})
}
