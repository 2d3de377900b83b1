package engine

import (
	"bufio"
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

	"partyline/wire/eio"
)

const (
	// noWriteBuffer is what gorilla, which writes nothing but the handshake, is told that it may buffer.
	noWriteBuffer = 512
	// joined is how many bytes of frames are copied together for one write. A write of one small frame costs as much
	// as a write of 32 of them.
	joined = 32 << 10
	// probeEvery is how often a waiting poll is released while a WebSocket wants to take over (reference: 100 ms).
	probeEvery = 100 * time.Millisecond
	// lastWrite is how long the last frame of a connection may take.
	lastWrite = time.Second
)

// wsConn is a WebSocket under a session. gorilla/websocket makes the handshake and reads; frames are written to the
// connection under it, by one goroutine at a time. What gorilla reads from, and writes to, is the wsConn itself.
type wsConn struct {
	net.Conn
	ws     *websocket.Conn // read by one goroutine: the session's reader
	direct syscall.RawConn // Conn, for what does not wait; nil where there is no such thing; static
	server *Server

	holding bool   // owned by the handshake, and then by the reader: Write keeps what it is given
	held    []byte // owned by the handshake, and then by the reader: what Write has kept

	frames  bufio.Reader          // owned by the reader: gorilla's; without a buffer while nothing is borrowed
	lent    *lent                 // owned by the reader; nil while it waits
	rest    []byte                // owned by the reader: what has been received and not read
	readErr error                 // owned by the reader: what came behind that
	fill    func(fd uintptr) bool // receive, bound once; static
	heard   int64                 // owned by the reader: when the last message came, in unix nanoseconds

	hurried atomic.Bool // the server is ending: no deadline may be later than the one that is set

	ending atomic.Bool // the end was sent: what is still read counts in late
	late   int64       // owned by the reader: bytes read since then
}

var (
	joinBuffers = sync.Pool{New: func() any { b := make([]byte, 0, joined); return &b }}
	readBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}
	// noWriteBuffers satisfies gorilla.
	noWriteBuffers = &sync.Pool{}
)

func (s *Server) upgrader() *websocket.Upgrader {
	return &websocket.Upgrader{
		ReadBufferSize:  0, // it takes the reader of the connection: wsConn.frames
		WriteBufferSize: noWriteBuffer,
		WriteBufferPool: noWriteBuffers,
		CheckOrigin:     func(*http.Request) bool { return true }, // checked before, for both transports
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			w.Header().Set("Connection", "close")
			http.Error(w, reason.Error(), status)
		},
	}
}

// accept turns a request into a WebSocket. When it fails the client has its answer. Otherwise the client has none as yet
// with hold: it is in held, to be written together with the first frame.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, header http.Header, maxPayload int, hold bool) (*wsConn, error) {
	chosen, ok := subprotocol(r.Header)
	if !ok {
		refuseSubprotocol(w)
		return nil, errSubprotocol
	}
	if chosen != "" {
		header.Set("Sec-Websocket-Protocol", chosen)
	}
	c := &wsConn{server: s, holding: hold}
	ws, err := s.upgrades.Upgrade(&hijacking{w, c}, r, header)
	if err != nil {
		return nil, err
	}
	c.ws, c.holding = ws, true
	ws.SetReadLimit(int64(maxPayload))
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	return c, nil
}

// Write is called by gorilla/websocket: for its answer to the request, and for the close frame with which it answers
// broken input just before reading fails. That one is kept for whoever ends the connection (see answer): gorilla would
// wait for a client that does not read, and with it a round that writes to the session.
func (c *wsConn) Write(p []byte) (int, error) {
	if c.holding {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// close closes the connection, now.
func (c *wsConn) close() {
	c.server.mu.Lock()
	delete(c.server.conns, c)
	c.server.mu.Unlock()
	_ = c.Conn.Close()
}

// expectEnd gives the client some time to close its side. Meanwhile it may send what was on its way, and no more.
func (c *wsConn) expectEnd(d time.Duration) {
	c.ending.Store(true)
	if !c.hurried.Load() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(d))
	}
}

// writeFrames writes all frames, but for the first bytes that have been written already, in as few writes as possible and
// returns the number of bytes.
func (c *wsConn) writeFrames(frames []*Frame, written int) (int, error) {
	first := frames[0].ws[written:]
	if len(frames) == 1 {
		return c.Conn.Write(first)
	}
	pooled := joinBuffers.Get().(*[]byte)
	defer joinBuffers.Put(pooled)
	buf, total := (*pooled)[:0], 0
	for i, f := range frames {
		data := f.ws
		if i == 0 {
			data = first
		}
		if len(buf)+len(data) > cap(buf) && len(buf) > 0 {
			n, err := c.Conn.Write(buf)
			total += n
			if err != nil {
				return total, err
			}
			buf = buf[:0]
		}
		if len(data) > cap(buf) {
			n, err := c.Conn.Write(data)
			total += n
			if err != nil {
				return total, err
			}
			continue
		}
		buf = append(buf, data...)
	}
	n, err := c.Conn.Write(buf)
	return total + n, err
}

// errNotUTF8 is returned by read for a text message that is not UTF-8.
var errNotUTF8 = errors.New("text message is not UTF-8")

// read waits for the next message. The buffer is taken only when one has begun to arrive, so an idle connection holds
// none; the caller gives it back with readBuffers.Put.
func (c *wsConn) read() (*[]byte, bool, error) {
	if !c.pending() {
		c.giveBack()
		if err := c.wait(); err != nil {
			return nil, false, err
		}
	}
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return nil, false, err
	}
	pooled := readBuffers.Get().(*[]byte)
	buf := (*pooled)[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	*pooled = buf
	if kind == websocket.TextMessage && !utf8.Valid(buf) {
		return nil, false, errNotUTF8
	}
	return pooled, kind == websocket.BinaryMessage, nil
}

func putBuffer(pooled *[]byte) {
	if cap(*pooled) <= 64<<10 { // a pool of megabytes would stay
		readBuffers.Put(pooled)
	}
}

// endOf says what an error of reading means (the reference: ws emits "error" for what the client did wrong, and only
// "close" when the connection went away).
func endOf(err error) Reason {
	var closeErr *websocket.CloseError
	var netErr net.Error
	switch {
	case errors.As(err, &closeErr), errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return TransportClose
	}
	return TransportError
}

// readLoop reads the session's WebSocket until it ends. It is the session's reader goroutine.
func (s *Session) readLoop(conn *wsConn) {
	conn.ws.SetPingHandler(s.pong)
	conn.ws.SetCloseHandler(func(int, string) error { return nil }) // end answers it
	for {
		if s.gate.Load() != nil {
			s.pass()
		}
		buf, binary, err := conn.read()
		if err != nil {
			s.endReading(conn, err)
			return
		}
		s.server.stats.bytesIn.Add(len(*buf))
		s.frame(*buf, binary)
		putBuffer(buf)
		if conn.wasQuiet() && conn.direct != nil && !conn.pending() {
			conn.giveBack()
			s.server.running.Add(1)
			go s.await(conn)
			return
		}
	}
}

// wasQuiet says whether the message that has just come is the first since quietFor.
func (c *wsConn) wasQuiet() bool {
	now := time.Now().UnixNano()
	before := c.heard
	c.heard = now
	return now-before > int64(quietFor)
}

// await waits for the next message on a stack that is small as yet, and is the reader from then on.
func (s *Session) await(conn *wsConn) {
	defer s.server.running.Done()
	if err := conn.wait(); err != nil {
		s.endReading(conn, err)
		return
	}
	s.readLoop(conn)
}

// endReading ends the session after a failed read. The connection is closed by whoever is done last with it, the reader
// or a writer that still has a close frame to send.
func (s *Session) endReading(conn *wsConn, err error) {
	reason := endOf(err)
	var last *Frame
	if errors.Is(err, errNotUTF8) {
		last = controlFrame(wsClose, "\x03\xef") // 1007: invalid frame payload data
	} else {
		last = conn.answer(err) // nil: nobody is there
	}
	if reason == TransportError {
		s.blame(err)
	}
	s.end(reason, last)
	if reason == TransportError {
		// Closing a connection with unread data resets it, and the client would not learn why it was closed.
		conn.expectEnd(lastWrite)
		_, _ = io.Copy(io.Discard, io.LimitReader(conn.Conn, 4*int64(s.maxPayload)))
	}
	s.mu.Lock()
	s.readerDone = true
	writing := s.writing
	s.mu.Unlock()
	if !writing {
		conn.close()
	}
}

// answer is what the client is told as the last when reading has failed: the answer to a close frame, or what gorilla
// says that it did wrong; nil for nothing.
func (c *wsConn) answer(err error) *Frame {
	if len(c.held) > 0 {
		return &Frame{ws: c.held}
	}
	var closeErr *websocket.CloseError
	if !errors.As(err, &closeErr) || closeErr.Code == websocket.CloseAbnormalClosure {
		return nil
	}
	// RFC 6455, section 5.5.1: it repeats the code, and the reference the words, too.
	return controlFrame(wsClose, string(websocket.FormatCloseMessage(closeErr.Code, closeErr.Text)))
}

// pong queues the answer to a ping of WebSocket. A client that pings and does not read overflows its queue.
func (s *Session) pong(data string) error {
	s.Send(controlFrame(wsPong, data))
	return nil
}

// frame handles one WebSocket message as an Engine.IO packet.
func (s *Session) frame(data []byte, binary bool) {
	s.in.Lock()
	defer s.in.Unlock()
	if binary {
		s.packet(eio.Packet{Type: eio.Message, Binary: true, Data: data})
		return
	}
	p, err := eio.Parse(data)
	if err != nil {
		s.broken(ParseError, err)
		return
	}
	s.packet(p)
}
