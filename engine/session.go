package engine

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"partyline/internal/turn"
	"partyline/wire/eio"
)

// closeTimeout is how long a closed session waits until its client has fetched the end. It is the reference server's.
const closeTimeout = 30 * time.Second

// Receiver gets what the client of a session sends. Handler makes one for each session. Its methods are called with no
// lock held and never at the same time, except that Beat, Upgraded and Closed may be called while Message runs.
type Receiver interface {
	// Message handles one message of the client. data is valid during the call only. It runs on the goroutine that
	// reads from the client, so if it blocks, it slows down this client and no other.
	Message(data []byte, binary bool)
	// Beat is called at each ping. wasRead reports whether the session was read all the time since the last one.
	Beat(wasRead bool)
	// Upgraded is called once the session has changed its transport to WebSocket, before a message that comes over it.
	Upgraded()
	// Closed is called exactly once, when the session has ended. No call of Message begins afterwards, and frames that
	// are sent afterwards are dropped.
	Closed(reason Reason)
}

// transport carries the queue of a session to its client. A session begins with polling or a WebSocket, and may change
// once, from the first to the second. Session.mu must be held for all methods, and none of them blocks.
type transport interface {
	kind() transportKind
	// writable reports whether a frame that comes to an empty queue leaves at once.
	writable() bool
	// flush starts to send the queue: with w as far as the client takes it at once, and what is left on another
	// goroutine. w may be nil.
	flush(w *writer)
	// finish sends what is queued and then ends the transport. The session is closing, and closed once its client has
	// been notified; reason is for a client that does not fetch the end.
	finish(reason Reason)
	// abort notifies the client of the end and ends the transport. The session is closed.
	abort()
}

// transportKind names a transport.
type transportKind uint8

const (
	kindPolling transportKind = iota
	kindWebSocket
	transportKinds
)

var transportNames = [transportKinds]string{kindPolling: "polling", kindWebSocket: "websocket"}

type state uint8

const (
	open    state = iota
	closing       // ended for the receiver; the client has not been notified
	closed
)

// Session is one Engine.IO connection (Engine.IO protocol v4).
type Session struct {
	id         string // static; a secret, since it lets its holder read and write the session
	server     *Server
	receiver   Receiver // static once the session can be reached
	address    string   // static; the client's IP address
	maxPayload int      // static

	in         sync.Mutex // held while packets are handled, so that those of a POST and of a new WebSocket do not mix
	lastPacket int64      // guarded by in: when it came, in Unix nanoseconds
	pacing     *pacing    // guarded by in: nil while the client sends little
	turn       *turn.Turn // guarded by in: of the goroutine that holds it

	gate atomic.Pointer[gate] // nil while the session is read; written with mu held

	mu        sync.Mutex
	state     state     // guarded by mu
	transport transport // guarded by mu
	queue     queue     // guarded by mu
	heartbeat heartbeat // guarded by mu
	listed    bool      // guarded by mu: a Fanout will flush the queue
}

// ID returns the session id. It is a secret of the client and must not be logged or published.
func (s *Session) ID() string { return s.id }

// Address returns the client's IP address, behind trusted proxies.
func (s *Session) Address() string { return s.address }

// Transport returns the name of the transport that the session has now: "polling" or "websocket".
func (s *Session) Transport() string { return transportNames[s.currentTransport().kind()] }

// Close sends what is queued and then closes the transport, which a client answers by coming back. The receiver's
// Closed runs at once, on the caller's goroutine. Later calls do nothing.
func (s *Session) Close(reason Reason) {
	s.mu.Lock()
	if s.state != open {
		s.mu.Unlock()
		return
	}
	s.state = closing
	s.heartbeat.timer.Stop()
	s.openGate()
	s.transport.finish(reason)
	s.mu.Unlock()
	s.server.ended(s, reason)
	s.receiver.Closed(reason)
}

// fail ends the session at once. What is queued is dropped.
func (s *Session) fail(reason Reason) {
	s.mu.Lock()
	before := s.state
	if before != closed {
		s.retire()
		s.queue.discard()
		s.transport.abort()
	}
	s.mu.Unlock()
	if before == open {
		s.server.ended(s, reason)
		s.receiver.Closed(reason)
	}
}

// retire is the only way to the state closed. It stops the timer and removes the session from the server. mu must be
// held.
func (s *Session) retire() {
	s.state = closed
	s.heartbeat.timer.Stop()
	s.openGate()
	s.server.remove(s)
}

// broken ends the session at once because of what the client sent, and logs it.
func (s *Session) broken(reason Reason, err error) {
	s.logFault(err)
	s.fail(reason)
}

// logFault logs what the client did wrong, if the session has not ended already.
func (s *Session) logFault(err error) {
	s.mu.Lock()
	first := s.state == open
	s.mu.Unlock()
	if first {
		s.server.set().Log.Info("invalid packet, closing the session", "error", err, "address", s.address)
	}
}

// packet handles one packet of the client, which had a size in bytes. Packets come in the order of arrival. in must be
// held.
func (s *Session) packet(p eio.Packet, size int, now time.Time) {
	before := s.received(size, now)
	s.takeTurn(size, now, p.Type == eio.Message && before > 0) // no pong, nor the CONNECT of many who come at once
	s.mu.Lock()
	if s.state != open || s.queue.exceeded != noLimit {
		s.mu.Unlock()
		return
	}
	s.heartbeat.received(p.Type == eio.Pong, &s.server.set().Config)
	s.mu.Unlock()
	switch p.Type {
	case eio.Message:
		s.server.stats.packetsIn.Inc()
		s.receiver.Message(p.Data, p.Binary)
	case eio.Ping:
		s.broken(TransportError, errors.New("engine.io: a ping from the client, which only the server may send"))
	}
}

// currentState returns the state.
func (s *Session) currentState() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// currentTransport returns the transport.
func (s *Session) currentTransport() transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport
}

// Reason is why a session ended. The log field, the label of the metric and the word that services read in a
// disconnect notice are made from it.
type Reason uint8

// Why a session ends.
const (
	TransportClose    Reason = iota // the client or the network closed the connection
	TransportError                  // the client broke the transport's rules: two polls, a ping, broken frames
	PingTimeout                     // no answer to a heartbeat in time
	ParseError                      // a packet that Engine.IO does not have
	ForcedClose                     // a packet that Socket.IO cannot decode
	ForcedServerClose               // by the server: packets out of order, no namespace in time, a service's request
	QueueOverflow                   // what is kept for the client exceeded a limit; the reference has no such reason
	ServerShutdown                  // the edge is leaving
	RateExceeded                    // the client sent more than its limits allow for too long; nor has it this one
	reasons
)

var reasonWords = [reasons]string{
	TransportClose:    "transport close",
	TransportError:    "transport error",
	PingTimeout:       "ping timeout",
	ParseError:        "parse error",
	ForcedClose:       "forced close",
	ForcedServerClose: "forced server close",
	QueueOverflow:     "queue overflow",
	ServerShutdown:    "server shutting down",
	RateExceeded:      "rate exceeded",
}

// String returns the reference server's name of the reason, and "unknown" for a value that is none.
func (r Reason) String() string {
	if r < reasons {
		return reasonWords[r]
	}
	return "unknown"
}
