package engine

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"partyline/wire/eio"
)

// front is a server on the loopback, where descriptors are real.
type front struct {
	t        testing.TB
	server   *Server
	address  string
	tls      *tls.Config // of clients; nil without TLS
	accepted chan *recorder
}

func newFront(t testing.TB, set Settings) *front { return newFrontOver(t, set, false) }

// newFrontOver is newFront with or without TLS.
func newFrontOver(t testing.TB, set Settings, secure bool) *front {
	f := &front{t: t, accepted: make(chan *recorder, 1)}
	set.Config, set.EdgeID, set.Log = DefaultConfig(), "k3f9a0zz", slog.New(slog.DiscardHandler)
	set.Handler = func(s *Session, _ *Opening) Receiver {
		r := &recorder{session: s}
		f.accepted <- r
		return r
	}
	f.server = NewServer(set)
	site := httptest.NewUnstartedServer(f.server)
	if secure {
		site.StartTLS()
		f.tls = site.Client().Transport.(*http.Transport).TLSClientConfig
		f.tls.ServerName = "example.com"
	} else {
		site.Start()
	}
	f.address = site.Listener.Addr().String()
	t.Cleanup(func() {
		f.server.Leave()
		f.server.Abort()
		site.Close()
	})
	return f
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
	if f.tls != nil {
		conn = tls.Client(conn, f.tls)
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

// crowd returns the sessions of visitors that read and ignore everything.
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

const upgradeRequest = "GET /?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// visitor is a client that reads when the test wants it to.
type visitor struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	peer *recorder
}

func (v *visitor) write(data string) {
	v.t.Helper()
	if _, err := io.WriteString(v.conn, data); err != nil {
		v.t.Fatal(err)
	}
}

// next returns the text of the next frame.
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

func (v *visitor) expect(format string, args ...any) {
	v.t.Helper()
	if got, want := v.next(), "4"+fmt.Sprintf(format, args...); got != want {
		v.t.Fatalf("got %.50q, want %.50q", got, want)
	}
}

func text(format string, args ...any) *eio.Frame {
	return eio.NewMessage(nil, fmt.Appendf(nil, format, args...), nil, eio.Options{})
}

// masked returns a text frame of a client. The mask is zeros.
func masked(text string) string {
	return "\x81" + string([]byte{0x80 | byte(len(text))}) + "\x00\x00\x00\x00" + text
}

func never() bool  { return false }
func always() bool { return true }

// settled waits until nothing is queued, and checks that nothing is counted then.
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

// Messages arrive in whatever pieces they are sent, before and after the reader goroutine was replaced.
func TestMessagesInPieces(t *testing.T) {
	for name, secure := range map[string]bool{"TCP": false, "TLS": true} {
		t.Run(name, func(t *testing.T) { testMessagesInPieces(t, secure) })
	}
}

func testMessagesInPieces(t *testing.T, secure bool) {
	t.Parallel()
	hello := func(n int) string { return masked(fmt.Sprintf("4hello %d", n)) }
	f := newFrontOver(t, Settings{}, secure)
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

// A session can be found by its id as soon as its client has the id.
func TestASessionCanBeFoundBeforeItsClientHasTheID(t *testing.T) {
	t.Parallel()
	f := newFront(t, Settings{})
	for n := range 500 {
		f.visit("")
		if got := f.server.Sessions(); got != n+1 {
			t.Fatalf("%d sessions after %d clients got their session id", got, n+1)
		}
	}
}
