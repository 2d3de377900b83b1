package engine

import (
	"strings"
	"testing"
	"time"
)

// TestTotals checks the metrics of sessions by transport, and of what waits for them.
func TestTotals(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		figure := func(name, label string) int {
			for _, m := range s.server.Metrics().Metrics() {
				if m.Name == name && m.Value() == label {
					return int(m.Read())
				}
			}
			t.Fatalf("no metric %s %s", name, label)
			return 0
		}
		expect := func(polling, websocket, waiting, most int) {
			t.Helper()
			time.Sleep(totalsFor)
			if p, w := figure("sessions_by_transport", "polling"), figure("sessions_by_transport", "websocket"); p != polling || w != websocket {
				t.Errorf("%d sessions poll and %d have a WebSocket, want %d and %d", p, w, polling, websocket)
			}
			if all, one := figure("queued_bytes", ""), figure("queued_bytes_most", ""); all != waiting || one != most {
				t.Errorf("%d bytes wait, %d of them for one, want %d and %d", all, one, waiting, most)
			}
		}
		expect(0, 0, 0, 0)
		s.poll()
		first := s.last()
		query := s.poll()
		second := s.last()
		ws := s.open()
		defer ws.Close()
		expect(2, 1, 0, 0)
		first.session.Send(message("abc"))
		second.session.Send(message("abcdef"))
		one, other := first.session.Waiting(), second.session.Waiting()
		if one == 0 || other <= one {
			t.Fatalf("%d and %d bytes wait", one, other)
		}
		expect(2, 1, one+other, other)
		moved := s.dial(strings.Replace(query, "polling", "websocket", 1))
		defer moved.Close()
		s.write(moved, "2probe")
		s.read(moved)
		s.write(moved, "5")
		s.read(moved)
		expect(1, 2, one, one)
	})
}
