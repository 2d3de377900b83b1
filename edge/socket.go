package edge

import (
	"sync/atomic"
	"time"

	"partyline/bus"
	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// The life of a socket. It changes only while Edge.mu is held and is read without.
const (
	admitting int32 = iota // CONNECT has not been sent: what is for it waits
	live
	gone
)

// socket is one session in one namespace.
type socket struct {
	id     string      // public; static
	ns     *namespace  // static
	conn   *connection // static
	auth   []byte      // what the client gave as auth, a JSON object; nil for nothing; static
	issued time.Time   // when the client asked to connect; static

	state        atomic.Int32
	admitted     bool            // guarded by Edge.mu: it is a member and will be live soon
	user         string          // guarded by Edge.mu until live, static then
	data         []byte          // guarded by Edge.mu: what services keep with the socket, a JSON object; nil for nothing; never changed in place
	rev          uint64          // guarded by Edge.mu: counts changes of rooms and data since the admission
	route        *route          // guarded by Edge.mu until live, static then: where the events of a claimed socket go; nil for one that nobody claimed
	request      *connectRequest // guarded by Edge.mu: while services are asked about it
	repeated     bool            // guarded by Edge.mu: they were asked more than once
	unheard      bool            // guarded by Edge.mu: it went before they were asked
	index        int             // guarded by Edge.mu: place among the namespace's members, -1 for none
	rooms        []membership    // guarded by Edge.mu
	waiting      []*engine.Frame // guarded by Edge.mu: what came before CONNECT
	waitingBytes int             // guarded by Edge.mu
	mark         uint64          // guarded by Edge.mu: see Edge.union
	asked        []*question     // guarded by Edge.mu: whose acks are waited for, in the order of their ids
}

// find is the place of a room among the socket's, -1 for none, such as for nil. Needs Edge.mu.
//
// It compares no names, and does not look for a room that nobody is in: a client may try to join a million of them.
func (s *socket) find(r *room) int {
	if r == nil {
		return -1
	}
	for i := range s.rooms {
		if s.rooms[i].room == r {
			return i
		}
	}
	return -1
}

// roomTokens is the socket's rooms as in subjects. Edge.mu must be held.
func (s *socket) roomTokens() []string {
	tokens := make([]string, len(s.rooms))
	for i := range s.rooms {
		tokens[i] = s.rooms[i].room.name
	}
	return tokens
}

// address is the subject that reaches the socket, which names it as a sender.
func (e *Edge) address(dst []byte, s *socket) []byte {
	return e.prefix.AppendToSocket(dst, s.ns.token, subjects.VerbEmit, s.id)
}

// deliver hands a frame to a socket, or keeps it until the socket's CONNECT is out. It is only called in the turn of
// Listen, so that frames keep their order. It returns what became of the frame: queued also while it waits.
func (e *Edge) deliver(s *socket, f *engine.Frame) engine.Sent {
	if s.state.Load() != admitting {
		return e.toClient(s, f)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.state.Load() != admitting { // since just now
		return e.toClient(s, f)
	}
	e.stats.deliveries.Add(f.Messages())
	if s.conn.waiting+s.conn.session.Waiting()+f.Size() > e.set.QueueBytes {
		if !s.conn.closed {
			session := s.conn.session
			s.conn.closed = true
			e.out.Do(func() { session.Close(engine.QueueOverflow) })
		}
		return engine.Overflow
	}
	s.waiting = append(s.waiting, f)
	s.waitingBytes += f.Size()
	s.conn.waiting += f.Size()
	return engine.Queued
}

// toClient hands a frame to the session of a socket whose CONNECT is out.
func (e *Edge) toClient(s *socket, f *engine.Frame) engine.Sent {
	if s.state.Load() == gone {
		return engine.Gone
	}
	e.stats.deliveries.Add(f.Messages())
	sent := e.round.Send(s.conn.session, f)
	if sent == engine.Dropped {
		e.stats.volatileDropped.Inc()
	}
	return sent
}

// goLive tells the client that it is connected, hands over what waited, and lets the rest through. It runs once the
// socket's subscriptions hold.
func (e *Edge) goLive(s *socket) {
	e.mu.Lock()
	goes := s.state.Load() == admitting
	if goes {
		e.welcome(s)
	}
	e.mu.Unlock()
	if goes {
		s.conn.session.Write()
	}
}

// welcome queues CONNECT and what waited for it; the caller has the session write it. Needs mu.
func (e *Edge) welcome(s *socket) {
	body := append(msg.AppendString([]byte(`{"sid":`), s.id), '}')
	s.conn.session.Queue(s.conn.frame(&parcel{kind: sio.Connect, namespace: s.ns.name, body: body}))
	for _, f := range s.waiting {
		s.conn.session.Queue(f)
	}
	s.conn.waiting -= s.waitingBytes
	s.waiting, s.waitingBytes = nil, 0
	s.state.Store(live)
	s.conn.stopTimer()
}

// end takes a socket out of its namespace and tells services; tell says whether the client is told, too. why is the
// reason in the reference's words, kind the one for the count.
func (e *Edge) end(s *socket, why string, kind int, tell bool) {
	e.mu.Lock()
	before := s.state.Load()
	if before == gone {
		e.mu.Unlock()
		return
	}
	if tell && before == admitting && s.admitted {
		// Who ends it has heard of its admission, or said it, and may have said more: that reaches the client first.
		e.welcome(s)
		before = live
	}
	rooms := e.vanish(s)
	unheard := s.unheard
	e.mu.Unlock()
	e.stats.disconnected[kind].Inc()
	switch {
	case tell && before == admitting: // the client knows of no connection that could end
		s.conn.refuse(s.ns.name, why, nil, refusedByService)
	case tell:
		s.conn.session.Send(s.conn.frame(&parcel{kind: sio.Disconnect, namespace: s.ns.name}))
	}
	if unheard { // while NATS is away, clients that come and go must not fill the place of notices that services need
		return
	}
	body := msg.Ended{Reason: why, Rooms: roomNames(rooms)}.Body()
	subject := e.prefix.AppendOn(nil, s.ns.token, msg.EventDisconnect)
	e.out.Later(bus.Letter{Subject: string(subject), Reply: string(e.address(nil, s)), Header: userHeader(s.user), Body: body, Keep: true})
	if s.route != nil {
		e.out.Do(func() { e.endRoute(s.route, userHeader(s.user), body) })
	}
}

// refuse answers a CONNECT with CONNECT_ERROR. data is JSON, or nil for none.
func (c *connection) refuse(namespace, message string, data []byte, kind int) {
	c.edge.stats.connectRefused[kind].Inc()
	c.edge.complainRefused(namespace, message, kind, c.session.Address())
	body := msg.AppendString([]byte(`{"message":`), message)
	if data != nil {
		body = append(append(body, `,"data":`...), data...)
	}
	c.session.Send(c.frame(&parcel{kind: sio.ConnectError, namespace: namespace, body: append(body, '}')}))
}

// reject ends the admission of a socket.
func (e *Edge) reject(s *socket, message string, data []byte, kind int) {
	e.mu.Lock()
	if s.state.Load() == gone || s.admitted {
		e.mu.Unlock()
		return
	}
	e.vanish(s)
	e.mu.Unlock()
	s.conn.refuse(s.ns.name, message, data, kind)
}

// answer publishes an answer to a request from NATS, from the bus's worker.
func (e *Edge) answer(m *bus.Message, header bus.Header, body []byte) {
	if m.Reply == "" || e.withheld(m) {
		return
	}
	e.out.Later(bus.Letter{Subject: m.Reply, Header: header, Body: body})
}

// withheld says whether the reply subject of a request is one that gets no answer, and counts it.
func (e *Edge) withheld(m *bus.Message) bool {
	if !e.prefix.Covers(m.Reply) && m.Reply[0] != '$' {
		return false
	}
	// NATS does not check that the asker may publish to the reply subject; the edge would do it in its name.
	e.stats.answersWithheld.Inc()
	e.complaints.about(m.Subject, "withheld an answer", errWithheld)
	return true
}

// answerError answers a request with an error.
func (e *Edge) answerError(m *bus.Message, message string) {
	e.answer(m, bus.Header{msg.HeaderError: {message}}, nil)
}
