package engine

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"partyline/internal/direct"
)

// What an idle WebSocket costs is nearly all that a crowd costs, so it has no read buffer, and its goroutine waits on the
// smallest stack there is: a goroutine that has handled a message has a larger one for good, so it starts another one to
// wait and ends. With a buffer of 512 bytes and one goroutine for life it was 2.7 KiB more, of 11.5 (docs/performance.md).
const (
	// chunkSize is how many bytes are read from a connection at once.
	chunkSize = 4 << 10
	// frameBuffer is the size of the buffer in which gorilla/websocket looks at frame heads; it insists on more than 256.
	frameBuffer = 512
	// quietFor is how long a client must have been silent for its goroutine to be replaced after the next message: that
	// costs about 1 µs.
	quietFor = time.Second
	// lateLimit is how much is read of a client that was told the end, in packets of the largest size.
	lateLimit = 4
)

// lent is what a connection needs to read, as long as there is something to read.
type lent struct {
	chunk  [chunkSize]byte
	reader bufio.Reader // only its buffer counts
}

var lents = sync.Pool{New: func() any { return &lent{reader: *bufio.NewReaderSize(nil, frameBuffer)} }}

// borrow makes the connection able to read.
func (c *wsConn) borrow(l *lent) {
	c.lent, c.frames = l, l.reader
	c.frames.Reset(c)
}

// pending says whether something has been read that nobody has looked at.
func (c *wsConn) pending() bool {
	return len(c.rest) > 0 || c.readErr != nil || c.lent != nil && c.frames.Buffered() > 0
}

// giveBack returns what was borrowed. Nothing may be pending.
func (c *wsConn) giveBack() {
	if c.lent != nil && c.direct != nil {
		c.lent.reader = c.frames
		lents.Put(c.lent)
		c.lent, c.rest, c.frames = nil, nil, bufio.Reader{}
	}
}

// wait returns once something is pending, and fails when that can no longer be. It needs little stack, and nothing else
// while it waits.
func (c *wsConn) wait() error {
	if c.direct == nil {
		return nil // Read waits
	}
	return c.direct.Read(c.fill)
}

// receive is what the connection's descriptor is lent for by wait. It says no when nothing has come yet.
func (c *wsConn) receive(fd uintptr) bool {
	l := lents.Get().(*lent)
	n, err := direct.Read(fd, l.chunk[:])
	if err == nil && n < 0 {
		lents.Put(l)
		return false
	}
	c.borrow(l)
	switch {
	case err != nil:
		c.readErr = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
	case n == 0:
		c.readErr = io.EOF
	case c.isFlooded():
		c.readErr = io.EOF
	default:
		c.rest = l.chunk[:n]
		c.late += int64(n)
	}
	return true
}

// Read gives gorilla/websocket what has been received, and waits for the rest of a message that has begun.
func (c *wsConn) Read(p []byte) (int, error) {
	switch {
	case len(c.rest) > 0:
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	case c.readErr != nil:
		return 0, c.readErr
	}
	if c.isFlooded() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	c.late += int64(n)
	return n, err
}

// isFlooded reports whether a client that was told the end has sent lateLimit bytes since, so that it is not read any more: it would
// cost a core until closeTimeout. It resets late while the end is not sent.
func (c *wsConn) isFlooded() bool {
	if !c.ending.Load() {
		c.late = 0
		return false
	}
	return c.late >= lateLimit*int64(c.server.MaxPayload())
}

// hijacking gives gorilla/websocket a wsConn instead of the request's connection.
type hijacking struct {
	http.ResponseWriter
	conn *wsConn
}

// Hijack is called by gorilla/websocket when it is about to accept the WebSocket.
func (h *hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c := h.conn
	c.Conn = conn
	if c.direct = direct.Conn(conn); c.direct != nil {
		c.fill = c.receive
	}
	c.borrow(lents.Get().(*lent))
	if early := buffers.Reader.Buffered(); early > 0 { // the client did not wait for the answer
		data, _ := buffers.Reader.Peek(early)
		c.rest = bytes.Clone(data)
	}
	return c, bufio.NewReadWriter(&c.frames, buffers.Writer), nil
}
