package engine

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"partyline/wire/eio"
	"partyline/wire/ws"
)

// heapInUse returns the memory that is in use after a collection, in bytes.
func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A queue takes no more memory than it counts, with any contents and over either transport.
func TestWhatWaitsCountsItsMemory(t *testing.T) {
	bytes := func(n int) []byte { return []byte(strings.Repeat("x", n)) }
	for name, frame := range map[string]func() *eio.Frame{
		"pongs":           func() *eio.Frame { return eio.NewControl(ws.Pong, "") },
		"pongs with text": func() *eio.Frame { return eio.NewControl(ws.Pong, strings.Repeat("x", 125)) },
		"empty messages":  func() *eio.Frame { return message("") },
		"short messages":  func() *eio.Frame { return message("hello, world") },
		"long messages":   func() *eio.Frame { return message(strings.Repeat("x", 5000)) },
		"binary messages": func() *eio.Frame { return eio.NewBinaryMessage(bytes(20), eio.Options{}) },
		"attachments": func() *eio.Frame {
			return eio.NewMessage([]byte("51-"), bytes(10), [][]byte{bytes(5000)}, eio.Options{})
		},
		"short attachments": func() *eio.Frame { return eio.NewMessage([]byte("53-"), nil, [][]byte{{1}, {2}, {3}}, eio.Options{}) },
		"joined messages":   func() *eio.Frame { return eio.Join([]*eio.Frame{message("a"), message(strings.Repeat("x", 2000))}) },
	} {
		for _, transport := range []string{"polling", "websocket"} {
			t.Run(name+", "+transport, func(t *testing.T) {
				playAlone(t, func(set *Settings) { set.QueuePackets = 1 << 30 }, func(t *testing.T, s *stage) {
					if transport == "polling" {
						s.poll()
					} else {
						ws := s.open() // and never reads again: the pipe holds nothing
						defer ws.Close()
					}
					session := s.last().session
					session.Send(frame())
					synctest.Wait()
					runtime.GC() // pools keep their contents at the first collection
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

// A client that pings and does not read overflows its queue, with pongs alone.
func TestPingsWithoutReading(t *testing.T) {
	play(t, func(set *Settings) { set.QueueBytes = 100_000 }, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r, most := s.last(), 100_000/eio.FrameCost+2
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

// If a client goes on sending after its session ended, it is read at most until lastRead is over.
func TestAFloodAfterTheEnd(t *testing.T) {
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

// writeRaw writes a masked frame without gorilla, which writes nothing behind a close frame.
func writeRaw(ws *websocket.Conn, kind int) error {
	_, err := ws.UnderlyingConn().Write([]byte{0x80 | byte(kind), 0x80 | 8, 0, 0, 0, 0, '4', 'x', 'x', 'x', 'x', 'x', 'x', 'x'})
	return err
}
