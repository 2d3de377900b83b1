package engine

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// heapInUse is the memory that is in use after a collection, in bytes.
func heapInUse() int {
	runtime.GC()
	runtime.GC() // what a pool kept at the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A queue takes no more memory than it counts, whatever is in it and over either transport.
func TestWhatWaitsCountsItsMemory(t *testing.T) {
	bytes := func(n int) []byte { return []byte(strings.Repeat("x", n)) }
	for name, frame := range map[string]func() *Frame{
		"pongs":             func() *Frame { return controlFrame(wsPong, "") },
		"pongs with text":   func() *Frame { return controlFrame(wsPong, strings.Repeat("x", 125)) },
		"empty messages":    func() *Frame { return message("") },
		"short messages":    func() *Frame { return message("hello, world") },
		"long messages":     func() *Frame { return message(strings.Repeat("x", 5000)) },
		"binary messages":   func() *Frame { return NewBinaryMessage(bytes(20), Options{}) },
		"attachments":       func() *Frame { return NewMessage([]byte("51-"), bytes(10), [][]byte{bytes(5000)}, Options{}) },
		"short attachments": func() *Frame { return NewMessage([]byte("53-"), nil, [][]byte{{1}, {2}, {3}}, Options{}) },
		"joined messages":   func() *Frame { return Join([]*Frame{message("a"), message(strings.Repeat("x", 2000))}) },
	} {
		for _, transport := range []string{"polling", "websocket"} {
			t.Run(name+", "+transport, func(t *testing.T) {
				play(t, func(set *Settings) { set.QueuePackets = 1 << 30 }, func(t *testing.T, s *stage) {
					if transport == "polling" {
						s.poll()
					} else {
						ws := s.open() // and never reads again: the pipe holds nothing
						defer ws.Close()
					}
					session := s.last().session
					session.Send(frame())
					synctest.Wait()
					before := heapInUse()
					for session.Waiting()+frame().Size() <= DefaultQueueBytes {
						session.Send(frame())
					}
					if grown := heapInUse() - before; grown > DefaultQueueBytes*11/10 {
						t.Errorf("%d bytes are in use for %d that are counted", grown, session.Waiting())
					}
					if sent := session.Send(frame()); sent != Overflow {
						t.Errorf("one more was %v", sent)
					}
					s.last().expectEnd(t, QueueOverflow)
				})
			})
		}
	}
}

// A client that pings and does not read overflows its queue, with pongs alone.
func TestPingsWithoutReading(t *testing.T) {
	play(t, func(set *Settings) { set.QueueBytes = 100_000 }, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r, most := s.last(), 100_000/frameCost+2
		for pings := 0; r.session.currentState() == open; pings++ {
			if pings > most {
				t.Fatalf("the session is open after %d pings", pings)
			}
			if err := ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		r.expectEnd(t, QueueOverflow)
	})
}

// A client that was told the end and goes on sending is not read until closeTimeout.
func TestAFloodBehindTheEnd(t *testing.T) {
	for name, kind := range map[string]int{"pings": websocket.PingMessage, "messages": websocket.TextMessage} {
		t.Run(name, func(t *testing.T) {
			play(t, func(set *Settings) { set.MaxPayload = 1000 }, func(t *testing.T, s *stage) {
				ws := s.open()
				defer ws.Close()
				r := s.last()
				ws.SetCloseHandler(func(int, string) error { return nil })
				go func() { _, _, _ = ws.ReadMessage() }() // the end, which is not answered
				r.session.Close(ForcedServerClose)
				synctest.Wait()
				for sent := 0; ; sent++ {
					if sent > 1000 {
						t.Fatal("the edge still reads")
					}
					if err := ws.UnderlyingConn().SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
						return
					}
					if err := writeRaw(ws, kind); err != nil {
						return
					}
				}
			})
		})
	}
}

// writeRaw writes an empty masked frame, past gorilla, which writes nothing behind an end.
func writeRaw(ws *websocket.Conn, kind int) error {
	_, err := ws.UnderlyingConn().Write([]byte{0x80 | byte(kind), 0x80 | 8, 0, 0, 0, 0, '4', 'x', 'x', 'x', 'x', 'x', 'x', 'x'})
	return err
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
