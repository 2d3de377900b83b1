package engine

import (
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

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
		if !slices.Equal(r.upgrades, []string{"websocket"}) {
			t.Fatalf("upgrades to %q", r.upgrades)
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

// A polling session that ends while a WebSocket is about to take over closes the WebSocket, too.
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

// echoes checks that a WebSocket works, and that nothing that was meant for a poll came over it.
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
func TestPollBesideTheUpgrade(t *testing.T) {
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

// The same for a client that gets the answer to its probe before the server has noticed that.
func TestPollBesideTheUpgradeOvertakesTheAnswer(t *testing.T) {
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

// Pings are answered during an upgrade, too, and the answers do not pile up.
func TestPingsDuringAnUpgrade(t *testing.T) {
	ping := func(t *testing.T, ws *websocket.Conn, data string) {
		t.Helper()
		if err := ws.WriteControl(websocket.PingMessage, []byte(data), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("the client reads", func(t *testing.T) {
		play(t, nil, func(t *testing.T, s *stage) {
			query := s.poll()
			ws := s.dial(strings.Replace(query, "polling", "websocket", 1))
			defer ws.Close()
			var pongs []string
			ws.SetPongHandler(func(data string) error { pongs = append(pongs, data); return nil })
			ping(t, ws, "before")
			sent := make(chan error, 1)
			go func() { sent <- ws.WriteMessage(websocket.TextMessage, []byte("2probe")) }() // the pong is read first
			if got := s.read(ws); got != "3probe" {
				t.Fatalf("got %q", got)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			s.write(ws, "5")
			s.echoes(ws)
			if got := strings.Join(pongs, " "); got != "before" {
				t.Errorf("pongs: %q", got)
			}
		})
	})
	t.Run("the client does not read", func(t *testing.T) {
		play(t, nil, func(t *testing.T, s *stage) {
			query := s.poll()
			ws := s.dial(strings.Replace(query, "polling", "websocket", 1))
			defer ws.Close()
			ping(t, ws, "one")
			began := time.Now()
			if err := ws.WriteControl(websocket.PingMessage, nil, began.Add(time.Hour)); err == nil {
				t.Error("a second ping was read while the answer to the first one waited")
			}
			if took := time.Since(began); took > 10*time.Second+lastWrite {
				t.Errorf("the upgrade ended after %s", took)
			}
			s.last().session.Send(message("still here"))
			if got := s.ask(query); got.body != "4still here" {
				t.Errorf("got %q", got.body)
			}
		})
	})
}
