package engine

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"partyline/internal/direct"
	"partyline/wire/eio"
)

// A client that reads gets everything once and in order, at any pace and from any number of writers.
func TestFanoutKeepsOrder(t *testing.T) {
	for name, c := range map[string]struct {
		isLagging func() bool
		secure    bool
		visitors  int
	}{"writing itself": {never, false, 300}, "leaving it to helpers": {always, false, 300}, "over TLS": {never, true, 20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, o := newFrontOver(t, Settings{QueueBytes: 64 << 20}, c.secure), NewFanout()
			defer o.Close()
			const slow, flushes = 2, 20
			all := make([]*visitor, c.visitors)
			for i := range all {
				all[i] = f.visit("")
			}
			pad := strings.Repeat("x", 5000)
			for n := range flushes {
				joined := eio.Join([]*eio.Frame{text("%d a", n), text("%d b", n)})
				for i, v := range all {
					if got := o.Send(v.peer.session, joined); got != Queued {
						t.Fatalf("a frame was %v", got)
					}
					if i >= slow {
						continue
					}
					for part := range 40 { // more than its socket buffers
						if part == 20 {
							v.peer.session.Send(text("%d alone", n)) // another goroutine may do this
						}
						o.Send(v.peer.session, text("%d %d %s", n, part, pad))
					}
				}
				o.Flush(c.isLagging)
			}
			for i, v := range all {
				for n := range flushes {
					v.expect("%d a", n)
					v.expect("%d b", n)
					for part := 0; i < slow && part < 40; part++ {
						if part == 20 {
							v.expect("%d alone", n)
						}
						v.expect("%d %d %s", n, part, pad)
					}
				}
			}
			for _, v := range all {
				settled(t, v.peer.session)
			}
		})
	}
}

// A volatile frame is dropped if its client does not read. It is not dropped if another frame was just sent to the
// client.
func TestFanoutDropsVolatileFramesForBusyClients(t *testing.T) {
	t.Parallel()
	f, o := newFront(t, Settings{QueueBytes: 64 << 20}), NewFanout()
	defer o.Close()
	quick, slow := f.visit(""), f.visit("")
	volatile := func(s string) *eio.Frame { return eio.NewMessage(nil, []byte(s), nil, eio.Options{Volatile: true}) }
	o.Send(quick.peer.session, text("first"))
	if got := o.Send(quick.peer.session, volatile("second")); got != Queued {
		t.Errorf("a volatile frame after another was %v", got)
	}
	o.Flush(never)
	quick.expect("first")
	quick.expect("second")
	big := text("%s", strings.Repeat("x", 60_000))
	for slow.peer.session.Waiting() < 1<<20 { // and the buffer of its socket is full
		o.Send(slow.peer.session, big)
		o.Flush(never)
	}
	if got := o.Send(slow.peer.session, volatile("third")); got != Dropped {
		t.Errorf("a volatile frame for a client that does not read was %v", got)
	}
}

// A session is listed once per flush, for any number of frames.
func TestFanoutListsASessionOnce(t *testing.T) {
	t.Parallel()
	f, o := newFront(t, Settings{}), NewFanout()
	defer o.Close()
	v := f.visit("")
	for n := range 100 {
		o.Send(v.peer.session, eio.NewMessage(nil, fmt.Append(nil, n), nil, eio.Options{Volatile: true}))
	}
	if len(o.listed) > 1 {
		t.Errorf("the list has %d places for one session", len(o.listed))
	}
	o.Flush(never)
	for n := range 100 {
		v.expect("%d", n)
	}
}

// Frames that a Fanout has not written yet do not overflow a queue. Frames that a client does not read do.
func TestFanoutOverflows(t *testing.T) {
	t.Parallel()
	f, o := newFront(t, Settings{QueueBytes: 20_000}), NewFanout()
	defer o.Close()
	quick, slow := f.visit(""), f.visit("")
	for n := range 10 {
		if got := o.Send(quick.peer.session, text("%d %s", n, strings.Repeat("x", 5000))); got != Queued {
			t.Fatalf("frame %d for a client that reads was %v", n, got)
		}
	}
	o.Flush(never)
	for n := range 10 {
		quick.expect("%d %s", n, strings.Repeat("x", 5000))
	}
	got := Queued
	for n := 0; got == Queued && n < 100_000; n++ {
		got = o.Send(slow.peer.session, text("%s", strings.Repeat("x", 5000)))
	}
	if got != Overflow {
		t.Errorf("the last frame for a client that does not read was %v", got)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		slow.peer.mu.Lock()
		ends := slow.peer.ends
		slow.peer.mu.Unlock()
		if len(ends) == 1 && ends[0] == QueueOverflow {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the session ended with %v", ends)
		}
	}
}

// A client that ends while frames for it are queued does not affect the others.
func TestFanoutToEndedSessions(t *testing.T) {
	t.Parallel()
	f, o := newFront(t, Settings{}), NewFanout()
	defer o.Close()
	gone, left := f.visit(""), f.visit("")
	for n := range 50 {
		o.Send(gone.peer.session, text("%d", n))
		o.Send(left.peer.session, text("%d", n))
		if n == 20 {
			_ = gone.conn.Close()
		}
		if n == 30 {
			gone.peer.session.Close(ForcedServerClose)
		}
		o.Flush(never)
	}
	for n := range 50 {
		left.expect("%d", n)
	}
	settled(t, left.peer.session)
}

// A client that does not read and breaks the protocol is answered by the session's own writer. gorilla/websocket would
// hold the connection for a second, and with it every flush of the session. A busy machine can delay a flush, too, but
// not each of several.
func TestBrokenInputDoesNotDelayAFanout(t *testing.T) {
	const tries = 5
	var took time.Duration
	for range tries {
		if took = flushBesideBrokenInput(t); took <= lastWrite/2 {
			return
		}
	}
	t.Errorf("each of %d flushes was delayed, the last for %v", tries, took)
}

// flushBesideBrokenInput returns how long a flush takes while a client that does not read gets the answer to broken
// input.
func flushBesideBrokenInput(t *testing.T) time.Duration {
	f, o := newFront(t, Settings{}), NewFanout()
	defer o.Close()
	v := f.visit("")
	s := v.peer.session
	conn := s.transport.(*wsConn)
	if conn.direct == nil {
		t.Skip("on this system a Fanout does not write itself")
	}
	for quiet := 0; quiet < 5; time.Sleep(20 * time.Millisecond) { // until nothing more fits
		quiet++
		_ = conn.direct.Write(func(fd uintptr) bool {
			for n, err := 0, error(nil); n >= 0 && err == nil; {
				if n, err = direct.Write(fd, make([]byte, 4096)); n > 0 {
					quiet = 0
				}
			}
			return true
		})
	}
	v.write("\x81\x01a") // not masked
	for begin := time.Now(); s.currentState() == open && time.Since(begin) < lastWrite/4; time.Sleep(time.Millisecond) {
		continue // it has been read by now, and perhaps answered
	}
	begin := time.Now()
	o.Send(s, text("hello"))
	o.Flush(never)
	return time.Since(begin)
}

func BenchmarkDelivery(b *testing.B) {
	all := newFront(b, Settings{}).crowd(100)
	pad := text("%s", strings.Repeat("x", 120))
	batch := make([]*eio.Frame, 16)
	for i := range batch {
		batch[i] = pad
	}
	o := NewFanout()
	defer o.Close()
	for name, frame := range map[string]*eio.Frame{"1 message": pad, "16 messages joined": eio.Join(batch)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range all {
					o.Send(s, frame)
				}
				o.Flush(never)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(all)*frame.Messages()), "ns/delivery")
		})
	}
	b.Run("1 message, each by a goroutine", func(b *testing.B) { // the cost that a Fanout avoids
		for b.Loop() {
			for _, s := range all {
				s.Send(pad)
			}
			for _, s := range all {
				for s.Waiting() > 0 {
					runtime.Gosched()
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(all)), "ns/delivery")
	})
}
