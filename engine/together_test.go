package engine

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// Requests that a client sends together arrive in any order, because each has its own connection.

// pollResult is the answer to a poll.
type pollResult struct {
	status int
	body   string
}

// unknown is the answer to a request of a session that is not there, refusedPoll of one that has left polling behind.
var (
	unknown     = pollResult{400, `{"code":1,"message":"Session ID unknown"}`}
	refusedPoll = pollResult{400, `{"code":3,"message":"Bad request"}`}
)

// ask polls once.
func (s *stage) ask(query string) pollResult {
	status, body, _ := s.request("GET", query, "")
	return pollResult{status, body}
}

// asking polls beside the test, and returns once the poll waits.
func (s *stage) asking(query string) <-chan pollResult {
	result := make(chan pollResult, 1)
	go func() { result <- s.ask(query) }()
	synctest.Wait()
	return result
}

func expect(t *testing.T, what string, got, want pollResult) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %d %q, want %d %q", what, got.status, got.body, want.status, want.body)
	}
}

// A poll that is sent together with the POST that closes the session gets a noop, in both orders of arrival, and it is the
// last one that does.
func TestThePollBesideTheClosingPost(t *testing.T) {
	noop := pollResult{200, "6"}
	t.Run("the poll is first", func(t *testing.T) {
		play(t, nil, func(t *testing.T, s *stage) {
			query := s.poll()
			poll := s.asking(query)
			s.request("POST", query, "1")
			expect(t, "the poll", <-poll, noop)
			expect(t, "a second poll", s.ask(query), unknown)
			s.last().expectEnd(t, TransportClose)
		})
	})
	t.Run("the POST is first", func(t *testing.T) {
		play(t, nil, func(t *testing.T, s *stage) {
			query := s.poll()
			s.last().session.Send(message("nobody fetches it"))
			s.request("POST", query, "1")
			s.last().expectEnd(t, TransportClose)
			for _, other := range []string{strings.Replace(query, "polling", "websocket", 1), strings.Replace(query, "EIO=4", "EIO=3", 1)} {
				expect(t, other, s.ask(other), unknown)
			}
			time.Sleep(owedFor - 1)
			expect(t, "the poll", s.ask(query), noop)
			expect(t, "a second poll", s.ask(query), unknown)
		})
	})
	t.Run("the poll is late", func(t *testing.T) {
		play(t, nil, func(t *testing.T, s *stage) {
			query := s.poll()
			s.request("POST", query, "1")
			time.Sleep(owedFor)
			expect(t, "the poll", s.ask(query), unknown)
		})
	})
}

// A session that ends in another way answers no further poll.
func TestNoPollAfterOtherEnds(t *testing.T) {
	for name, end := range map[string]func(s *stage, query string){
		"a packet that is none": func(s *stage, query string) { s.request("POST", query, "abc") },
		"a ping of the client":  func(s *stage, query string) { s.request("POST", query, "2") },
		"a second poll":         func(s *stage, query string) { poll := s.asking(query); s.ask(query); <-poll },
		"no pong":               func(*stage, string) { time.Sleep(45 * time.Second) },
		"a close packet over WebSocket": func(s *stage, query string) {
			ws := s.upgraded(query)
			defer ws.Close()
			s.write(ws, "1")
			s.expectClose(ws, websocket.CloseNoStatusReceived)
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				query := s.poll()
				end(s, query)
				expect(t, "a poll", s.ask(query), unknown)
			})
		})
	}
}

// What is remembered of closed sessions is bounded; the oldest are forgotten first.
func TestClosedSessionsThatAreRemembered(t *testing.T) {
	var o pollsOwed
	now := time.Now()
	for i := range maxOwed + 10 {
		o.add(fmt.Sprint(i), now)
	}
	if len(o) != maxOwed || o.take("9", now) || !o.take("10", now) || o.take("10", now) {
		t.Errorf("%d sessions are remembered", len(o))
	}
	if o.take("11", now.Add(owedFor)) || len(o) != 0 {
		t.Errorf("%d sessions are remembered after %s", len(o), owedFor)
	}
}

// probed opens a WebSocket for a polling session, and has the answer to its probe.
func (s *stage) probed(query string) *websocket.Conn {
	s.t.Helper()
	ws := s.dial(strings.Replace(query, "polling", "websocket", 1))
	s.write(ws, "2probe")
	if got := s.read(ws); got != "3probe" {
		s.t.Fatalf("got %q", got)
	}
	return ws
}

// upgraded moves a polling session to a WebSocket.
func (s *stage) upgraded(query string) *websocket.Conn {
	s.t.Helper()
	ws := s.probed(query)
	s.write(ws, "5")
	synctest.Wait()
	return ws
}

// echoes shows that a WebSocket works, and that nothing that was meant for a poll came over it.
func (s *stage) echoes(ws *websocket.Conn) {
	s.t.Helper()
	r := s.last()
	s.write(ws, "4hello")
	if got := r.messages(); len(got) != 1 || got[0] != "hello" {
		s.t.Fatalf("received %q", got)
	}
	r.session.Send(message("hello"))
	if got := s.read(ws); got != "4hello" {
		s.t.Errorf("over the WebSocket: %q", got)
	}
}

// A poll that is sent together with the packet that ends an upgrade is refused, in both orders of arrival.
func TestThePollBesideTheUpgrade(t *testing.T) {
	for name, c := range map[string]struct {
		wait  time.Duration // from the probe's answer to the poll
		apart time.Duration // from the poll to the packet; below 0: the packet is first
	}{
		"the packet is first":       {0, -1},
		"the poll is first":         {0, 0},
		"the packet is late":        {0, releaseEvery - 1},
		"both are late":             {releaseEvery - 1, releaseEvery - 1},
		"the client takes its time": {5*releaseEvery/2 - 1, releaseEvery - 1},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				query := s.poll()
				ws := s.probed(query)
				defer ws.Close()
				time.Sleep(c.wait)
				if c.apart < 0 {
					s.write(ws, "5")
					expect(t, "the poll", s.ask(query), refusedPoll)
				} else {
					poll := s.asking(query)
					time.Sleep(c.apart)
					s.write(ws, "5")
					expect(t, "the poll", <-poll, refusedPoll)
				}
				s.echoes(ws)
			})
		})
	}
}

// The same before the server has seen that the client has the answer to its probe.
func TestThePollBesideTheUpgradeOvertakesTheAnswer(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		ws := s.dial(strings.Replace(query, "polling", "websocket", 1))
		defer ws.Close()
		s.write(ws, "2probe") // the pipe holds nothing: the answer waits until it is read
		synctest.Wait()
		poll := s.asking(query)
		if got := s.read(ws); got != "3probe" {
			t.Fatalf("got %q", got)
		}
		s.write(ws, "5")
		expect(t, "the poll", <-poll, refusedPoll)
		s.echoes(ws)
	})
}

// A poll that waits when the client probes gets a noop, and so does each further one, if the upgrade does not end.
func TestPollsDuringAnUpgradeAreReleased(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		first := s.asking(query)
		ws := s.probed(query)
		defer ws.Close()
		expect(t, "the first poll", <-first, pollResult{200, "6"})
		for range 3 {
			start := time.Now()
			expect(t, "another poll", s.ask(query), pollResult{200, "6"})
			if took := time.Since(start); took != releaseEvery {
				t.Errorf("it was released after %s", took)
			}
		}
		s.last().session.Send(message("over polling"))
		expect(t, "a poll with something to fetch", s.ask(query), pollResult{200, "4over polling"})
		s.write(ws, "5")
		s.echoes(ws)
	})
}

// stopTimer stops the session's timer, as a machine without a free processor does.
func (s *Session) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heartbeat.timer.Stop()
}

// A session whose client answers no ping is gone ping_interval + ping_timeout after the handshake, even if timers are late.
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

// One moment before the end it is there.
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

// A ping that a stopped process sends late leaves a client that waits for it the whole time-out.
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
