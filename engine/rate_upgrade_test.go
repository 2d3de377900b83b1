package engine

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// What was posted before an upgrade stays before what comes over the WebSocket, and does not delay the upgrade.
func TestAnUpgradeDuringAFlood(t *testing.T) {
	play(t, at100, func(t *testing.T, s *stage) {
		packets, want := numberedPackets(500)
		query := s.poll()
		start := time.Now()
		answer := s.post(query, strings.Join(packets[:300], "\x1e"))
		synctest.Wait()
		ws := s.dial(strings.Replace(query, "polling", "websocket", 1))
		defer ws.Close()
		s.write(ws, "2probe")
		if got := s.read(ws); got != "3probe" {
			t.Fatalf("got %q", got)
		}
		if got := <-answer; got.status != 200 || got.at != start {
			t.Fatalf("the POST was answered with %v after %s", got, got.at.Sub(start))
		}
		s.write(ws, "5")
		go func() {
			for _, packet := range packets[300:] {
				_ = ws.WriteMessage(websocket.TextMessage, []byte(packet))
			}
		}()
		r := s.last()
		r.waitFor(len(want))
		r.expectReceived(t, want...)
		expectTook(t, start, 4500*time.Millisecond)
	})
}

// A WebSocket that is to take over may send only a few frames before it does.
func TestFramesDuringAnUpgrade(t *testing.T) {
	for name, write := range map[string]func(*websocket.Conn) error{
		"pings":  func(ws *websocket.Conn) error { return ws.WriteMessage(websocket.PingMessage, nil) },
		"pongs":  func(ws *websocket.Conn) error { return ws.WriteMessage(websocket.PongMessage, nil) },
		"probes": func(ws *websocket.Conn) error { return ws.WriteMessage(websocket.TextMessage, []byte("2probe")) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				query := s.poll()
				ws := s.dial(strings.Replace(query, "polling", "websocket", 1))
				defer ws.Close()
				start := time.Now()
				go func() {
					for write(ws) == nil {
					}
				}()
				s.expectClose(ws, websocket.CloseNoStatusReceived)
				expectTook(t, start, 0)
				s.last().expectEnd(t)
			})
		})
	}
}
