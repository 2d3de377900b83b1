package engine

import (
	"errors"
	"net"
	"sync"
	"time"

	"partyline/wire/eio"
)

// closeTimeout is how long a closed session waits for the client to fetch or confirm the end, as the reference server.
const closeTimeout = 30 * time.Second

// leastShare sets the least time for a pong, 1/leastShare of the ping time-out, where timers were late.
const leastShare = 20

// tardy is how late a timer may be on any machine.
const tardy = 10 * time.Millisecond

// Receiver is who a session talks to; the owner of a Server makes one for each session (see Handler). Its methods are
// never called at the same time as each other, except that Closed may come while Message runs, and not with locks held.
type Receiver interface {
	// Message is one message of the client. data is only valid during the call. It runs on the goroutine that reads
	// from the client, so what it waits for slows this client down and no other.
	Message(data []byte, binary bool)
	// Closed says that the session has ended: no Message follows that has not begun, and what is sent is thrown away.
	// It is called exactly once.
	Closed(reason Reason)
}

type state uint8

const (
	open    state = iota
	closing       // ended for the receiver; the client has yet to be told
	closed
)

// Session is one Engine.IO connection (Engine.IO protocol v4), over one of two transports: it begins with polling or
// WebSocket, and may move once from the first to the second.
type Session struct {
	id         string // secret: who has it can read and write the session; static
	server     *Server
	receiver   Receiver // static once the session is reachable
	address    string   // the client's IP address; static
	maxPayload int      // static

	in sync.Mutex // held while packets of the client are processed, so that a POST and a new WebSocket do not overlap

	mu            sync.Mutex
	state         state       // guarded by mu
	queue         []*Frame    // guarded by mu: what waits to be sent
	spare         []*Frame    // guarded by mu: an empty slice for the next queue
	queued        int         // guarded by mu: memory of queue and of what is being written, in bytes
	queuedPackets int         // guarded by mu: packets of the same
	written       int         // guarded by mu: bytes of the first frame of queue that the client has already
	conn          *wsConn     // guarded by mu: nil while the transport is polling
	writing       bool        // guarded by mu: a goroutine writes to conn
	overflowed    bool        // guarded by mu: a frame did not fit, the session is about to end
	dirty         bool        // guarded by mu: a Round will write what is in queue
	readerDone    bool        // guarded by mu: nobody reads conn any more
	poll          *poll       // guarded by mu: the request that waits for something to send
	posting       bool        // guarded by mu: a request brings packets
	upgrade       *upgrade    // guarded by mu: the WebSocket that wants to take over
	timer         *time.Timer // guarded by mu: next heartbeat, or its time-out, or the close time-out
	due           time.Time   // guarded by mu: when the next heartbeat, or its time-out, is due; the timer may be late
	departing     bool        // guarded by mu: the client closes the session by a POST
	pinged        bool        // guarded by mu: waiting for a pong
	refreshed     bool        // guarded by mu: the wait for the pong was prolonged once, because of another packet
	reached       bool        // guarded by mu: the client was there for the last ping: a WebSocket, or a poll that waited
	excused       bool        // guarded by mu: the wait for the pong was prolonged once, because the timer was late
}

// ID is the session id, a secret of the client: it must not be logged or published.
func (s *Session) ID() string { return s.id }

// Address is the client's IP address, behind trusted proxies.
func (s *Session) Address() string { return s.address }

// Close ends the session in good order: what is queued is sent, then the transport is closed, which a client answers by
// coming back. The receiver hears the reason at once, on the caller's goroutine. Later calls do nothing.
func (s *Session) Close(reason Reason) {
	s.mu.Lock()
	if s.state != open {
		s.mu.Unlock()
		return
	}
	s.state = closing
	s.timer.Stop()
	if s.conn != nil {
		// The writer may be waiting for a client that does not read.
		_ = s.conn.Conn.SetWriteDeadline(time.Now().Add(closeTimeout))
		s.enqueue(closeFrame)
		s.retire()
	} else {
		if s.poll != nil {
			s.poll.wake()
		}
		s.timer = time.AfterFunc(closeTimeout, func() { s.fail(reason) })
	}
	s.mu.Unlock()
	s.server.ended(s, reason)
	s.receiver.Closed(reason)
}

// Errors of clients that end their session; the log names them.
var (
	errClientPing  = errors.New("engine.io: a ping from the client, which only the server may send")
	errTwoPolls    = errors.New("engine.io: a second poll while one waits")
	errTwoPosts    = errors.New("engine.io: a second POST while one is under way")
	errContentType = errors.New("engine.io: a POST of type application/octet-stream, which protocol version 4 does not have")
)

// broken ends the session at once because of what the client sent, with one line in the log.
func (s *Session) broken(reason Reason, err error) {
	s.blame(err)
	s.fail(reason)
}

// blame logs what the client did wrong, if that is what ends the session.
func (s *Session) blame(err error) {
	s.mu.Lock()
	first := s.state == open
	s.mu.Unlock()
	if first {
		s.server.log.Info("invalid packet, closing the session", "error", err, "address", s.address)
	}
}

// fail ends the session at once: what is queued is lost.
func (s *Session) fail(reason Reason) { s.end(reason, closeFrame) }

// end is fail with the frame that a WebSocket is told as the last, or nil.
func (s *Session) end(reason Reason, last *Frame) {
	s.mu.Lock()
	before := s.state
	if before == closed {
		s.mu.Unlock()
		return
	}
	abandoned := s.retire()
	s.discard()
	if s.conn != nil {
		// A writer may be waiting for a client that does not read.
		_ = s.conn.Conn.SetWriteDeadline(time.Now().Add(lastWrite))
		if last != nil {
			s.enqueue(last)
		}
	}
	if s.poll != nil {
		s.poll.goodbye = s.departing
		s.poll.wake()
	} else if s.departing && s.conn == nil {
		s.server.owe(s.id)
	}
	s.mu.Unlock()
	abandoned.hangUp()
	if before == open {
		s.server.ended(s, reason)
		s.receiver.Closed(reason)
	}
}

// retire is the one way into the state closed: the session is forgotten, its timer and an upgrade under way are stopped.
// The caller hangs up on the WebSocket that is returned, if any, without the lock. Needs mu.
func (s *Session) retire() (abandoned *wsConn) {
	s.state = closed
	s.timer.Stop()
	s.server.remove(s)
	if u := s.upgrade; u != nil {
		s.upgrade = nil
		u.stop()
		return u.conn
	}
	return nil
}

// packet handles one packet of the client, in the order of arrival. Needs in.
func (s *Session) packet(p eio.Packet) {
	s.mu.Lock()
	if s.state != open {
		s.mu.Unlock()
		return
	}
	if s.pinged && !s.refreshed && p.Type != eio.Pong {
		// A client that sends is alive, though its pong may wait behind a long upload (reference: socket.ts onPacket).
		s.refreshed = true
		s.beatAfter(time.Now(), s.server.cfg.PingTimeout)
	}
	if p.Type == eio.Pong {
		s.pinged = false
		s.beatAfter(time.Now(), s.server.cfg.PingInterval)
	}
	s.mu.Unlock()
	switch p.Type {
	case eio.Message:
		s.server.stats.packetsIn.Inc()
		s.receiver.Message(p.Data, p.Binary)
	case eio.Ping:
		s.broken(TransportError, errClientPing) // in protocol v4 only the server pings
	}
}

// heartbeat runs on the timer: it pings, or gives up on a client that did not answer.
func (s *Session) heartbeat() {
	s.mu.Lock()
	now := time.Now()
	late := now.Sub(s.due)
	switch {
	case s.state != open:
		s.mu.Unlock()
	case late < 0: // a packet came while this goroutine started
		s.timer.Reset(-late)
		s.mu.Unlock()
	case s.pinged && s.excusable(late):
		s.excused = true
		s.beatAfter(now, s.leastWait())
		s.mu.Unlock()
	case s.pinged:
		s.mu.Unlock()
		s.fail(PingTimeout)
	default:
		s.pinged, s.refreshed, s.excused = true, false, false
		s.reached = s.conn != nil || s.poll != nil
		s.enqueue(pingFrame)
		wait := s.server.cfg.PingTimeout
		if s.conn == nil && !s.excusable(late) && late < wait {
			wait -= late // a client that polls sees the end to the millisecond, so the lateness of timers must not add up
		}
		s.beatAfter(now, wait)
		s.mu.Unlock()
	}
}

// leastWait is the least time that a client has for a pong where this process was stopped.
func (s *Session) leastWait() time.Duration { return s.server.cfg.PingTimeout / leastShare }

// excusable reports whether a timer was so late that this process was stopped, or had no processor. A client that was
// there for the ping is not to blame then: its pong may have come and wait to be read. mu must be held.
func (s *Session) excusable(late time.Duration) bool {
	return s.reached && !s.excused && late > max(s.leastWait(), tardy)
}

// beatAfter sets the time of the next call of heartbeat. mu must be held.
func (s *Session) beatAfter(from time.Time, d time.Duration) {
	s.due = from.Add(d)
	s.timer.Reset(time.Until(s.due))
}

// expire ends a polling session if the pong is overdue, and reports whether it was. It is called for each request, because
// on a busy machine a request may overtake the timer. By then the client, too, has given up on a ping that was not sent.
func (s *Session) expire() bool {
	s.mu.Lock()
	late := time.Since(s.due)
	if !s.pinged {
		late -= s.server.cfg.PingTimeout
	}
	overdue := s.state == open && s.conn == nil && late >= 0 && !(s.pinged && s.excusable(late))
	s.mu.Unlock()
	if overdue {
		s.fail(PingTimeout)
	}
	return overdue
}

// isOpen says whether the session has not ended for its receiver.
func (s *Session) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == open
}

// isClosed says whether the session has ended and its client has been told.
func (s *Session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == closed
}

// usesWebSocket says whether the session has left polling behind.
func (s *Session) usesWebSocket() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil
}

// remoteIP is the address part of host:port.
func remoteIP(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport
	}
	return host
}
