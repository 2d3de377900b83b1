package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// clientFrame returns a WebSocket frame of a client, masked with zeros.
func clientFrame(first byte, payload string) []byte {
	b := append([]byte{first, 0x80 | byte(len(payload))}, 0, 0, 0, 0)
	if n := len(payload); n > 125 {
		b = append([]byte{first, 0x80 | 126, byte(n >> 8), byte(n)}, 0, 0, 0, 0)
	}
	return append(b, payload...)
}

// keptBytes returns what is kept for a session besides its queue.
func keptBytes(s *Session) int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.kept
}

// What the receiver keeps and what is queued count together.
func TestASessionThatCostsTooMuchIsClosed(t *testing.T) {
	var log bytes.Buffer
	play(t, func(set *Settings) {
		set.SessionBytes, set.Log = 100_000, slog.New(slog.NewTextHandler(&log, nil))
	}, func(t *testing.T, s *stage) {
		ws := s.open() // and never reads again: the pipe holds nothing
		defer ws.Close()
		r := s.last()
		if !r.session.Charge(50_000) || r.session.Send(message(strings.Repeat("x", 40_000))) != Queued {
			t.Fatal("it ended too early")
		}
		if !r.session.Charge(-50_000) || !r.session.Charge(50_000) || !r.session.Charge(1000) {
			t.Fatal("what was taken back counts")
		}
		r.expectEnd(t)
		if r.session.Charge(20_000) {
			t.Fatal("too much fits")
		}
		r.expectEnd(t, QueueOverflow)
		if want := `msg="session ended" reason="queue overflow" limit=limits.session_bytes address=`; !strings.Contains(log.String(), want) {
			t.Errorf("the log is %s, want %s", log.String(), want)
		}
		if n := s.server.stats.exceeded[limitSessionBytes].Value(); n != 1 {
			t.Errorf("%d sessions are counted", n)
		}
	})
}

func TestAFrameThatIsTooMuchForTheSession(t *testing.T) {
	play(t, func(set *Settings) { set.SessionBytes = 100_000 }, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.last()
		r.session.Charge(70_000)
		if sent := r.session.Send(message(strings.Repeat("x", 40_000))); sent != Overflow {
			t.Errorf("it was %v", sent)
		}
		r.expectEnd(t, QueueOverflow)
	})
}

// Control frames count like packets.
func TestManyPongsOverflowTheQueue(t *testing.T) {
	play(t, func(set *Settings) { set.QueuePackets = 16 }, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		for range 20 {
			if _, err := ws.NetConn().Write(clientFrame(0x89, "")); err != nil {
				break
			}
		}
		s.last().expectEnd(t, QueueOverflow)
	})
}

// Fragments of a client cost work, also those that carry nothing.
func TestFragmentsWithoutContentAreCut(t *testing.T) {
	empty := slices.Repeat(clientFrame(0x00, ""), 100)
	for name, c := range map[string]struct{ first, then []byte }{
		"behind content":           {clientFrame(0x01, "4a"), empty},
		"of an empty message":      {clientFrame(0x01, ""), empty},
		"with pings between them":  {clientFrame(0x01, "4a"), append(clientFrame(0x89, ""), empty...)},
		"behind many messages":     {slices.Concat(slices.Repeat(clientFrame(0x81, "4a"), 1000), clientFrame(0x01, "")), empty},
		"behind pings and content": {append(slices.Repeat(clientFrame(0x8A, "abc"), 1000), clientFrame(0x01, "4")...), empty},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				ws := s.open()
				defer ws.Close()
				go func() { _, _ = io.Copy(io.Discard, ws.NetConn()) }()
				_, _ = ws.NetConn().Write(c.first)
				sent := 0
				for sent < 10*headLimit {
					n, err := ws.NetConn().Write(c.then)
					if sent += n; err != nil || s.last().session.currentState() == closed {
						break
					}
				}
				if sent > 2*headLimit {
					t.Errorf("cut after %d bytes of fragments, want %d", sent, headLimit)
				}
				s.last().expectEnd(t, TransportError)
			})
		})
	}
}

// A client may send a message in parts, and pings between them, as long as there is content.
func TestFragmentsAndPingsOfAHealthyClient(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		go func() { _, _ = io.Copy(io.Discard, ws.NetConn()) }()
		send := func(b []byte) {
			if _, err := ws.NetConn().Write(b); err != nil {
				t.Fatal(err)
			}
		}
		const parts = 2000
		for range 3 {
			send(clientFrame(0x01, "4"))
			for i := range parts {
				send(clientFrame(0x00, strings.Repeat("x", 100)))
				if i%10 == 0 {
					send(clientFrame(0x89, strings.Repeat("p", 125)))
				}
			}
			send(clientFrame(0x80, ""))
		}
		for range headLimit / 6 { // more of them than the limit
			send(clientFrame(0x89, "ping"))
		}
		send(clientFrame(0x01, "4"))
		for range parts {
			send(clientFrame(0x00, ""))
			send(clientFrame(0x00, "x"))
		}
		send(clientFrame(0x80, ""))
		got := s.last().messages()
		if len(got) != 4 || len(got[3]) != parts || len(got[0]) != 100*parts {
			t.Errorf("%d messages came, the first of %d bytes", len(got), len(got[0]))
		}
		s.last().expectEnd(t)
	})
}

// A message of which a part has come counts as what it takes.
func TestAMessageThatArrivesCounts(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		session, frame := s.last().session, clientFrame(0x01, "4"+strings.Repeat("x", 50_000))
		for range 4 {
			if _, err := ws.NetConn().Write(frame); err != nil {
				t.Fatal(err)
			}
			frame[0] = 0x00
		}
		if kept := keptBytes(session); kept < 190_000 || kept > 400_000 {
			t.Errorf("%d bytes count for 200,000 that came", kept)
		}
		if _, err := ws.NetConn().Write(clientFrame(0x80, "")); err != nil {
			t.Fatal(err)
		}
		if kept := keptBytes(session); kept != 0 {
			t.Errorf("%d bytes count behind the message", kept)
		}
		if got := s.last().messages(); len(got) != 1 || len(got[0]) != 200_003 {
			t.Errorf("%d messages came", len(got))
		}
	})
}

func TestAMessageThatIsTooMuch(t *testing.T) {
	play(t, func(set *Settings) { set.SessionBytes = 100_000 }, func(t *testing.T, s *stage) {
		ws := s.open()
		frame := clientFrame(0x01, "4"+strings.Repeat("x", 50_000))
		for range 4 { // the buffer has 256 KiB then, of which nearly 64 may have been lent, and do not count
			_, _ = ws.NetConn().Write(frame)
			frame[0] = 0x00
		}
		s.last().expectEnd(t, QueueOverflow)
		s.expectClose(ws, websocket.ClosePolicyViolation)
	})
}

// So does the body of a POST, and what the gate keeps of it.
func TestAPostThatArrivesCounts(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		session := s.last().session
		body, sender := io.Pipe()
		request, _ := http.NewRequest("POST", "http://edge/engine.io/?"+query, body)
		answered := make(chan error)
		go func() {
			response, err := s.client.Do(request)
			if err == nil {
				err = response.Body.Close()
			}
			answered <- err
		}()
		_, _ = sender.Write([]byte("4" + strings.Repeat("x", 200_000)))
		if kept := keptBytes(session); kept < 190_000 || kept > 400_000 {
			t.Errorf("%d bytes count for 200,000 that came", kept)
		}
		session.StopReading()
		_ = sender.Close()
		if kept := keptBytes(session); kept < 200_000 || kept > 400_000 {
			t.Errorf("%d bytes count for 200,000 at the gate", kept)
		}
		session.ResumeReading()
		if err := <-answered; err != nil {
			t.Error(err)
		}
		if kept := keptBytes(session); kept != 0 {
			t.Errorf("%d bytes count at the end", kept)
		}
	})
}

// What the handler keeps of the request counts from the start.
func TestWhatIsKeptOfTheRequestCounts(t *testing.T) {
	play(t, func(set *Settings) {
		handler := set.Handler
		set.Handler = func(session *Session, o *Opening) Receiver {
			o.Kept = 1234
			return handler(session, o)
		}
	}, func(t *testing.T, s *stage) {
		defer s.open().Close()
		if kept := keptBytes(s.last().session); kept != 1234 {
			t.Errorf("%d bytes count", kept)
		}
	})
}

// A reply is compressed only if the session has the memory for it.
func TestALargeReplyToAPoll(t *testing.T) {
	for session, encoding := range map[int]string{DefaultSessionBytes: "gzip", gzipCost: ""} {
		t.Run(fmt.Sprint(session), func(t *testing.T) {
			play(t, func(set *Settings) { set.SessionBytes = session }, func(t *testing.T, s *stage) {
				query := s.poll()
				s.last().session.Send(message(strings.Repeat("x", 5000)))
				_, _, h := s.request("GET", query, "", "Accept-Encoding", "gzip")
				if got := h.Get("Content-Encoding"); got != encoding {
					t.Errorf("its encoding is %q, want %q", got, encoding)
				}
				if kept := keptBytes(s.last().session); kept != 0 {
					t.Errorf("%d bytes count at the end", kept)
				}
			})
		})
	}
}

func TestBeats(t *testing.T) {
	play(t, func(set *Settings) { set.PingInterval, set.PingTimeout = 10*time.Second, time.Minute }, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.last()
		pong := func() {
			for s.read(ws) != "2" {
			}
			s.write(ws, "3")
			synctest.Wait()
		}
		pong()
		r.session.StopReading()
		r.session.ResumeReading()
		pong()
		pong()
		r.mu.Lock()
		defer r.mu.Unlock()
		if want := []bool{true, false, true}; !slices.Equal(r.beats, want) {
			t.Errorf("beats %v, want %v", r.beats, want)
		}
	})
}

// When memory is short, the sessions that cost most go first, and idle ones stay.
func TestTheLargestSessionsAreClosed(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		var all []*recorder
		for i, bytes := range []int{0, 50_000, 10_000, 90_000, 70_000} {
			defer s.open().Close()
			all = append(all, s.last())
			all[i].session.Charge(bytes)
		}
		if closed := s.server.closeLargest(100_000); closed != 2 {
			t.Errorf("%d were closed, want 2", closed)
		}
		for i, want := range [][]Reason{nil, nil, nil, {QueueOverflow}, {QueueOverflow}} {
			all[i].expectEnd(t, want...)
		}
		if closed := s.server.closeLargest(1 << 30); closed != 1 {
			t.Errorf("%d were closed, want 1", closed)
		}
		all[0].expectEnd(t)
		all[1].expectEnd(t, QueueOverflow)
		all[2].expectEnd(t)
		if n := s.server.stats.exceeded[limitMemory].Value(); n != 3 {
			t.Errorf("%d sessions are counted", n)
		}
	})
}

func TestShortMemory(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		defer s.open().Close()
		r := s.last()
		r.session.Charge(50_000)
		guard := func(limit uint64) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			s.server.GuardMemory(ctx, limit)
		}
		guard(1 << 50)
		r.expectEnd(t)
		guard(1)
		r.expectEnd(t, QueueOverflow)
		if status, body, h := s.request("GET", "EIO=4&transport=polling", ""); status != 503 || h.Get("Retry-After") == "" {
			t.Errorf("a handshake gets %d %q %v", status, body, h)
		}
		guard(1 << 50)
		s.poll()
	})
}
