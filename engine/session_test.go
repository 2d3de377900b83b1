package engine

import (
	"encoding/base64"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"partyline/wire/eio"
)

func TestMessagesBothWays(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.last()
		s.write(ws, "4hello")
		if err := ws.WriteMessage(websocket.BinaryMessage, []byte{1, 2}); err != nil {
			t.Fatal(err)
		}
		if got := r.messages(); !reflect.DeepEqual(got, []string{"hello", "b:\x01\x02"}) {
			t.Fatalf("received %q", got)
		}
		r.session.Send(eio.NewMessage([]byte("51-"), []byte("body"), [][]byte{{9}}, eio.Options{}))
		r.session.Send(message("next"))
		for _, want := range []string{"451-body", "b:\x09", "4next"} {
			if got := s.read(ws); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}

func TestBinaryMessages(t *testing.T) {
	large := strings.Repeat("x", 70_000)
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		polling := s.last()
		ws := s.open()
		for _, r := range []*recorder{polling, s.last()} {
			r.session.Send(message("one"))
			for _, data := range []string{"\x01\x02\x03", "", large} {
				r.session.Send(eio.NewBinaryMessage([]byte(data), eio.Options{NoCompression: true}))
			}
			if sent := r.session.Send(eio.NewBinaryMessage([]byte("v"), eio.Options{Volatile: true})); sent != Dropped {
				t.Errorf("a volatile message in a busy session: %v", sent)
			}
		}
		want := "4one\x1ebAQID\x1eb\x1eb" + base64.StdEncoding.EncodeToString([]byte(large))
		if _, body, _ := s.request("GET", query, ""); body != want {
			t.Errorf("got %.100q", body)
		}
		for _, want := range []string{"4one", "b:\x01\x02\x03", "b:", "b:" + large} {
			if got := s.read(ws); got != want {
				t.Errorf("got %.100q, want %.100q", got, want)
			}
		}
		if size := eio.NewBinaryMessage([]byte(large), eio.Options{}).Size(); size < len(large)+eio.FrameCost || size > len(large)+eio.FrameCost+10 {
			t.Errorf("it counts %d bytes", size)
		}
	})
}

func TestCloseSendsWhatIsQueuedFirst(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.last()
		r.session.Send(message("last words"))
		r.session.Close(ForcedServerClose)
		if r.session.Send(message("too late")) != Gone {
			t.Error("a closed session takes frames")
		}
		if got := s.read(ws); got != "4last words" {
			t.Fatalf("got %q", got)
		}
		s.expectClose(ws, websocket.CloseNoStatusReceived)
		r.expectEnd(t, ForcedServerClose)

		query := s.poll()
		r = s.last()
		r.session.Send(message("last words"))
		r.session.Close(ForcedServerClose)
		for _, want := range []string{"4last words", "6\x1e1"} { // the reference, too, closes with a poll of its own
			if _, body, _ := s.request("GET", query, ""); body != want {
				t.Fatalf("got %q, want %q", body, want)
			}
		}
		r.expectEnd(t, ForcedServerClose)
		if n := s.server.Sessions(); n != 0 {
			t.Errorf("%d sessions left", n)
		}
	})
}

func TestVolatileIsDroppedWhenBusy(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		session := s.last().session
		if sent := session.Send(eio.NewMessage([]byte("v"), nil, nil, eio.Options{Volatile: true})); sent != Dropped {
			t.Errorf("no poll waits, but the volatile frame was %v", sent)
		}
		answer := make(chan string)
		go func() { _, body, _ := s.request("GET", query, ""); answer <- body }()
		synctest.Wait()
		if sent := session.Send(eio.NewMessage([]byte("v"), nil, nil, eio.Options{Volatile: true})); sent != Queued {
			t.Errorf("a poll waits, but the volatile frame was %v", sent)
		}
		if body := <-answer; body != "4v" {
			t.Errorf("got %q", body)
		}
	})
}

func TestRuleBreakersEnd(t *testing.T) {
	for name, c := range map[string]struct {
		say  string
		want Reason
	}{
		"ping from a client": {"2", TransportError},
		"unknown packet":     {"9", ParseError},
		"empty frame":        {"", ParseError},
		"not UTF-8":          {"4\xff", TransportError},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				ws := s.open()
				defer ws.Close()
				s.write(ws, c.say)
				s.last().expectEnd(t, c.want)
			})
		})
	}
}

func TestTooLarge(t *testing.T) {
	play(t, func(set *Settings) { set.MaxPayload = 2000 }, func(t *testing.T, s *stage) {
		query := s.poll()
		if status, _, _ := s.request("POST", query, "4"+strings.Repeat("x", 2000)); status != 413 {
			t.Errorf("a POST over the limit got %d", status)
		}
		ws := s.open()
		defer ws.Close()
		go func() { _ = ws.WriteMessage(websocket.TextMessage, []byte("4"+strings.Repeat("x", 5000))) }()
		s.expectClose(ws, websocket.CloseMessageTooBig)
		s.last().expectEnd(t, TransportError)
	})
}

// openSockets counts the WebSockets that are not closed.
func (s *stage) openSockets() int {
	synctest.Wait()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	return len(s.server.conns)
}

func TestAClosedSessionWhoseClientDoesNotReadIsDropped(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open() // and never reads again: the pipe holds nothing
		defer ws.Close()
		r := s.last()
		r.session.Send(message(strings.Repeat("x", 1000)))
		synctest.Wait()
		r.session.Close(ForcedServerClose)
		time.Sleep(2*closeTimeout + time.Second)
		if n := s.openSockets(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
		r.expectEnd(t, ForcedServerClose)
	})
}

func TestAbortDoesNotWaitForSilentClients(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		silent := s.dialSilently("EIO=4&transport=websocket")
		defer silent.Close()
		query := s.poll()
		probing := s.dial(strings.Replace(query, "polling", "websocket", 1))
		defer probing.Close()
		began := time.Now()
		s.server.Leave()
		s.closeAll()
		s.server.Abort()
		if took := time.Since(began); took > 3*lastWrite {
			t.Errorf("the end took %s", took)
		}
		if n := s.openSockets(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}

func TestAPlainRequestCannotReadAWebSocketSession(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.last()
		for _, transport := range []string{"websocket", "polling"} {
			for _, method := range []string{"GET", "POST"} {
				status, body, _ := s.request(method, "EIO=4&transport="+transport+"&sid="+r.session.ID(), "4x")
				if status != 400 || body != `{"code":3,"message":"Bad request"}` {
					t.Errorf("%s %s: %d %s", method, transport, status, body)
				}
			}
		}
		r.expectEnd(t)
	})
}
