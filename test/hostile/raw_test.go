package hostile

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// Opcodes of WebSocket frames (RFC 6455, section 5.2).
const (
	opMore   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opPing   = 0x9
)

// raw is a WebSocket client without rules: it writes arbitrary bytes, many frames at a time, and reads only on
// request.
type raw struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	id   string       // of its socket, once connected
	read atomic.Int64 // bytes, see drain
}

// dialRaw opens a WebSocket session; url is the edge's.
func dialRaw(t *testing.T, url string) *raw {
	t.Helper()
	return dialRawWith(t, url, &net.Dialer{})
}

// dialNarrow is dialRaw for a client that sends much and reads nothing. It has a small buffer from the beginning: when
// it shrinks, Linux throws away what is on its way, with the acknowledgements of what the client sends.
func dialNarrow(t *testing.T, url string) *raw {
	t.Helper()
	return dialRawWith(t, url, &net.Dialer{Control: func(_, _ string, conn syscall.RawConn) (err error) {
		_ = conn.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
		return err
	}})
}

func dialRawWith(t *testing.T, url string, dialer *net.Dialer) *raw {
	t.Helper()
	host := strings.TrimPrefix(url, "http://")
	conn, err := dialer.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{t: t, conn: conn, in: bufio.NewReader(conn)}
	t.Cleanup(r.hangup)
	_ = conn.SetDeadline(time.Now().Add(edgetest.Patience))
	r.write([]byte("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\n" +
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	response, err := http.ReadResponse(r.in, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("no WebSocket: %v, %v", response, err)
	}
	_ = conn.SetDeadline(time.Time{})
	return r
}

// enterRaw opens a session and connects it to /chat.
func (s *stage) enterRaw() *raw {
	s.t.Helper()
	r := dialRaw(s.t, s.URL)
	r.write(textFrame("40/chat,"))
	for {
		if text := r.next(); strings.HasPrefix(text, "40/chat,") {
			r.id = strings.TrimSuffix(strings.TrimPrefix(text, `40/chat,{"sid":"`), `"}`)
			return r
		}
	}
}

// next reads a frame.
func (r *raw) next() string {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(edgetest.Patience))
	var head [2]byte
	_, err := io.ReadFull(r.in, head[:])
	size := uint64(head[1])
	if err == nil && size >= 126 {
		extended := make([]byte, 2+6*(size-126)) // 126: two bytes, 127: eight
		_, err = io.ReadFull(r.in, extended)
		size = binary.BigEndian.Uint64(append(make([]byte, 8-len(extended)), extended...))
	}
	payload := make([]byte, size)
	if err == nil {
		_, err = io.ReadFull(r.in, payload)
	}
	if err != nil {
		r.t.Fatalf("no frame came: %v", err)
	}
	return string(payload)
}

// drain reads and discards everything, until the connection ends.
func (r *raw) drain() {
	_ = r.conn.SetReadDeadline(time.Time{})
	go func() {
		buf := make([]byte, 16<<10)
		for {
			n, err := r.in.Read(buf)
			r.read.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
}

// narrow keeps the kernel from reading ahead for a client that does not read.
func (r *raw) narrow() { _ = r.conn.(*net.TCPConn).SetReadBuffer(4 << 10) }

// write writes bytes. A failed write shows elsewhere.
func (r *raw) write(b []byte) { _, _ = r.conn.Write(b) }

func (r *raw) hangup() { _ = r.conn.Close() }

// frame appends a client's frame. Its mask is zero, which changes nothing.
func frame(dst []byte, final bool, opcode byte, payload string) []byte {
	if final {
		opcode |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, opcode, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, opcode, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, opcode, 0x80|127), uint64(n))
	}
	return append(append(dst, 0, 0, 0, 0), payload...)
}

func textFrame(payload string) []byte { return frame(nil, true, opText, payload) }

// flood writes packets, many at a time, and returns once a service has received the event after them. packet returns
// the packet with a number.
func (s *stage) flood(r *raw, packets int, packet func(dst []byte, i int) []byte) time.Duration {
	s.t.Helper()
	begun := time.Now()
	done := s.Hear(subject + "done")
	var text, buf []byte
	for i := range packets {
		text = packet(text[:0], i)
		buf = frame(buf, true, opText, string(text))
		if len(buf) > 60_000 || i == packets-1 {
			r.write(textFrame("3")) // a pong, in case there was a ping
			r.write(buf)
			buf = buf[:0]
		}
	}
	r.write(textFrame(`42/chat,["done"]`))
	if _, err := done.NextMsg(3 * edgetest.Patience); err != nil { // the edge has much to process before
		s.t.Fatalf("the event after the flood did not arrive: %v", err)
	}
	_ = done.Unsubscribe()
	return time.Since(begun)
}

// perSecond formats a rate for the test's log.
func perSecond(n int, d time.Duration) string {
	return fmt.Sprintf("%d in %s, %.0f a second", n, d.Round(time.Millisecond), float64(n)/d.Seconds())
}
