package engine

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// stopAt stops reading whenever a session's receiver gets this message.
func (s *stage) stopAt(message string) *recorder {
	r := s.last()
	r.onData = func(data []byte, _ bool) {
		if string(data) == message {
			r.session.StopReading()
		}
	}
	return r
}

// expectReceived compares what a receiver has got so far.
func (r *recorder) expectReceived(t *testing.T, want ...string) {
	t.Helper()
	if got := r.messages(); !reflect.DeepEqual(got, want) {
		t.Fatalf("received %q, want %q", got, want)
	}
}

func TestAWebSocketIsNotReadBetweenMessages(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.stopAt("stop")
		go func() {
			for _, text := range []string{"4a", "4stop", "4b", "4stop", "4c"} {
				if ws.WriteMessage(websocket.TextMessage, []byte(text)) != nil {
					return
				}
			}
		}()
		r.expectReceived(t, "a", "stop")
		if !r.session.in.TryLock() {
			t.Fatal("the session's lock for reading is held while nothing is read")
		}
		r.session.in.Unlock()
		r.session.StopReading() // for a second reason
		r.session.ResumeReading()
		r.expectReceived(t, "a", "stop")
		r.session.ResumeReading()
		r.expectReceived(t, "a", "stop", "b", "stop")
		r.session.ResumeReading()
		r.expectReceived(t, "a", "stop", "b", "stop", "c")
	})
}

// A client that is not read is pinged at the usual times, cannot be late with a pong, and has the whole time-out
// afterwards.
func TestHeartbeatsWhileNothingIsRead(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.stopAt("stop")
		s.write(ws, "4stop")
		synctest.Wait()
		start := time.Now()
		for i := range 8 {
			if got := s.read(ws); got != "2" {
				t.Fatalf("got %q, want a ping", got)
			}
			if waited := time.Since(start); waited != time.Duration(i+1)*25*time.Second {
				t.Fatalf("ping %d after %s", i, waited)
			}
		}
		go func() { _ = ws.WriteMessage(websocket.TextMessage, []byte("4x")) }()
		time.Sleep(10 * time.Second)
		r.session.ResumeReading()
		r.expectReceived(t, "stop", "x")
		resumed := time.Now() // x counts as the pong
		if got := s.read(ws); got != "2" || time.Since(resumed) != 25*time.Second {
			t.Fatalf("got %q %s after the message, want a ping", got, time.Since(resumed))
		}
		s.expectClose(ws, websocket.CloseNoStatusReceived)
		if waited := time.Since(resumed); waited != 45*time.Second {
			t.Fatalf("gave up after %s", waited)
		}
		r.expectEnd(t, PingTimeout)
	})
}

func TestASilentClientIsGivenUpAfterReadingResumes(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.stopAt("stop")
		s.write(ws, "4stop")
		s.read(ws) // a ping
		time.Sleep(5 * time.Second)
		r.session.ResumeReading()
		resumed := time.Now()
		s.expectClose(ws, websocket.CloseNoStatusReceived)
		if waited := time.Since(resumed); waited != 20*time.Second {
			t.Fatalf("gave up after %s", waited)
		}
	})
}

// Pongs that come late, because reading was stopped, do not delay the next ping.
func TestLatePongsDoNotDelayThePing(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.stopAt("stop")
		s.write(ws, "4stop")
		for range 3 {
			s.read(ws)
		}
		synctest.Wait()
		r.session.ResumeReading()
		s.write(ws, "3")
		synctest.Wait()
		resumed := time.Now()
		for range 2 {
			time.Sleep(10 * time.Second)
			s.write(ws, "3")
		}
		if got := s.read(ws); got != "2" || time.Since(resumed) != 25*time.Second {
			t.Fatalf("got %q %s after the first pong, want a ping after 25 s", got, time.Since(resumed))
		}
	})
}

func TestEndsOfASessionThatIsNotRead(t *testing.T) {
	for name, end := range map[string]func(s *stage, r *recorder, ws *websocket.Conn){
		"close": func(_ *stage, r *recorder, _ *websocket.Conn) { r.session.Close(ServerShutdown) },
		"drain": func(s *stage, _ *recorder, _ *websocket.Conn) { s.server.Leave(); s.closeAll() },
		"abort": func(s *stage, _ *recorder, ws *websocket.Conn) {
			s.server.Leave()
			go func() { _, _, _ = ws.ReadMessage() }()
			s.server.Abort()
		},
		"fail": func(_ *stage, r *recorder, _ *websocket.Conn) { r.session.fail(ServerShutdown) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				ws := s.open()
				defer ws.Close()
				r := s.stopAt("stop")
				s.write(ws, "4stop")
				synctest.Wait()
				end(s, r, ws)
				r.expectEnd(t, ServerShutdown)
				r.expectReceived(t, "stop")
				if s.server.stats.unread.Value() != 0 {
					t.Error("the session counts as not read")
				}
				r.session.ResumeReading() // too late, and harmless
				r.session.StopReading()
			})
		})
	}
}

// While a connection is not read, its end is not noticed by reading. A ping that cannot be written shows it.
func TestAConnectionThatDiesWhileItIsNotRead(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		r := s.stopAt("stop")
		s.write(ws, "4stop")
		synctest.Wait()
		_ = ws.NetConn().Close()
		time.Sleep(time.Minute)
		r.expectEnd(t, TransportError) // "transport close" on a real connection
	})
}

// posted is the answer to a POST and its time.
type posted struct {
	at     time.Time
	status int
	body   string
}

// post makes a POST on another goroutine.
func (s *stage) post(query, body string) <-chan posted {
	answered := make(chan posted, 1)
	go func() {
		r, _ := http.NewRequest("POST", "http://edge/socket.io/?"+query, strings.NewReader(body))
		response, err := s.client.Do(r)
		if err != nil {
			answered <- posted{time.Now(), 0, err.Error()}
			return
		}
		defer response.Body.Close()
		var text [2]byte
		n, _ := response.Body.Read(text[:])
		answered <- posted{time.Now(), response.StatusCode, string(text[:n])}
	}()
	return answered
}

func TestAPostIsAnsweredWhenTheSessionIsReadAgain(t *testing.T) {
	play(t, func(set *Settings) { set.PingInterval, set.PingTimeout = time.Second, time.Minute }, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.stopAt("stop")
		start := time.Now()
		answer := s.post(query, "4a\x1e4stop\x1e4b\x1e4stop")
		r.expectReceived(t, "a", "stop")
		if !r.session.in.TryLock() {
			t.Fatal("the session's lock for reading is held while nothing is read")
		}
		r.session.in.Unlock()
		time.Sleep(10 * time.Second)
		r.session.ResumeReading()
		r.expectReceived(t, "a", "stop", "b", "stop")
		time.Sleep(5 * time.Second)
		select {
		case got := <-answer:
			t.Fatalf("answered with %v after %s", got, time.Since(start))
		default:
		}
		r.session.ResumeReading()
		if got := <-answer; got.status != 200 || got.body != "ok" || got.at.Sub(start) != 15*time.Second {
			t.Fatalf("answered with %v after %s", got, got.at.Sub(start))
		}
		if status, body, _ := s.request("GET", query, ""); status != 200 || body != "2" {
			t.Fatalf("the pings are %d %q, want one", status, body)
		}
		if status, body, _ := s.request("POST", query, "3"); status != 200 || body != "ok" {
			t.Fatalf("the next POST: %d %q", status, body)
		}
		r.expectEnd(t)
	})
}

func TestAPostWaitsTwentySecondsAtMost(t *testing.T) {
	play(t, func(set *Settings) { set.QueueBytes = 3 * (512 + postponedCost) }, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.stopAt("stop")
		for _, body := range []string{"4stop\x1e4a\x1e4b", "4c", "4stop\x1e4d"} {
			start := time.Now()
			if got := <-s.post(query, body); got.status != 200 || got.body != "ok" || got.at.Sub(start) != postWait {
				t.Fatalf("answered with %v after %s", got, got.at.Sub(start))
			}
		}
		r.expectReceived(t, "stop")
		r.session.ResumeReading()
		r.expectReceived(t, "stop", "a", "b", "c", "stop")
		r.session.ResumeReading()
		r.expectReceived(t, "stop", "a", "b", "c", "stop", "d")
		start := time.Now()
		if got := <-s.post(query, "4e"); got.status != 200 || got.at != start {
			t.Fatalf("answered with %v after %s", got, got.at.Sub(start))
		}
	})
}

// What POSTs leave is bounded, like the frames that wait for the client.
func TestPostsThatLeaveTooMuch(t *testing.T) {
	play(t, func(set *Settings) { set.QueueBytes = 250 }, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.stopAt("stop")
		<-s.post(query, "4stop\x1e4"+strings.Repeat("a", 60))
		r.expectEnd(t)
		<-s.post(query, "4"+strings.Repeat("b", 60))
		r.expectEnd(t, QueueOverflow)
	})
}

// A client that upgrades waits for its POST first. So the POST is answered, and the rest of it stays before what comes
// over the WebSocket.
func TestAnUpgradeWhileNothingIsRead(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.stopAt("stop")
		start := time.Now()
		answer := s.post(query, "4a\x1e4stop\x1e4b")
		r.expectReceived(t, "a", "stop")
		ws := s.dial(strings.Replace(query, "polling", "websocket", 1))
		defer ws.Close()
		s.write(ws, "2probe")
		if got := s.read(ws); got != "3probe" {
			t.Fatalf("got %q", got)
		}
		if got := <-answer; got.status != 200 || got.at != start {
			t.Fatalf("answered with %v after %s", got, got.at.Sub(start))
		}
		if got := <-s.post(query, "4c"); got.status != 200 || got.at != start {
			t.Fatalf("answered with %v after %s", got, got.at.Sub(start))
		}
		s.write(ws, "5")
		go func() { _ = ws.WriteMessage(websocket.TextMessage, []byte("4d")) }()
		r.expectReceived(t, "a", "stop")
		if r.session.currentTransport().kind() != kindWebSocket {
			t.Fatal("the upgrade did not happen")
		}
		r.session.ResumeReading()
		r.expectReceived(t, "a", "stop", "b", "c", "d")
		s.write(ws, "4e")
		r.expectReceived(t, "a", "stop", "b", "c", "d", "e")
	})
}

func TestPostsThatWaitWhenTheSessionEnds(t *testing.T) {
	for name, end := range map[string]func(s *stage, r *recorder){
		"close": func(_ *stage, r *recorder) { r.session.Close(ServerShutdown) },
		"abort": func(s *stage, _ *recorder) { s.server.Leave(); s.server.Abort() },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				query := s.poll()
				r := s.stopAt("stop")
				start := time.Now()
				answer := s.post(query, "4stop\x1e4a")
				r.expectReceived(t, "stop")
				end(s, r)
				if got := <-answer; got.at != start {
					t.Fatalf("answered with %v after %s", got, got.at.Sub(start))
				}
				r.expectEnd(t, ServerShutdown)
				r.expectReceived(t, "stop")
			})
		})
	}
}

// All messages to a session whose reading is stopped again and again arrive once and in order.
func TestNothingIsLostAtTheGate(t *testing.T) {
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				const messages = 500
				send := func(string) {}
				var want []string
				if transport == "websocket" {
					ws := s.open()
					defer ws.Close()
					send = func(text string) { s.write(ws, text) }
				} else {
					query := s.poll()
					send = func(text string) { s.request("POST", query, text) }
				}
				r := s.last()
				stops := 0
				r.onData = func([]byte, bool) {
					if stops++; stops%3 == 0 {
						r.session.StopReading()
						time.AfterFunc(time.Duration(stops%7)*time.Millisecond, r.session.ResumeReading)
					}
				}
				for i := 0; i < messages; i += 5 {
					parts := make([]string, 5)
					for j := range parts {
						parts[j] = fmt.Sprintf("4%d", i+j)
						want = append(want, parts[j][1:])
					}
					if transport == "polling" {
						send(strings.Join(parts, "\x1e"))
						continue
					}
					for _, part := range parts {
						send(part)
					}
				}
				time.Sleep(time.Second)
				r.expectReceived(t, want...)
			})
		})
	}
}
