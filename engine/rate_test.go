package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"partyline/internal/rates"
)

// at allows 100 packets a second, and 50 at once.
func at100(set *Settings) { set.EventsPerSecond, set.EventsBurst = 100, 50 }

// expectTook compares how long something took with what it should take, apart from one stop of reading.
func expectTook(t *testing.T, since time.Time, want time.Duration) {
	t.Helper()
	if took := time.Since(since); took < want-rates.LeastWait || took > want+rates.LeastWait {
		t.Errorf("it took %s, want %s", took, want)
	}
}

// numberedPackets returns numbered messages as packets, and as they are received.
func numberedPackets(n int) (packets, received []string) {
	for i := range n {
		packets = append(packets, fmt.Sprintf("4%d", i))
		received = append(received, fmt.Sprint(i))
	}
	return packets, received
}

// waitFor waits, in the time of the bubble, until a receiver has got so many messages.
func (r *recorder) waitFor(n int) {
	for len(r.messages()) < n {
		time.Sleep(time.Millisecond)
	}
}

// A client that sends more than its rate is slowed down to it. Nothing is lost, and the order is kept.
func TestAFastClientIsSlowedDown(t *testing.T) {
	for _, transport := range []string{"websocket", "polling", "polling, one packet a POST"} {
		t.Run(transport, func(t *testing.T) {
			var log bytes.Buffer
			play(t, func(set *Settings) {
				at100(set)
				set.Log = slog.New(slog.NewTextHandler(&log, nil))
			}, func(t *testing.T, s *stage) {
				packets, want := numberedPackets(500)
				start := time.Now()
				switch transport {
				case "websocket":
					ws := s.open()
					defer ws.Close()
					go func() {
						for _, packet := range packets {
							_ = ws.WriteMessage(websocket.TextMessage, []byte(packet))
						}
					}()
				case "polling":
					query := s.poll()
					if got := <-s.post(query, strings.Join(packets, "\x1e")); got.status != 200 {
						t.Fatalf("the POST got %v", got)
					}
				default:
					query := s.poll()
					for _, packet := range packets {
						if got := <-s.post(query, packet); got.status != 200 {
							t.Fatalf("the POST got %v", got)
						}
					}
				}
				r := s.last()
				r.waitFor(len(want))
				expectTook(t, start, 4500*time.Millisecond)
				r.expectReceived(t, want...)
				r.expectEnd(t)
				time.Sleep(time.Second)
				st := &s.server.stats
				if slowed, unread := st.slowed.Value(), st.unread.Value(); slowed != 1 || unread != 0 {
					t.Errorf("it was slowed down %d times, and %d sessions are not read", slowed, unread)
				}
				if d := time.Duration(st.slowedFor.Value()); d < 4400*time.Millisecond || d > 4600*time.Millisecond {
					t.Errorf("it was slowed down for %s", d)
				}
				if n := strings.Count(log.String(), "slowing down a client"); n != 1 || !strings.Contains(log.String(), "limit=limits.events_per_second") {
					t.Errorf("the log is %q", log.String())
				}
			})
		})
	}
}

// Every packet counts, whatever it is.
func TestWhatCountsAsAPacket(t *testing.T) {
	message := func(kind int, text string) func(*websocket.Conn) error {
		return func(ws *websocket.Conn) error { return ws.WriteMessage(kind, []byte(text)) }
	}
	for name, write := range map[string]func(*websocket.Conn) error{
		"message": message(websocket.TextMessage, "4x"), "empty message": message(websocket.TextMessage, "4"),
		"attachment": message(websocket.BinaryMessage, "x"), "empty attachment": message(websocket.BinaryMessage, ""),
		"pong": message(websocket.TextMessage, "3"), "noop": message(websocket.TextMessage, "6"),
		"ping of WebSocket": message(websocket.PingMessage, ""), "pong of WebSocket": message(websocket.PongMessage, ""),
	} {
		t.Run(name, func(t *testing.T) {
			play(t, at100, func(t *testing.T, s *stage) {
				ws := s.open()
				defer ws.Close()
				go func() {
					for {
						if _, _, err := ws.ReadMessage(); err != nil {
							return
						}
					}
				}()
				start := time.Now()
				for range 250 {
					if err := write(ws); err != nil {
						t.Fatal(err)
					}
				}
				r := s.last()
				s.write(ws, "4end")
				for got := r.messages(); len(got) == 0 || got[len(got)-1] != "end"; got = r.messages() {
					time.Sleep(time.Millisecond)
				}
				expectTook(t, start, 2*time.Second)
				r.expectEnd(t)
			})
		})
	}
}

// Bytes have a rate of their own. One packet of the largest size always passes.
func TestBytesPerSecond(t *testing.T) {
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			play(t, func(set *Settings) { set.BytesPerSecond, set.MaxPayload = 1000, 5000 }, func(t *testing.T, s *stage) {
				packet := "4" + strings.Repeat("x", 4998)
				var write func()
				answer := time.Duration(0) // a POST is answered when the session is read again
				if transport == "websocket" {
					ws := s.open()
					defer ws.Close()
					write = func() { s.write(ws, packet) }
				} else {
					query := s.poll()
					write, answer = func() { <-s.post(query, packet) }, 5*time.Second
				}
				r, start := s.last(), time.Now()
				write()
				r.waitFor(1)
				expectTook(t, start, 0)
				write()
				write()
				r.waitFor(3)
				expectTook(t, start, 5*time.Second+answer) // the second was handled, and the third waited for it
				write()
				r.waitFor(4)
				expectTook(t, start, 10*time.Second+answer)
			})
		})
	}
}

// A POST that is too large is refused after it was read, so its bytes count.
func TestTooLargePostsCount(t *testing.T) {
	play(t, func(set *Settings) { set.BytesPerSecond, set.MaxPayload = 1000, 5000 }, func(t *testing.T, s *stage) {
		query := s.poll()
		start := time.Now()
		for range 4 {
			if got := <-s.post(query, strings.Repeat("x", 6000)); got.status != 413 {
				t.Fatalf("the POST got %v", got)
			}
		}
		expectTook(t, start, 15*time.Second)
		s.last().expectEnd(t)
	})
}

// A rate that a receiver counts slows down the whole session, and apart from other rates.
func TestARateOfTheReceiver(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r, own := s.last(), &rates.Rate{Name: "own", PerSecond: 10, Burst: 1}
		r.onData = func(data []byte, _ bool) {
			if string(data) == "own" {
				r.session.Count(own, 1)
			}
		}
		start := time.Now()
		go func() {
			for _, packet := range []string{"4x", "4own", "4own", "4x", "4own", "4x", "4x"} {
				_ = ws.WriteMessage(websocket.TextMessage, []byte(packet))
			}
		}()
		r.waitFor(7)
		expectTook(t, start, 200*time.Millisecond)
	})
}

// A client that floods for minutes is pinged, and its session stays.
func TestHeartbeatsDuringAFlood(t *testing.T) {
	play(t, at100, func(t *testing.T, s *stage) {
		ws := s.open()
		pings := make(chan int, 1)
		go func() {
			n := 0
			for {
				if _, data, err := ws.ReadMessage(); err != nil {
					pings <- n
					return
				} else if string(data) == "2" {
					n++
				}
			}
		}()
		start := time.Now()
		for time.Since(start) < 5*time.Minute {
			s.write(ws, "4x")
		}
		s.last().expectEnd(t)
		_ = ws.Close()
		if n := <-pings; n < 11 || n > 12 {
			t.Errorf("the client got %d pings in five minutes", n)
		}
	})
}

// A session that is slowed down for long ends as fast as any other, whatever ends it.
func TestTheEndOfASlowedSession(t *testing.T) {
	for name, end := range map[string]func(*recorder){
		"close": func(r *recorder) { r.session.Close(ServerShutdown) },
		"fail":  func(r *recorder) { r.session.fail(ServerShutdown) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(set *Settings) { set.BytesPerSecond, set.MaxPayload = 10, 5000 }, func(t *testing.T, s *stage) {
				ws := s.open()
				defer ws.Close()
				for range 2 {
					s.write(ws, "4"+strings.Repeat("x", 4998)) // stops reading for 500 s
				}
				synctest.Wait()
				start := time.Now()
				end(s.last())
				s.last().expectEnd(t, ServerShutdown)
				s.expectClose(ws, websocket.CloseNoStatusReceived)
				expectTook(t, start, 0)
				if n := s.server.stats.unread.Value(); n != 0 {
					t.Errorf("%d sessions are not read", n)
				}
			})
		})
	}
}

// flood sends until the session ends, or for a time.
func flood(ws *websocket.Conn, d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
		if ws.WriteMessage(websocket.TextMessage, []byte("4x")) != nil {
			return
		}
	}
}

// A client that stays above a limit for longer than allowed loses its session. One that is calm for a second between
// its floods does not, nor one that a service had stopped meanwhile.
func TestOverrun(t *testing.T) {
	overrun := func(set *Settings) { at100(set); set.Overrun = 10 * time.Second }
	t.Run("flood", func(t *testing.T) {
		var log bytes.Buffer
		play(t, func(set *Settings) {
			overrun(set)
			set.Log = slog.New(slog.NewTextHandler(&log, nil))
		}, func(t *testing.T, s *stage) {
			ws := s.open()
			defer ws.Close()
			start := time.Now()
			go func() {
				for ws.WriteMessage(websocket.TextMessage, []byte("4x")) == nil {
				}
			}()
			s.expectClose(ws, websocket.CloseNoStatusReceived)
			expectTook(t, start, 10*time.Second)
			s.last().expectEnd(t, RateExceeded)
			if n := s.server.stats.ended[RateExceeded].Value(); n != 1 {
				t.Errorf("%d ends are counted", n)
			}
			if !strings.Contains(log.String(), "closing a session: its client was above a limit for limits.overrun") {
				t.Errorf("the log is %q", log.String())
			}
		})
	})
	t.Run("polling", func(t *testing.T) {
		play(t, overrun, func(t *testing.T, s *stage) {
			query := s.poll()
			start := time.Now()
			<-s.post(query, "4x"+strings.Repeat("\x1e4x", 5000))
			expectTook(t, start, 10*time.Second)
			s.last().expectEnd(t, RateExceeded)
		})
	})
	t.Run("with pauses", func(t *testing.T) {
		play(t, overrun, func(t *testing.T, s *stage) {
			ws := s.open()
			defer ws.Close()
			for range 5 {
				flood(ws, 9*time.Second)
				time.Sleep(2 * time.Second)
			}
			s.last().expectEnd(t)
			if n := s.server.stats.slowed.Value(); n != 5 {
				t.Errorf("it was slowed down %d times", n)
			}
		})
	})
	t.Run("stopped for another reason", func(t *testing.T) {
		play(t, overrun, func(t *testing.T, s *stage) {
			ws := s.open()
			defer ws.Close()
			flood(ws, 5*time.Second)
			s.last().session.StopReading()
			time.AfterFunc(20*time.Second, s.last().session.ResumeReading)
			flood(ws, 25*time.Second)
			s.last().expectEnd(t)
		})
	})
}

// A session that sends little keeps nothing about its rates, also after a flood.
func TestIdleSessionsKeepNothing(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		session := s.last().session
		keeps := func() bool {
			synctest.Wait()
			session.in.Lock()
			defer session.in.Unlock()
			return session.pacing != nil
		}
		s.write(ws, "40")
		for range 10 {
			if keeps() {
				t.Fatal("an idle session counts")
			}
			time.Sleep(25 * time.Second)
			s.read(ws)
			s.write(ws, "3")
		}
		flood(ws, 5*time.Second)
		if !keeps() {
			t.Fatal("a flood does not count")
		}
		time.Sleep(1500 * time.Millisecond)
		s.write(ws, "4x")
		if !keeps() {
			t.Fatal("half a burst was forgotten")
		}
		time.Sleep(2500 * time.Millisecond)
		s.write(ws, "4x")
		if keeps() {
			t.Fatal("the session counts after the flood")
		}
	})
}
