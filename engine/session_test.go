package engine

import (
	"compress/gzip"
	"encoding/base64"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
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
		r.session.Send(NewMessage([]byte("51-"), []byte("body"), [][]byte{{9}}, Options{}))
		r.session.Send(message("next"))
		for _, want := range []string{"451-body", "b:\x09", "4next"} {
			if got := s.read(ws); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}

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
		r.session.Send(NewMessage([]byte("51-"), []byte("two"), [][]byte{{1, 2, 3}}, Options{}))
		if _, body, _ := s.request("GET", query, ""); body != "4one\x1e451-two\x1ebAQID" {
			t.Fatalf("got %q", body)
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
				r.session.Send(NewBinaryMessage([]byte(data), Options{NoCompression: true}))
			}
			if sent := r.session.Send(NewBinaryMessage([]byte("v"), Options{Volatile: true})); sent != Dropped {
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
		if size := NewBinaryMessage([]byte(large), Options{}).Size(); size < len(large)+frameCost || size > len(large)+frameCost+10 {
			t.Errorf("it counts %d bytes", size)
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
		session.Send(NewMessage([]byte(text), nil, nil, Options{NoCompression: true}))
		if _, body, _ := s.request("GET", query, "", "Accept-Encoding", "gzip"); body != "4"+text {
			t.Fatalf("%d bytes, want it as it is", len(body))
		}
	})
}

func TestUpgrade(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.last()
		polled := make(chan string)
		go func() {
			_, body, _ := s.request("GET", query, "")
			polled <- body
		}()
		synctest.Wait()
		ws := s.dial(strings.Replace(query, "polling", "websocket", 1))
		defer ws.Close()
		s.write(ws, "2probe")
		if got := s.read(ws); got != "3probe" {
			t.Fatalf("got %q", got)
		}
		if body := <-polled; body != "6" {
			t.Fatalf("the poll ended with %q, want a noop", body)
		}
		r.session.Send(message("waits for the upgrade"))
		s.write(ws, "5")
		if got := s.read(ws); got != "4waits for the upgrade" {
			t.Fatalf("got %q", got)
		}
		s.write(ws, "4up")
		if got := r.messages(); len(got) != 1 || got[0] != "up" {
			t.Fatalf("received %q", got)
		}
		if status, _, _ := s.request("GET", query, ""); status != 400 {
			t.Fatalf("a poll after the upgrade: %d", status)
		}
		r.expectEnd(t)
	})
}

func TestUpgradeTimesOutAndPollingGoesOn(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.last()
		ws := s.dial(strings.Replace(query, "polling", "websocket", 1))
		defer ws.Close()
		began := time.Now()
		s.expectClose(ws, websocket.CloseNoStatusReceived)
		if waited := time.Since(began); waited != 10*time.Second {
			t.Fatalf("after %s", waited)
		}
		r.session.Send(message("still here"))
		if _, body, _ := s.request("GET", query, ""); body != "4still here" {
			t.Fatalf("got %q", body)
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

func TestClosedPollingSessionIsForgottenWhenNobodyPolls(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		s.poll()
		r := s.last()
		r.session.Close(ForcedServerClose)
		if n := s.server.Sessions(); n != 1 {
			t.Errorf("%d sessions, the client has not been told", n)
		}
		time.Sleep(closeTimeout + time.Second)
		if n := s.server.Sessions(); n != 0 {
			t.Errorf("%d sessions left", n)
		}
		r.expectEnd(t, ForcedServerClose)
	})
}

func TestQueueOverflowEndsTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*Settings)
		size int
	}{
		"bytes":   {func(set *Settings) { set.QueueBytes = 10_000 }, 1000},
		"packets": {func(set *Settings) { set.QueuePackets = 16 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, c.set, func(t *testing.T, s *stage) {
				ws := s.open() // and never reads again: the pipe holds nothing
				defer ws.Close()
				r := s.last()
				var sent Sent
				for range 100 {
					if sent = r.session.Send(message(strings.Repeat("x", c.size))); sent != Queued {
						break
					}
				}
				if sent != Overflow {
					t.Fatalf("the last frame was %v", sent)
				}
				r.expectEnd(t, QueueOverflow)
			})
		})
	}
}

func TestVolatileIsDroppedWhenBusy(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		session := s.last().session
		if sent := session.Send(NewMessage([]byte("v"), nil, nil, Options{Volatile: true})); sent != Dropped {
			t.Errorf("no poll waits, but the volatile frame was %v", sent)
		}
		answer := make(chan string)
		go func() { _, body, _ := s.request("GET", query, ""); answer <- body }()
		synctest.Wait()
		if sent := session.Send(NewMessage([]byte("v"), nil, nil, Options{Volatile: true})); sent != Queued {
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

// open counts the WebSockets that are not closed.
func (s *stage) openSockets() int {
	synctest.Wait()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	return len(s.server.conns)
}

func TestAClosedSessionWhoseClientDoesNotReadGoes(t *testing.T) {
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

// A polling session that ends while a WebSocket is about to take over takes that along.
func TestEndWhileUpgrading(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		query := s.poll()
		r := s.last()
		ws := s.dial(strings.Replace(query, "polling", "websocket", 1))
		defer ws.Close()
		s.write(ws, "2probe")
		if got := s.read(ws); got != "3probe" {
			t.Fatalf("got %q", got)
		}
		r.session.Close(ForcedServerClose)
		began := time.Now()
		s.request("GET", query, "")
		s.expectClose(ws, websocket.CloseNoStatusReceived)
		if took := time.Since(began); took > lastWrite {
			t.Errorf("the WebSocket was left alone for %s", took)
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

// A browser takes a second close frame for an error of the server.
func TestAClientThatClosesInTheMiddleOfAnUpgradeGetsOneCloseFrame(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.dial(strings.Replace(s.poll(), "polling", "websocket", 1))
		s.write(ws, "2probe")
		if got := s.read(ws); got != "3probe" {
			t.Fatalf("got %q", got)
		}
		if err := ws.WriteMessage(websocket.CloseMessage, []byte("\x03\xe8")); err != nil { // 1000
			t.Fatal(err)
		}
		rest, err := io.ReadAll(ws.NetConn())
		if want := "\x88\x02\x03\xe8"; string(rest) != want || err != nil {
			t.Errorf("the client got %q, %v, want %q", rest, err, want)
		}
	})
}
