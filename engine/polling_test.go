package engine

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"partyline/wire/eio"
)

// Requests that a client sends together arrive in any order, because each has its own connection.

// pollResult is the answer to a poll.
type pollResult struct {
	status int
	body   string
}

// unknown is the answer to a request for a session that the server does not have, refusedPoll for one that has a
// WebSocket.
var (
	unknown     = pollResult{400, `{"code":1,"message":"Session ID unknown"}`}
	refusedPoll = pollResult{400, `{"code":3,"message":"Bad request"}`}
)

// ask polls once.
func (s *stage) ask(query string) pollResult {
	status, body, _ := s.request("GET", query, "")
	return pollResult{status, body}
}

// asking polls on another goroutine, and returns once the poll waits.
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

func TestPollingCarriesBinaryAsBase64(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.last()
		if status, body, h := s.request("POST", query, "4a\x1ebAQID\x1e4z"); status != 200 || body != "ok" || h.Get("Content-Type") != "text/html" {
			t.Fatalf("got %d %q %v", status, body, h)
		}
		if got := r.messages(); !reflect.DeepEqual(got, []string{"a", "b:\x01\x02\x03", "z"}) {
			t.Fatalf("received %q", got)
		}
		r.session.Send(message("one"))
		r.session.Send(eio.NewMessage([]byte("51-"), []byte("two"), [][]byte{{1, 2, 3}}, eio.Options{}))
		if _, body, _ := s.request("GET", query, ""); body != "4one\x1e451-two\x1ebAQID" {
			t.Fatalf("got %q", body)
		}
	})
}

func TestLargePollsAreCompressed(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		session := s.last().session
		text := strings.Repeat("x", gzipFrom)
		session.Send(message(text))
		_, body, h := s.request("GET", query, "", "Accept-Encoding", "gzip, deflate")
		if h.Get("Content-Encoding") != "gzip" {
			t.Fatalf("not compressed: %v", h)
		}
		z, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := io.ReadAll(z); err != nil || string(plain) != "4"+text {
			t.Fatalf("%v, %d bytes", err, len(plain))
		}
		session.Send(eio.NewMessage([]byte(text), nil, nil, eio.Options{NoCompression: true}))
		if _, body, _ := s.request("GET", query, "", "Accept-Encoding", "gzip"); body != "4"+text {
			t.Fatalf("%d bytes, want it as it is", len(body))
		}
	})
}

func TestOverlappingPolls(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.last()
		first := make(chan string)
		go func() { _, body, _ := s.request("GET", query, ""); first <- body }()
		synctest.Wait()
		if status, _, _ := s.request("GET", query, ""); status != 400 {
			t.Errorf("the second poll got %d", status)
		}
		if body := <-first; body != "1" {
			t.Errorf("the first poll got %q", body)
		}
		r.expectEnd(t, TransportError)
	})
}

// A poll that is sent together with the POST that closes the session gets a noop, in both orders of arrival, and it is
// the last one that does.
func TestPollBesideTheClosingPost(t *testing.T) {
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
			s.last().session.Send(message("not fetched"))
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

// The list of sessions that owe a poll is bounded. The oldest are dropped first.
func TestOwedPollsAreBounded(t *testing.T) {
	var o pollsOwed
	now := time.Now()
	for i := range maxOwed + 10 {
		o.add(fmt.Sprint(i), now)
	}
	if len(o) != maxOwed || o.take("9", now) || !o.take("10", now) || o.take("10", now) {
		t.Errorf("%d sessions are listed", len(o))
	}
	if o.take("11", now.Add(owedFor)) || len(o) != 0 {
		t.Errorf("%d sessions are listed after %s", len(o), owedFor)
	}
}

func TestAClosedPollingSessionIsRemovedIfItsClientDoesNotPoll(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		s.poll()
		r := s.last()
		r.session.Close(ForcedServerClose)
		if n := s.server.Sessions(); n != 1 {
			t.Errorf("%d sessions, and the client has not been notified", n)
		}
		time.Sleep(closeTimeout + time.Second)
		if n := s.server.Sessions(); n != 0 {
			t.Errorf("%d sessions left", n)
		}
		r.expectEnd(t, ForcedServerClose)
	})
}

// eager makes another POST as soon as it has the answer to one, before the server is done with that.
type eager struct {
	*httptest.ResponseRecorder
	next func()
}

func (e *eager) Flush() { e.ResponseRecorder.Flush(); e.next() }

func TestAPostAsSoonAsThereIsAnAnswer(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		post := func(w http.ResponseWriter, packet string) {
			s.server.ServeHTTP(w, httptest.NewRequest("POST", "/engine.io/?"+query, strings.NewReader(packet)))
		}
		second := httptest.NewRecorder()
		post(&eager{httptest.NewRecorder(), func() { post(second, "4b") }}, "4a")
		if second.Code != http.StatusOK {
			t.Errorf("the second POST got %d", second.Code)
		}
		s.last().expectReceived(t, "a", "b")
	})
}
