package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"partyline/internal/buffers"
	"partyline/internal/direct"
	"partyline/internal/request"
	"partyline/internal/turn"
	"partyline/wire/eio"
	"partyline/wire/ws"
)

const (
	// controlHead is the size of the head of a client's control frame.
	controlHead = 6
	// lastWrite is how long the last frame of a connection may take.
	lastWrite = time.Second
	// lastRead is how long a client may take to close its side once it has the last frame.
	lastRead = lastWrite / 2
	// slowest is the rate, in bytes a second, at which a client must read what is queued before the last frame.
	slowest = 64 << 10
)

// lastWriteOf returns how long a client may take to read a number of queued bytes, and the last frame behind them.
func lastWriteOf(queued int) time.Duration {
	return min(lastWrite+time.Duration(queued/slowest)*time.Second, closeTimeout)
}

// wsConn is a WebSocket as a transport. gorilla/websocket makes the handshake and reads. Frames are written to the
// connection below it, by one goroutine at a time. gorilla reads from and writes to the wsConn itself.
type wsConn struct {
	net.Conn
	ws      *websocket.Conn // owned by the reader goroutine
	direct  syscall.RawConn // static; Conn without blocking, nil where that is not possible
	session *Session        // static
	reader  wsReader        // owned by the reader goroutine
	turn    turn.Turn       // owned by the reader goroutine; it ends before that waits
	held    []byte          // owned by the handshake, then by the reader goroutine: what gorilla wrote

	writing  bool       // guarded by Session.mu: a goroutine writes
	readDone bool       // guarded by Session.mu: the reader goroutine has ended
	last     *eio.Frame // guarded by Session.mu: the frame that abort sends, or nil

	ending        atomic.Bool // the end was sent: what is still read counts in wsReader.late
	deadlineFixed atomic.Bool // the connection is about to be closed: its deadline must not be extended
}

// upgrader makes the handshakes of WebSockets.
var upgrader = websocket.Upgrader{
	// Without a ReadBufferSize gorilla takes the reader that Hijack returns: wsReader.frames.
	WriteBufferSize: 512,                                      // for the handshake only
	WriteBufferPool: &sync.Pool{},                             // or gorilla would hold a buffer for each connection
	CheckOrigin:     func(*http.Request) bool { return true }, // checked before, for both transports
	Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
		w.Header().Set("Connection", "close")
		http.Error(w, reason.Error(), status)
	},
}

// accept turns a request into a WebSocket, or answers it and returns nil. With a WebSocket the answer to the request
// is not sent yet, but held.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, session *Session) *wsConn {
	chosen, ok := request.Subprotocol(r.Header)
	if !ok {
		refuseUpgrade(w, "Invalid Sec-WebSocket-Protocol header") // the words of the reference
		return nil
	}
	if chosen != "" {
		w.Header().Set("Sec-Websocket-Protocol", chosen)
	}
	c := &wsConn{session: session, last: closeFrame}
	conn, err := upgrader.Upgrade(&hijacker{w, c}, r, w.Header())
	if err != nil {
		return nil
	}
	c.ws = conn
	conn.SetReadLimit(int64(session.maxPayload))
	c.handleControl()
	conn.SetCloseHandler(func(int, string) error { return nil }) // see answer: a second close frame would be an error
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	return c
}

// Write is called by gorilla/websocket: for its answer to the request, and for the close frame with which it answers
// broken input just before reading fails. It holds both: the answer is written together with the first frame, and for
// the close frame gorilla would wait for a client that does not read, and so would a Fanout that writes to the
// session.
func (c *wsConn) Write(p []byte) (int, error) {
	c.held = append(c.held, p...)
	return len(p), nil
}

// takeHeld returns what gorilla wrote, and no longer holds it.
func (c *wsConn) takeHeld() *eio.Frame {
	f := eio.NewRaw(c.held)
	c.held = nil
	return f
}

// close closes the connection at once. It does not wait, so Session.mu may be held. Over TLS it sends no close_notify,
// for which it would have to wait: the close frame of WebSocket shows that nothing is missing.
func (c *wsConn) close() {
	server := c.session.server
	server.mu.Lock()
	delete(server.conns, c)
	server.mu.Unlock()
	_ = direct.Below(c.Conn).Close()
}

// expectEnd gives the client some time to close its side. Meanwhile it may send what was on its way, and no more.
func (c *wsConn) expectEnd(d time.Duration) {
	c.ending.Store(true)
	if !c.deadlineFixed.Load() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(d))
	}
}

func (*wsConn) kind() transportKind { return kindWebSocket }

func (c *wsConn) writable() bool { return !c.writing }

// flush writes with w as long as the session is open: later there is a close frame, behind which the connection ends.
func (c *wsConn) flush(w *writer) {
	s := c.session
	for w != nil && c.direct != nil && !c.writing && s.state == open && len(s.queue.frames) > 0 {
		data := s.queue.next(&w.scratch)
		n, err := w.direct.TryWrite(c.direct, data)
		w.bytes, w.counted = w.bytes+n, &s.server.stats
		if s.queue.wrote(n); err != nil {
			c.writeFailed()
			return
		}
		if n < len(data) {
			break
		}
	}
	if len(s.queue.frames) > 0 && !c.writing {
		c.writing = true
		s.server.running.Add(1)
		go c.writeQueue()
	}
}

// writeQueue writes what is queued until nothing is left, and ends. An idle session has no such goroutine.
func (c *wsConn) writeQueue() {
	s := c.session
	defer s.server.running.Done()
	w := writers.Get().(*writer)
	defer writers.Put(w)
	s.mu.Lock()
	for len(s.queue.frames) > 0 {
		data := s.queue.next(&w.scratch)
		s.mu.Unlock()
		n, err := c.Conn.Write(data)
		s.server.stats.bytesOut.Add(n)
		s.mu.Lock()
		if s.queue.wrote(n); err != nil {
			c.writeFailed()
		}
	}
	c.writing = false
	ending, readDone := s.state != open, c.readDone
	s.mu.Unlock()
	switch {
	case readDone:
		c.close()
	case ending:
		c.expectEnd(lastRead)
	}
}

// writeFailed closes a connection that cannot be written to. Its reader fails, too, and ends the session if that is
// open. Session.mu must be held.
func (c *wsConn) writeFailed() {
	c.session.queue.drop(len(c.session.queue.frames))
	c.close()
	if g := c.session.gate.Load(); g != nil {
		g.broken = true
		g.wake()
	}
}

func (c *wsConn) finish(Reason) {
	// The writer may wait for a client that does not read.
	_ = c.Conn.SetWriteDeadline(time.Now().Add(lastWriteOf(c.session.queue.bytes)))
	c.session.enqueue(closeFrame)
	c.session.retire()
}

func (c *wsConn) abort() {
	// The writer may wait for a client that does not read.
	_ = c.Conn.SetWriteDeadline(time.Now().Add(lastWrite))
	if c.last != nil {
		c.session.enqueue(c.last)
	}
}

// Errors of reading.
var (
	errNotUTF8 = errors.New("text message is not UTF-8")
	errHeads   = errors.New("websocket: too many fragments without content")
	errTooMuch = errors.New("the session costs more than limits.session_bytes")
)

// read waits for the next message. It takes a buffer only when a message has begun to arrive, so an idle connection
// holds none. The caller returns it with buffers.Put.
func (c *wsConn) read() (*[]byte, bool, error) {
	if !c.pending() {
		c.giveBack()
		if err := c.wait(); err != nil {
			return nil, false, err
		}
	}
	kind, message, err := c.ws.NextReader()
	if err != nil {
		return nil, false, err
	}
	lent := buffers.Get()
	c.reader.message = message
	*lent, err = c.session.readAll(&c.reader, (*lent)[:0])
	c.reader.message, c.reader.raw, c.reader.content = nil, 0, 0
	if err != nil {
		return nil, false, err
	}
	if kind == websocket.TextMessage && !utf8.Valid(*lent) {
		return nil, false, errNotUTF8
	}
	return lent, kind == websocket.BinaryMessage, nil
}

// readLoop reads the session's WebSocket until it ends. It is the session's reader goroutine.
func (c *wsConn) readLoop() {
	s := c.session
	for {
		c.waitAtGate()
		buf, binary, err := c.read()
		if err != nil {
			c.endReading(err)
			return
		}
		s.server.stats.bytesIn.Add(len(*buf))
		now := time.Now()
		c.handle(*buf, binary, now)
		buffers.Put(buf)
		if !c.pending() || c.turn.IsLong() {
			c.turn.End()
		}
		before := c.reader.last
		c.reader.last = now.UnixNano()
		if c.reader.last-before > int64(quietFor) && c.direct != nil && !c.pending() {
			c.giveBack()
			s.server.running.Add(1)
			go c.await()
			return
		}
	}
}

// await waits for the next message on a stack that is still small, and is the reader goroutine from then on.
func (c *wsConn) await() {
	defer c.session.server.running.Done()
	if err := c.wait(); err != nil {
		c.endReading(err)
		return
	}
	c.readLoop()
}

// waitAtGate waits while the session is not read.
func (c *wsConn) waitAtGate() {
	if c.session.gate.Load() != nil {
		c.turn.End()
		c.session.waitAtGate(context.Background(), func(g *gate) bool { return g.broken })
	}
}

// handle handles one WebSocket message as an Engine.IO packet.
func (c *wsConn) handle(data []byte, binary bool, now time.Time) {
	s := c.session
	c.lockIn()
	defer s.in.Unlock()
	p, err := eio.Packet{Type: eio.Message, Binary: true, Data: data}, error(nil)
	if !binary {
		p, err = eio.Parse(data)
	}
	if err != nil {
		s.broken(ParseError, err)
		return
	}
	s.packet(p, len(data), now)
}

// lockIn locks Session.in. The turn ends before that waits: a POST of the session may have the lock, and wait for a
// turn.
func (c *wsConn) lockIn() {
	s := c.session
	if !s.in.TryLock() {
		c.turn.End()
		s.in.Lock()
	}
	s.turn = &c.turn
}

// endReading ends the session after a failed read. The connection is closed by the last of its users: the reader
// goroutine, or a writer that still has a close frame to send.
func (c *wsConn) endReading(err error) {
	c.turn.End()
	s, reason := c.session, endOf(err)
	if reason == TransportError {
		s.logFault(err)
	}
	s.mu.Lock()
	c.last = c.answer(err)
	s.mu.Unlock()
	s.fail(reason)
	if reason != TransportClose {
		// Closing a connection with unread data resets it, and the client would not learn why it was closed.
		c.expectEnd(lastRead)
		s.server.drain.Discard(c.Conn, 4*int64(s.maxPayload), lastRead)
	}
	s.mu.Lock()
	c.readDone = true
	writing := c.writing
	s.mu.Unlock()
	if !writing {
		c.close()
	}
}

// endOf returns what an error of reading means (the reference: ws emits "error" for what the client did wrong, and
// only "close" when the connection went away).
func endOf(err error) Reason {
	var closeErr *websocket.CloseError
	var netErr net.Error
	switch {
	case errors.Is(err, errTooMuch):
		return QueueOverflow
	case errors.As(err, &closeErr), errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.ErrUnexpectedEOF): // of TLS, within a record
		return TransportClose
	}
	return TransportError
}

// answer returns the last frame after a failed read: the answer to a close frame, or the close frame in which gorilla
// names the client's fault. It returns nil if no client is left.
func (c *wsConn) answer(err error) *eio.Frame {
	var closeErr *websocket.CloseError
	switch {
	case errors.Is(err, errNotUTF8):
		return eio.NewControl(ws.Close, "\x03\xef") // 1007: invalid frame payload data
	case errors.Is(err, errHeads), errors.Is(err, errTooMuch):
		return eio.NewControl(ws.Close, "\x03\xf0") // 1008: policy violation
	case len(c.held) > 0:
		return c.takeHeld()
	case !errors.As(err, &closeErr), closeErr.Code == websocket.CloseAbnormalClosure:
		return nil
	}
	// RFC 6455, section 5.5.1: it repeats the code. The reference repeats the text, too.
	return eio.NewControl(ws.Close, string(websocket.FormatCloseMessage(closeErr.Code, closeErr.Text)))
}
