package edge

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// connection is what a session means in Socket.IO: its sockets. It is the session's Receiver.
type connection struct {
	edge    *Edge
	session *engine.Session
	request []byte      // the members of the handshake that stay the same, as JSON; static
	timer   *time.Timer // guarded by Edge.mu: ends a session that joins no namespace in time; nil once it has
	// left is how much of that time was left at since. The timer stands still while a service is asked about a socket.
	left  time.Duration // guarded by Edge.mu
	since time.Time     // guarded by Edge.mu

	hold    atomic.Pointer[hold] // what waits while the session is paused, nil while it is not; written with Edge.mu held
	sockets []*socket            // guarded by Edge.mu
	closed  bool                 // guarded by Edge.mu: the session has ended, no socket may begin
	waiting int                  // guarded by Edge.mu: bytes that wait for the CONNECT of one of its sockets
	partial *partial             // owned by the session's reader: a packet whose attachments have not all come
	dialect dialect              // written by the session's reader before there is any socket, static then
	joining int                  // guarded by Edge.mu: joins and leaves of the client that are not answered yet
	entered time.Time            // owned by the session's reader: see pace
}

// partial is a binary packet that waits for its attachments.
type partial struct {
	packet sio.Packet // Namespace and Data are copies
	got    [][]byte   // copies
	size   int        // bytes of Data and attachments
}

// Accept makes the receiver of a session. It is the engine's Handler.
func (e *Edge) Accept(session *engine.Session, o *engine.Opening) engine.Receiver {
	c := &connection{edge: e, session: session, request: requestJSON(o), left: e.set.ConnectTimeout, since: time.Now()}
	e.mu.Lock()
	defer e.mu.Unlock()
	c.timer = time.AfterFunc(e.set.ConnectTimeout, func() {
		e.mu.Lock()
		idle := c.timer != nil && !c.isUndecided()
		e.mu.Unlock()
		if idle {
			session.Close(engine.ForcedServerClose)
		}
	})
	return c
}

// requestJSON is the part of a handshake that the opening request gives.
func requestJSON(o *engine.Opening) []byte {
	r := msg.Request{
		Query: make(map[string]string, len(o.Query)), Headers: make(map[string]string, len(o.Header)+1),
		Address: o.Address, URL: o.URL, Secure: o.Secure, XDomain: o.Header.Get("Origin") != "",
	}
	for name, values := range o.Query {
		r.Query[name] = values[len(values)-1]
	}
	r.Headers["host"] = latin1(o.Host)
	for name, lines := range o.Header {
		r.Headers[strings.ToLower(name)] = latin1(headerValue(name, lines))
	}
	return r.JSON()
}

// handshake is the handshake of a socket as services read it, a JSON object.
func (c *connection) handshake(s *socket) []byte {
	return msg.AppendHandshake(nil, s.id, s.auth, s.issued, c.request)
}

// Closed ends all sockets of the session.
func (c *connection) Closed(reason engine.Reason) {
	c.edge.mu.Lock()
	c.stopTimer()
	c.closed = true
	h := c.hold.Load()
	if h != nil {
		h.pauses = nil
		h.paused.Store(false)
	}
	c.edge.mu.Unlock()
	if h == nil {
		c.endSockets(reason)
		return
	}
	c.edge.out.Do(func() { // the client sent what is held before it went
		c.edge.publishHeld(h, math.MaxInt)
		c.edge.dropHeld(h)
		c.endSockets(reason)
	})
}

// endSockets ends all sockets of a session that has ended.
func (c *connection) endSockets(reason engine.Reason) {
	c.edge.mu.Lock()
	sockets := slices.Clone(c.sockets)
	c.edge.mu.Unlock()
	for _, s := range sockets {
		c.edge.end(s, reason.String(), endSession, false)
	}
}

// forget needs Edge.mu.
func (c *connection) forget(s *socket) {
	if i := slices.Index(c.sockets, s); i >= 0 {
		c.sockets = slices.Delete(c.sockets, i, i+1)
	}
}

// socket is the session's socket in a namespace, in any state but gone, or nil.
func (c *connection) socket(namespace []byte) *socket {
	c.edge.mu.Lock()
	defer c.edge.mu.Unlock()
	for _, s := range c.sockets {
		if s.ns.name == string(namespace) {
			return s
		}
	}
	return nil
}

// Errors that end a session as the reference's decoder errors do ("forced close"); the log names them.
var (
	errPlainInside  = errors.New("text while binary attachments are due")
	errBinary       = errors.New("binary data without a packet that announces it")
	errPayload      = errors.New("invalid payload")
	errEventTooBig  = errors.New("an event with its attachments is larger than max_payload")
	errTooManyJoins = errors.New("too many joins and leaves under way")
)

// invalid ends the session because of a packet that cannot be decoded.
func (c *connection) invalid(err error) {
	c.expel(engine.ForcedClose, "invalid packet, closing the session", "error", err)
}

// outOfTurn ends the session because of a packet that has no place in its state.
func (c *connection) outOfTurn(p sio.Packet) {
	c.expel(engine.ForcedServerClose, "packet out of turn, closing the session", "type", string(p.Type))
}

// expel ends the session and says why in the log, unless it has ended already: then its sockets are gone, and any packet
// that was on its way is out of turn.
func (c *connection) expel(reason engine.Reason, what, name string, value any) {
	c.edge.mu.Lock()
	ended := c.closed
	c.edge.mu.Unlock()
	if !ended {
		c.edge.log.Info(what, name, value, "address", c.session.Address())
		c.session.Close(reason)
	}
}

// Message takes one Engine.IO message: a packet, or an attachment of the one before.
func (c *connection) Message(data []byte, binary bool) {
	if c.hears(binary) == speaksMsgpack {
		c.unpack(data, binary)
		return
	}
	if binary {
		c.attachment(data)
		return
	}
	if c.partial != nil {
		c.invalid(errPlainInside)
		return
	}
	p, err := sio.Parse(data)
	if err != nil {
		c.invalid(err)
		return
	}
	switch p.Type {
	case sio.BinaryEvent, sio.BinaryAck:
		if err := checkPayload(p); err != nil {
			c.invalid(err)
			return
		}
		c.partial = &partial{packet: p, size: len(p.Data)}
		c.partial.packet.Namespace, c.partial.packet.Data = slices.Clone(p.Namespace), slices.Clone(p.Data)
	default:
		c.packet(p, nil)
	}
}

// attachment takes one binary message.
func (c *connection) attachment(data []byte) {
	part := c.partial
	if part == nil {
		c.invalid(errBinary)
		return
	}
	if part.size += len(data); part.size > c.edge.set.MaxPayload() {
		c.invalid(errEventTooBig)
		return
	}
	part.got = append(part.got, slices.Clone(data))
	if len(part.got) < part.packet.Attachments {
		return
	}
	c.partial = nil
	if part.packet.Data != nil {
		if err := msg.CheckPlaceholders(part.packet.Data, len(part.got)); err != nil {
			c.invalid(err)
			return
		}
	}
	c.packet(part.packet, part.got)
}

// packet acts on a whole packet (reference: socket.io, client.ts ondecoded).
func (c *connection) packet(p sio.Packet, attachments [][]byte) {
	if p.Type == sio.Event || p.Type == sio.BinaryEvent {
		c.event(p, attachments)
		return
	}
	if err := checkPayload(p); err != nil {
		c.invalid(err)
		return
	}
	if p.Type == sio.Connect {
		if c.holdConnect(p) {
			return
		}
		if c.connect(p); c.socket(p.Namespace) != nil {
			c.pace()
		}
		return
	}
	s := c.socket(p.Namespace)
	switch {
	case s == nil || s.state.Load() != live || p.Type == sio.ConnectError:
		c.outOfTurn(p)
	case p.Type == sio.Disconnect && c.holdPacket(s, p, nil, nil):
	case p.Type == sio.Disconnect:
		c.edge.end(s, socketEndWords[endClient], endClient, false)
	default:
		c.edge.clientAck(s, p, attachments)
	}
}

// checkPayload judges a packet's data by its type (reference: socket.io-parser, isPayloadValid). Without data any packet
// is valid.
func checkPayload(p sio.Packet) error {
	if p.Data == nil {
		return nil
	}
	switch p.Type {
	case sio.Connect:
		return msg.CheckObject(p.Data)
	case sio.BinaryEvent:
		_, err := msg.EventName(nil, p.Data)
		return err
	case sio.Ack, sio.BinaryAck:
		return msg.CheckArray(p.Data)
	case sio.Disconnect:
		return errPayload
	}
	return nil
}

// connect begins the admission to a namespace.
func (c *connection) connect(p sio.Packet) {
	e, name := c.edge, string(p.Namespace)
	token, err := subjects.AppendNamespace(nil, name)
	if err != nil {
		c.invalid(fmt.Errorf("namespace: %w", err))
		return
	}
	rules := e.rules.find(name)
	if rules == nil {
		c.refuse(name, refusalWords[refusedNamespace], nil, refusedNamespace)
		return
	}
	if c.socket(p.Namespace) != nil {
		c.outOfTurn(p)
		return
	}
	s := &socket{id: e.newSocketID(), conn: c, index: -1, auth: slices.Clone(p.Data), issued: time.Now()}
	e.mu.Lock()
	if c.closed { // while this packet was on its way
		e.mu.Unlock()
		return
	}
	if limit := e.set.Limits.NamespacesPerSession; limit > 0 && len(c.sockets) >= limit {
		e.mu.Unlock()
		c.refuse(name, refusalWords[refusedLimit], nil, refusedLimit)
		return
	}
	s.ns = e.enter(name, string(token), rules)
	e.sockets[s.id] = s
	c.sockets = append(c.sockets, s)
	if rules.Connect != ConnectOpen {
		if !c.isUndecided() {
			c.pauseTimer()
		}
		s.request = e.requests.add(s, s.issued)
	}
	e.mu.Unlock()
	// The worker asks, once the newcomer's subscriptions are in place; it also publishes the disconnect notice, so that
	// the two cannot overtake each other.
	e.out.AfterSubscribedOrOffline(func() { e.knock(s) })
}

// knock publishes the connect request, or the notice of an open namespace.
func (e *Edge) knock(s *socket) {
	if s.ns.rules.Connect != ConnectOpen {
		e.ask(s)
		return
	}
	if s.state.Load() == gone {
		return
	}
	subject := e.prefix.AppendOn(nil, s.ns.token, msg.EventConnect)
	if err := e.up.Publish(subject, e.address(nil, s), nil, msg.Connect(s.conn.handshake(s), nil)); err != nil {
		e.complaints.about(string(subject), "a connect notice could not be published", err)
	}
	e.admit(s, msg.Admission{}, "", "")
}

// admit makes a socket a member of its namespace and its first rooms; CONNECT follows when the subscriptions hold. group
// and owner are who claims its events, "" for nobody.
func (e *Edge) admit(s *socket, a msg.Admission, group, owner string) {
	tokens, err := roomTokens(append(slices.Clone(s.ns.rules.AutoJoin), a.Rooms...))
	e.mu.Lock()
	if s.state.Load() != admitting || s.admitted {
		e.mu.Unlock()
		return
	}
	if err == nil {
		err = e.join(s, tokens)
	}
	if err != nil {
		e.mu.Unlock()
		e.complaints.about(s.ns.name, "a service admitted a socket to rooms that cannot be", err)
		e.reject(s, refusalWords[refusedAnswer], nil, refusedAnswer)
		return
	}
	s.admitted, s.user, s.data = true, a.User, slices.Clone(a.Data)
	e.decided(s)
	switch {
	case owner != "":
		s.route = &route{socket: s, to: owner}
		e.own(s.route, group, owner)
	case group != "":
		s.route = &route{socket: s, to: group}
	}
	e.appear(s)
	e.mu.Unlock()
	e.out.AfterSubscribedOrOffline(func() { e.goLive(s) })
}
