package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

func TestHeartbeat(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.last()
		start := time.Now()
		for i := range 3 {
			if got := s.read(ws); got != "2" {
				t.Fatalf("got %q, want a ping", got)
			}
			if waited := time.Since(start); waited != time.Duration(i+1)*25*time.Second {
				t.Fatalf("ping %d after %s", i, waited)
			}
			s.write(ws, "3")
		}
		if got := s.read(ws); got != "2" {
			t.Fatalf("got %q, want a ping", got)
		}
		pinged := time.Now()
		s.expectClose(ws, websocket.CloseNoStatusReceived)
		if waited := time.Since(pinged); waited != 20*time.Second {
			t.Fatalf("gave up %s after the ping", waited)
		}
		r.expectEnd(t, PingTimeout)
	})
}

func TestOtherPacketsProlongTheWaitForAPongOnce(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		s.read(ws)
		pinged := time.Now()
		time.Sleep(15 * time.Second)
		s.write(ws, "4x")
		synctest.Wait()
		time.Sleep(15 * time.Second)
		s.write(ws, "4y")
		s.expectClose(ws, websocket.CloseNoStatusReceived)
		if waited := time.Since(pinged); waited != 35*time.Second {
			t.Fatalf("gave up %s after the ping, want 15 s + 20 s", waited)
		}
	})
}

func TestPingTimeoutWhilePolling(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.last()
		if _, body, _ := s.request("GET", query, ""); body != "2" {
			t.Fatalf("got %q, want a ping", body)
		}
		if _, body, _ := s.request("GET", query, ""); body != "1" {
			t.Fatalf("got %q, want a close packet", body)
		}
		r.expectEnd(t, PingTimeout)
		if status, body, _ := s.request("GET", query, ""); status != 400 || body != `{"code":1,"message":"Session ID unknown"}` {
			t.Fatalf("got %d %s", status, body)
		}
	})
}

// stopTimer stops the session's timer, as a machine without a free processor does.
func (s *Session) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heartbeat.timer.Stop()
}

// A session whose client answers no ping has ended ping_interval + ping_timeout after the handshake, even if timers
// are late.
func TestNoPongAndLateTimers(t *testing.T) {
	for name, late := range map[string]struct{ ping, end time.Duration }{
		"in time":               {0, 0},
		"the ping is late":      {3 * time.Second, 0},
		"the end is late":       {0, time.Hour},
		"both are late":         {3 * time.Second, time.Hour},
		"there is not even one": {time.Hour, time.Hour},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(name+", "+method, func(t *testing.T) {
				play(t, nil, func(t *testing.T, s *stage) {
					query, start := s.poll(), time.Now()
					r := s.last()
					if late.ping > 0 {
						r.session.stopTimer()
					}
					if late.ping < time.Minute {
						time.Sleep(25*time.Second + late.ping)
						synctest.Wait()
						if late.ping > 0 {
							r.session.beat()
						}
					}
					if late.end > 0 {
						r.session.stopTimer()
					}
					time.Sleep(time.Until(start.Add(45 * time.Second)))
					status, body, _ := s.request(method, query, "4x")
					expect(t, method, pollResult{status, body}, unknown)
					r.expectEnd(t, PingTimeout)
					if got := r.messages(); len(got) > 0 {
						t.Errorf("received %q", got)
					}
				})
			})
		}
	}
}

// One nanosecond before the end the session is there.
func TestJustBeforeThePingTimeout(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		time.Sleep(45*time.Second - 1)
		expect(t, "the poll", s.ask(query), pollResult{200, "2"})
		s.last().expectEnd(t)
	})
}

// A pong over WebSocket that came in time counts, although this process has been stopped and reads it later.
func TestAPongThatWasNotReadInTime(t *testing.T) {
	for name, answers := range map[string]bool{"it is there": true, "it is not": false} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				ws := s.open()
				defer ws.Close()
				r := s.last()
				if got := s.read(ws); got != "2" {
					t.Fatalf("got %q, want a ping", got)
				}
				r.session.stopTimer()
				time.Sleep(30 * time.Second)
				r.session.beat()
				if !answers {
					s.expectClose(ws, websocket.CloseNoStatusReceived)
					r.expectEnd(t, PingTimeout)
					return
				}
				s.write(ws, "3")
				if got := s.read(ws); got != "2" {
					t.Fatalf("got %q, want the next ping", got)
				}
				r.expectEnd(t)
			})
		})
	}
}

// The same over polling, for a client whose poll waited for the ping.
func TestAPongOverPollingThatWasNotReadInTime(t *testing.T) {
	for name, c := range map[string]struct{ timerFirst, answers bool }{
		"the pong, then the timer": {false, true},
		"the timer, then the pong": {true, true},
		"no pong":                  {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				query := s.poll()
				r := s.last()
				expect(t, "the poll", s.ask(query), pollResult{200, "2"})
				r.session.stopTimer()
				time.Sleep(30 * time.Second)
				if c.timerFirst {
					r.session.beat()
				}
				if !c.answers {
					expect(t, "the next poll", s.ask(query), pollResult{200, "1"})
					r.expectEnd(t, PingTimeout)
					return
				}
				if status, body, _ := s.request("POST", query, "3"); status != 200 {
					t.Errorf("the pong got %d %q", status, body)
				}
				expect(t, "the next poll", s.ask(query), pollResult{200, "2"})
				r.expectEnd(t)
			})
		})
	}
}

// A client that waits for a ping which a stopped process sends late has the whole time-out.
func TestALatePingToAPollThatWaits(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.last()
		poll := s.asking(query)
		r.session.stopTimer()
		time.Sleep(40 * time.Second)
		r.session.beat()
		expect(t, "the poll", <-poll, pollResult{200, "2"})
		time.Sleep(20*time.Second - 1)
		if status, body, _ := s.request("POST", query, "3"); status != 200 {
			t.Errorf("the pong got %d %q", status, body)
		}
		r.expectEnd(t)
	})
}
