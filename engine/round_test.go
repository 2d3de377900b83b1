package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"partyline/internal/direct"
)

// front is a server on the loopback, where descriptors are real.
type front struct {
	t        testing.TB
	server   *Server
	address  string
	accepted chan *recorder
}

func newFront(t testing.TB, set Settings) *front {
	f := &front{t: t, accepted: make(chan *recorder, 1)}
	set.Config, set.EdgeID, set.Log = DefaultConfig(), "k3f9a0zz", slog.New(slog.DiscardHandler)
	set.Handler = func(s *Session, _ *Opening) Receiver {
		r := &recorder{session: s}
		f.accepted <- r
		return r
	}
	f.server = NewServer(set)
	site := httptest.NewServer(f.server)
	f.address = site.Listener.Addr().String()
	t.Cleanup(func() {
		f.server.Leave()
		f.server.Abort()
		site.Close()
	})
	return f
}

const upgradeRequest = "GET /?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// visitor is a client that reads when the test wants it to.
type visitor struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	peer *recorder
}

// visit connects; early is sent with the request.
func (f *front) visit(early string) *visitor {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		f.t.Fatal(err)
	}
	v := &visitor{t: f.t, conn: conn, in: bufio.NewReader(conn)}
	v.write(upgradeRequest + early)
	for line := ""; line != "\r\n"; {
		if line, err = v.in.ReadString('\n'); err != nil {
			f.t.Fatal(err)
		}
	}
	v.peer = <-f.accepted
	if open := v.next(); !strings.HasPrefix(open, "0{") {
		f.t.Fatalf("the session opens with %q", open)
	}
	return v
}

func (v *visitor) write(data string) {
	v.t.Helper()
	if _, err := io.WriteString(v.conn, data); err != nil {
		v.t.Fatal(err)
	}
}

// next is the text of the next frame.
func (v *visitor) next() string {
	v.t.Helper()
	head, err := v.in.Peek(4)
	if err != nil {
		v.t.Fatal(err)
	}
	size, skip := int(head[1]), 2
	if size == 126 {
		size, skip = int(binary.BigEndian.Uint16(head[2:])), 4
	}
	frame := make([]byte, skip+size)
	if _, err := io.ReadFull(v.in, frame); err != nil {
		v.t.Fatal(err)
	}
	return string(frame[skip:])
}

func text(format string, args ...any) *Frame {
	return NewMessage(nil, fmt.Appendf(nil, format, args...), nil, Options{})
}

func never() bool  { return false }
func always() bool { return true }

// Whoever reads gets everything once and in order, at whatever pace, from however many writers.
func TestRoundKeepsOrder(t *testing.T) {
	for name, hurry := range map[string]func() bool{"writing itself": never, "leaving it to helpers": always} {
		t.Run(name, func(t *testing.T) {
			f, r := newFront(t, Settings{QueueBytes: 64 << 20}), NewFanout()
			defer r.Close()
			const visitors, slow, rounds = 300, 2, 20
			all := make([]*visitor, visitors)
			for i := range all {
				all[i] = f.visit("")
			}
			pad := strings.Repeat("x", 5000)
			for n := range rounds {
				joined := Join([]*Frame{text("%d a", n), text("%d b", n)})
				for i, v := range all {
					if got := r.Send(v.peer.session, joined); got != Queued {
						t.Fatalf("a frame was %v", got)
					}
					if i >= slow {
						continue
					}
					for part := range 40 { // more than its socket takes
						if part == 20 {
							v.peer.session.Send(text("%d alone", n)) // by somebody else, as it were
						}
						r.Send(v.peer.session, text("%d %d %s", n, part, pad))
					}
				}
				r.Flush(hurry)
			}
			for i, v := range all {
				for n := range rounds {
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

// settled waits until nothing is queued, and sees that nothing is counted then.
func settled(t *testing.T, s *Session) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		bytes, packets, queue, writing := s.queue.bytes, s.queue.packets, len(s.queue.frames), !s.transport.writable()
		s.mu.Unlock()
		if queue == 0 && !writing {
			if bytes != 0 || packets != 0 {
				t.Fatalf("an idle session counts %d bytes and %d packets", bytes, packets)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d frames still wait", queue)
		}
	}
}

func (v *visitor) expect(format string, args ...any) {
	v.t.Helper()
	if got, want := v.next(), "4"+fmt.Sprintf(format, args...); got != want {
		v.t.Fatalf("got %.50q, want %.50q", got, want)
	}
}

// A volatile frame is dropped for a client that does not read, and not for one that has just been sent something else.
func TestRoundDropsVolatileForTheBusy(t *testing.T) {
	f, r := newFront(t, Settings{QueueBytes: 64 << 20}), NewFanout()
	defer r.Close()
	quick, slow := f.visit(""), f.visit("")
	volatile := func(s string) *Frame { return NewMessage(nil, []byte(s), nil, Options{Volatile: true}) }
	r.Send(quick.peer.session, text("first"))
	if got := r.Send(quick.peer.session, volatile("second")); got != Queued {
		t.Errorf("a volatile frame behind another was %v", got)
	}
	r.Flush(never)
	quick.expect("first")
	quick.expect("second")
	big := text("%s", strings.Repeat("x", 60_000))
	for slow.peer.session.Waiting() < 1<<20 { // what its socket takes aside
		r.Send(slow.peer.session, big)
		r.Flush(never)
	}
	if got := r.Send(slow.peer.session, volatile("third")); got != Dropped {
		t.Errorf("a volatile frame for a client that does not read was %v", got)
	}
}

// A session is in a round's list once, however often it is written to before the round ends.
func TestRoundListsASessionOnce(t *testing.T) {
	f, r := newFront(t, Settings{}), NewFanout()
	defer r.Close()
	v := f.visit("")
	for n := range 100 {
		r.Send(v.peer.session, NewMessage(nil, fmt.Append(nil, n), nil, Options{Volatile: true}))
	}
	if len(r.listed) > 1 {
		t.Errorf("the list has %d places for one session", len(r.listed))
	}
	r.Flush(never)
	for n := range 100 {
		v.expect("%d", n)
	}
}

// What a round has not written yet does not overflow a queue; what a client does not read does.
func TestRoundOverflows(t *testing.T) {
	f, r := newFront(t, Settings{QueueBytes: 20_000}), NewFanout()
	defer r.Close()
	quick, slow := f.visit(""), f.visit("")
	for n := range 10 {
		if got := r.Send(quick.peer.session, text("%d %s", n, strings.Repeat("x", 5000))); got != Queued {
			t.Fatalf("frame %d for a client that reads was %v", n, got)
		}
	}
	r.Flush(never)
	for n := range 10 {
		quick.expect("%d %s", n, strings.Repeat("x", 5000))
	}
	got := Queued
	for n := 0; got == Queued && n < 100_000; n++ {
		got = r.Send(slow.peer.session, text("%s", strings.Repeat("x", 5000)))
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

// A client that ends while a round has something for it costs nobody anything.
func TestRoundToTheGone(t *testing.T) {
	f, r := newFront(t, Settings{}), NewFanout()
	defer r.Close()
	gone, left := f.visit(""), f.visit("")
	for n := range 50 {
		r.Send(gone.peer.session, text("%d", n))
		r.Send(left.peer.session, text("%d", n))
		if n == 20 {
			_ = gone.conn.Close()
		}
		if n == 30 {
			gone.peer.session.Close(ForcedServerClose)
		}
		r.Flush(never)
	}
	for n := range 50 {
		left.expect("%d", n)
	}
	settled(t, left.peer.session)
}

// A client that neither reads nor keeps to the protocol is answered by the session's own writer. gorilla/websocket would
// hold the connection for a second, and every round that has something for the client. A busy machine can hold up a round, too,
// but not each of several.
func TestBrokenInputDoesNotHoldUpARound(t *testing.T) {
	const tries = 5
	var took time.Duration
	for range tries {
		if took = roundBesideBrokenInput(t); took <= lastWrite/2 {
			return
		}
	}
	t.Errorf("each of %d rounds was held up, the last for %v", tries, took)
}

// roundBesideBrokenInput returns how long a round takes while a client that does not read is told that its input is broken.
func roundBesideBrokenInput(t *testing.T) time.Duration {
	f, r := newFront(t, Settings{}), NewFanout()
	defer r.Close()
	v := f.visit("")
	s := v.peer.session
	conn := s.transport.(*wsConn)
	if conn.direct == nil {
		t.Skip("on this system a round does not write itself")
	}
	for quiet := 0; quiet < 5; time.Sleep(50 * time.Millisecond) { // until nothing is on its way any more
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
	r.Send(s, text("hello"))
	r.Flush(never)
	return time.Since(begin)
}

func TestJoinedFrame(t *testing.T) {
	one, two := text("a"), NewMessage(nil, []byte("b"), [][]byte{{1, 2, 3}}, Options{NoCompression: true})
	f := Join([]*Frame{one, two})
	if want := append(bytes.Clone(one.ws), two.ws...); !bytes.Equal(f.ws, want) {
		t.Errorf("as WebSocket frames it is %q, want %q", f.ws, want)
	}
	if got, want := string(f.appendPackets(nil)), "4a\x1e4b\x1ebAQID"; got != want {
		t.Errorf("as a polling payload it is %q, want %q", got, want)
	}
	if f.Messages() != 2 || f.Size() != one.Size()+two.Size()-frameCost || f.plain {
		t.Errorf("it is %d messages of %d bytes, plain %v", f.Messages(), f.Size(), f.plain)
	}
	if Join([]*Frame{one}) != one {
		t.Error("one frame is joined to another")
	}
}

// What a client sends is heard however it is cut, before and after its goroutine was replaced.
func TestMessagesInPieces(t *testing.T) {
	hello := func(n int) string { return masked(fmt.Sprintf("4hello %d", n)) }
	f := newFront(t, Settings{})
	v := f.visit(hello(0) + hello(1)[:5])
	v.write(hello(1)[5:] + hello(2) + hello(3)[:1])
	v.write(hello(3)[1:])
	for n := 4; n < 200; n++ {
		for _, b := range []byte(hello(n)) {
			v.write(string([]byte{b}))
		}
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		v.peer.mu.Lock()
		got := len(v.peer.got)
		v.peer.mu.Unlock()
		if got == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d messages came, want 200", got)
		}
	}
	for n, got := range v.peer.got {
		if got != fmt.Sprintf("hello %d", n) {
			t.Fatalf("message %d is %q", n, got)
		}
	}
}

// masked is a text frame of a client; the mask is zeros.
func masked(text string) string {
	return "\x81" + string([]byte{0x80 | byte(len(text))}) + "\x00\x00\x00\x00" + text
}

// crowd is visitors who read everything and look at nothing.
func (f *front) crowd(size int) []*Session {
	var all []*Session
	for range size {
		v := f.visit("")
		_ = v.conn.SetDeadline(time.Time{})
		all = append(all, v.peer.session)
		go func() { _, _ = io.Copy(io.Discard, v.in) }() // ends with the connection
	}
	return all
}

func BenchmarkDelivery(b *testing.B) {
	all := newFront(b, Settings{}).crowd(100)
	pad := text("%s", strings.Repeat("x", 120))
	run := make([]*Frame, 16)
	for i := range run {
		run[i] = pad
	}
	r := NewFanout()
	defer r.Close()
	for name, frame := range map[string]*Frame{"1 message": pad, "16 messages joined": Join(run)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range all {
					r.Send(s, frame)
				}
				r.Flush(never)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(all)*frame.Messages()), "ns/delivery")
		})
	}
	b.Run("1 message, each by a goroutine", func(b *testing.B) { // what a round saves
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

// A client that has been told its session id can be found by it.
func TestASessionIsThereBeforeItsClientIsTold(t *testing.T) {
	f := newFront(t, Settings{})
	for n := range 500 {
		f.visit("")
		if got := f.server.Sessions(); got != n+1 {
			t.Fatalf("%d sessions after %d clients were told that theirs has begun", got, n+1)
		}
	}
}
