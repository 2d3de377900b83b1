package engine

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"partyline/internal/direct"
)

// Nearly all of what many connections cost is what idle WebSockets cost. So an idle one has no read buffer, and its
// goroutine waits on the smallest stack there is: a goroutine that has handled a message keeps a larger one, so it
// starts another goroutine to wait, and ends. With a buffer of 512 bytes and one goroutine for the whole connection it
// was 2.7 KiB more, of 11.5 (docs/performance.md).
//
// This file is the only one that reaches inside gorilla/websocket. gorilla keeps the *bufio.Reader that Hijack
// returns, as Upgrader.ReadBufferSize documents, and has no way to take its buffer away. So wsReader replaces the
// bufio.Reader behind that pointer by value between two messages, when gorilla has read all that was in it.
// TestTheReaderIsReplacedByValue fails if a new version of gorilla or of bufio does not allow that.
const (
	// chunkSize is how many bytes are read from a connection at once.
	chunkSize = 4 << 10
	// frameBuffer is the size of the buffer in which gorilla looks at frame heads. It must be larger than 256.
	frameBuffer = 512
	// quietFor is how long a client must have been silent for its goroutine to be replaced after the next message,
	// which costs about 1 µs.
	quietFor = time.Second
	// lateLimit is how much is read from a client after the end was sent to it, in packets of the largest size.
	lateLimit = 4
	// headLimit is how many bytes of frame heads may come with a message beyond headShare times its content: every
	// byte may be a fragment of its own, but fragments without content cost work and count in no other limit.
	headLimit = 16 << 10
	headShare = 15
)

// wsReader is what gorilla reads from. The reader goroutine of the connection owns it.
type wsReader struct {
	frames bufio.Reader          // gorilla's; without a buffer while none is borrowed
	buffer *readBuffer           // borrowed; nil while the connection is idle
	rest   []byte                // what was received and not read
	err    error                 // what came behind that
	fill   func(fd uintptr) bool // receive, bound once; static
	last   int64                 // when the last message came, in Unix nanoseconds
	late   int64                 // bytes received since the end was sent

	message io.Reader // gorilla's, for the message that is being read
	raw     int64     // bytes that gorilla has read since the last message, without control frames
	content int64     // of these, the content of message
}

// Read reads the content of a message.
func (r *wsReader) Read(p []byte) (int, error) {
	n, err := r.message.Read(p)
	r.content += int64(n)
	return n, err
}

// readBuffer is what a connection needs to read, as long as there is something to read.
type readBuffer struct {
	chunk  [chunkSize]byte
	frames bufio.Reader // only its buffer is used
}

var bufferPool = sync.Pool{New: func() any { return &readBuffer{frames: *bufio.NewReaderSize(nil, frameBuffer)} }}

// borrow lets the connection read with b.
func (c *wsConn) borrow(b *readBuffer) {
	c.reader.buffer, c.reader.frames = b, b.frames
	c.reader.frames.Reset(c)
}

// pending reports whether something was received that gorilla has not read.
func (c *wsConn) pending() bool {
	r := &c.reader
	return len(r.rest) > 0 || r.err != nil || r.buffer != nil && r.frames.Buffered() > 0
}

// giveBack returns what was borrowed. Nothing may be pending.
func (c *wsConn) giveBack() {
	if r := &c.reader; r.buffer != nil && c.direct != nil {
		r.buffer.frames = r.frames
		bufferPool.Put(r.buffer)
		r.buffer, r.rest, r.frames = nil, nil, bufio.Reader{}
	}
}

// wait returns once something is pending, or an error. It needs little stack, and no buffer while it waits.
func (c *wsConn) wait() error {
	if c.direct == nil {
		return nil // Read waits
	}
	return c.direct.Read(c.reader.fill)
}

// receive is the RawConn callback of wait. It returns false if nothing has come yet, and RawConn parks the goroutine.
func (c *wsConn) receive(fd uintptr) bool {
	b := bufferPool.Get().(*readBuffer)
	n, err := direct.Read(fd, b.chunk[:])
	if err == nil && n < 0 {
		bufferPool.Put(b)
		return false
	}
	c.borrow(b)
	r := &c.reader
	switch {
	case err != nil:
		r.err = err
	case n == 0, c.isFlooded():
		r.err = io.EOF
	default:
		r.rest = b.chunk[:n]
		r.late += int64(n)
	}
	return true
}

// Read gives gorilla what was received, and waits for the rest of a message that has begun.
func (c *wsConn) Read(p []byte) (int, error) {
	r := &c.reader
	switch {
	case r.raw > (1+headShare)*r.content+headLimit:
		return 0, errHeads
	case len(r.rest) > 0:
		n := copy(p, r.rest)
		r.rest = r.rest[n:]
		r.raw += int64(n)
		return n, nil
	case r.err != nil:
		return 0, r.err
	case c.isFlooded():
		return 0, io.EOF
	}
	c.turn.End()
	n, err := c.Conn.Read(p)
	r.late += int64(n)
	r.raw += int64(n)
	return n, err
}

// isFlooded reports whether a client has sent lateLimit packets since the end was sent to it. Reading it until
// lastRead is over would cost a core. It resets late while the end is not sent.
func (c *wsConn) isFlooded() bool {
	if !c.ending.Load() {
		c.reader.late = 0
		return false
	}
	return c.reader.late >= lateLimit*int64(c.session.server.MaxPayload())
}

// hijacker gives gorilla a wsConn instead of the request's connection.
type hijacker struct {
	http.ResponseWriter
	conn *wsConn
}

// Hijack is called by gorilla when it is about to accept the WebSocket.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c := h.conn
	c.Conn = conn
	if c.direct = direct.Conn(conn); c.direct != nil {
		c.reader.fill = c.receive
		c.borrow(bufferPool.Get().(*readBuffer))
	} else { // over TLS: its buffer stays, and need not be the large one
		c.reader.frames = *bufio.NewReaderSize(c, frameBuffer)
	}
	if early := buffers.Reader.Buffered(); early > 0 { // the client did not wait for the answer
		data, _ := buffers.Reader.Peek(early)
		c.reader.rest = bytes.Clone(data)
	}
	return c, bufio.NewReadWriter(&c.reader.frames, buffers.Writer), nil
}
