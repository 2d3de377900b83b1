package edge

import (
	"sync"
	"sync/atomic"
	"time"

	"partyline/edge/registry"
	"partyline/edge/rule"
	"partyline/engine"
	"partyline/wire/sio"
)

// socket is one session in one namespace. Its Edge is a client.
type socket = registry.Socket[client]

// namespace is what lives of a namespace on this edge.
type namespace = registry.Namespace[client]

// client is what the edge keeps with a socket.
type client struct {
	conn   *connection // static
	rules  *rule.Rules // of its namespace; static
	auth   []byte      // what the client gave as auth, a JSON object; nil for nothing; static
	issued time.Time   // when the client asked to connect; static
	route  *route      // written before it is a member, static then: where its events go if it was claimed; nil if it was not

	request      *connectRequest // guarded by conn.mu: while services are asked about it
	repeated     bool            // guarded by conn.mu: they were asked more than once
	waiting      []*engine.Frame // guarded by conn.mu: frames that came before CONNECT
	waitingBytes int             // guarded by conn.mu
	asked        []*question     // guarded by conn.mu: whose acks are awaited, in the order of their ids
}

// connection is what a session means in Socket.IO: its sockets. It is the session's Receiver.
//
// A packet of its client takes no lock of the whole edge: sockets and what is in them are read atomically. What must go together
// with a frame to the client, such as CONNECT and a socket's becoming live, happens with mu held, so a socket's life only changes
// then.
type connection struct {
	edge    *Edge
	session *engine.Session
	request []byte                    // the members of the handshake that stay the same, as JSON; static
	dialect dialect                   // written by the session's reader before there is any socket, static then
	sockets atomic.Pointer[[]*socket] // replaced as a whole with mu held
	hold    atomic.Pointer[hold]      // what waits while the session is paused, nil while it is not; written with pauses.mu held
	partial *partial                  // owned by the session's reader: a packet whose attachments have not all come
	entered time.Time                 // owned by the session's reader: see pace

	mu      sync.Mutex
	timer   *time.Timer   // guarded by mu: ends a session that joins no namespace in time; nil once it has
	left    time.Duration // guarded by mu: how much of that time was left at since. It stands still while a service is asked
	since   time.Time     // guarded by mu
	closed  bool          // guarded by mu: the session has ended, no socket may begin
	waiting int           // guarded by mu: bytes that wait for the CONNECT of one of its sockets
	joining int           // guarded by mu: joins and leaves of the client that are not answered yet
}

// partial is a binary packet that waits for its attachments.
type partial struct {
	packet sio.Packet // Namespace and Data are copies
	got    [][]byte   // copies
	size   int        // bytes of Data and attachments
}

// all lists the session's sockets. The list must not be changed, and does not change. It takes no lock.
func (c *connection) all() []*socket {
	if list := c.sockets.Load(); list != nil {
		return *list
	}
	return nil
}

// socket is the session's socket in a namespace, or nil. It takes no lock. The socket may have gone a moment ago.
func (c *connection) socket(namespace []byte) *socket {
	for _, s := range c.all() {
		if s.Namespace.Name == string(namespace) {
			return s
		}
	}
	return nil
}

// isUsed reports whether the session has a socket that was admitted. It takes no lock.
func (c *connection) isUsed() bool {
	for _, s := range c.all() {
		if s.Life().IsMember() {
			return true
		}
	}
	return false
}

// isUndecided reports whether a service is asked about one of the session's sockets. mu must be held.
func (c *connection) isUndecided() bool {
	for _, s := range c.all() {
		if s.Edge.request != nil {
			return true
		}
	}
	return false
}

// pauseTimer stops the timer while a service is asked about a socket. mu must be held.
func (c *connection) pauseTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.left -= time.Since(c.since)
	}
}

// resumeTimer starts it again with the time that was left. mu must be held.
func (c *connection) resumeTimer() {
	if c.timer != nil {
		c.since = time.Now()
		c.timer.Reset(max(0, c.left))
	}
}

// stopTimer ends the timer. mu must be held.
func (c *connection) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// hasEnded reports whether the session has ended.
func (c *connection) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
