package edge

import (
	"fmt"
	"slices"
	"time"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/internal/ids"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// connect begins the admission to a namespace. It reports whether that costs something.
func (c *connection) connect(p sio.Packet) bool {
	e, name := c.edge, string(p.Namespace)
	token, err := subjects.AppendNamespace(nil, name)
	if err != nil {
		c.invalid(fmt.Errorf("namespace: %w", err))
		return false
	}
	rules := e.rules.Find(name)
	if rules == nil {
		c.refuse(name, refusalWords[refusedNamespace], nil, refusedNamespace)
		return false
	}
	a := arrival{Packet: p, auth: p.Data, token: string(token), rules: rules}
	if rules.Connect == rule.ConnectToken {
		c.showToken(a)
		return true
	}
	c.arrive(a)
	return c.socket(p.Namespace) != nil
}

// arrive makes the socket of a CONNECT, a new one or that which the client wants back.
func (c *connection) arrive(a arrival) {
	if !c.comesBack(&a) {
		c.begin(a)
	}
}

// begin makes the socket of a CONNECT.
func (c *connection) begin(a arrival) {
	e, p, name := c.edge, a.Packet, string(a.Namespace)
	s := &socket{ID: ids.New(e.set.ID), Edge: client{
		conn: c, rules: a.rules, auth: slices.Clone(a.auth), issued: time.Now(),
	}}
	if len(a.rules.Rewind) > 0 {
		s.Edge.past = new(past)
	}
	s.Edge.granted.Store(a.shown)
	entered, isOutOfTurn, isOneTooMany := c.enter(s, &a)
	if !entered && s.Edge.ticket != nil { // the client has gone again
		s.Edge.ticket.Left(engine.TransportClose.String(), true, nil)
	}
	switch {
	case entered:
		// The worker asks, once the socket's subscriptions are active. It also publishes the disconnect notice, so
		// that the two cannot overtake each other.
		e.out.AfterSubscribedOrOffline(func() { e.announce(s) })
	case isOutOfTurn:
		c.outOfTurn(p)
	case isOneTooMany:
		c.refuse(name, refusalWords[refusedLimit], nil, refusedLimit)
	}
}

// enter puts a new socket into the registry, unless its CONNECT must wait for the decision about an earlier one, or
// has no place. All three are false if it waits, or the session has ended meanwhile.
func (c *connection) enter(s *socket, a *arrival) (entered, isOutOfTurn, isOneTooMany bool) {
	e, p, rules, name := c.edge, a.Packet, s.Edge.rules, string(a.Namespace)
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.back != nil && !a.back.arrive(c, name, s) {
		s.Edge.ticket = nil // it is another edge's
		e.out.Do(func() { c.session.Close(engine.ForcedServerClose) })
		return false, false, false
	}
	waits, isOutOfTurn := c.queueConnect(p)
	limit := e.limits.Load().NamespacesPerSession
	switch {
	case c.closed || waits:
		return false, false, false
	case isOutOfTurn:
		return false, true, false
	case limit > 0 && len(c.all()) >= limit:
		return false, false, true
	}
	c.session.Charge(cap(s.Edge.auth))
	e.reg.Enter(s, name, a.token, rules.IsLogged(), rules.AutoJoin)
	e.logged.keepFor(s, name, a.token)
	list := append(slices.Clone(c.all()), s)
	c.sockets.Store(&list)
	switch r := s.Edge.recovered; {
	case r != nil && r.Record.Owner != "":
		s.Edge.owner = e.owners.Recover(ownedSocket{s}, r.Record.Owner, r.Record.Group, r.Record.Assignment, rules.Recovery.AskAgain)
		s.Edge.asking = rules.Recovery.AskAgain
	case rules.AsksService() && (r == nil || rules.Recovery.AskAgain):
		s.Edge.asking, s.Edge.owner = true, e.owners.Begin(ownedSocket{s})
	}
	if s.Edge.asking {
		c.idle.Pause()
	}
	return true, false, false
}

// announce publishes the connect request, or the notice of an open namespace. It runs on the bus's worker.
func (e *Edge) announce(s *socket) {
	defer func() {
		c := s.Edge.conn
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.Edge.announced = true; s.Life() == registry.Gone {
			c.session.Charge(-cap(s.Edge.auth))
		}
	}()
	switch {
	case s.Edge.recovered != nil:
		e.restore(s)
		return
	case s.Edge.rules.AsksService():
		e.owners.Ask(s.Edge.owner)
		return
	case s.Life() == registry.Gone:
		return
	}
	e.notice(s)
	e.rewinds.between(s, func() { e.admit(s, shownBy(s), owner.Outcome{Verdict: owner.Admitted}) })
}

// admit makes a socket a member of its namespace and its first rooms. CONNECT follows when the subscriptions are
// active. It returns false if the socket was refused, because its rooms cannot be.
func (e *Edge) admit(s *socket, d *decision, out owner.Outcome) bool {
	c, k, given := s.Edge.conn, s.Edge.ticket, d.Grant
	if r := s.Edge.recovered; r != nil {
		given = r.withRecord(s, d.Grant, d.isMade)
	}
	names, err := s.Edge.rules.RoomsOf(&given)
	var rooms []string
	if err == nil {
		rooms, err = subjects.RoomTokens(append(slices.Clone(s.Edge.rules.AutoJoin), names...))
	}
	position := e.logged.position(k) // before it can receive anything
	entered := s.Edge.past.without(s, rooms)
	c.mu.Lock()
	if s.Life() >= registry.Subscribing {
		c.mu.Unlock()
		return true
	}
	if err == nil {
		e.findOwner(s, d, out)
		e.grants.begin(s, d.Grant, d.isMade) // before it is a member, which the verb grant may change
		_, err = e.reg.Admit(s, registry.Admission{Rooms: rooms, User: given.User, Data: slices.Clone(given.Data)})
	}
	if err != nil {
		c.mu.Unlock()
		e.complaints.about(s.Namespace.Name, "a socket was admitted to rooms that cannot be", err)
		c.reject(s, refusalWords[refusedAnswer], nil, refusedAnswer)
		return false
	}
	e.entered(s, rooms)
	if s.Edge.asking {
		s.Edge.asking = false
		c.idle.Resume(true)
	}
	if k != nil {
		k.Enter(s.RoomNames(), position)
	}
	if v, _ := e.reg.View(s); v.Rev > 0 {
		e.changed(s, nil) // before it had an owner that could be notified
	}
	if s.Edge.noticed {
		e.out.Do(func() { e.notice(s) })
	}
	c.mu.Unlock()
	e.rewinds.entered(s, entered, byRule)
	switch { // goLive follows
	case k == nil:
		e.out.AfterSubscribedOrOffline(func() { c.goLive(s) })
	case k.Recovered:
		e.out.AfterSubscribed(func() { e.settle(s) })
	default:
		e.out.AfterSubscribedOrOffline(func() { e.settle(s) })
	}
	return true
}

// goLive sends CONNECT to the client and what waited for it, and lets the rest through. It runs once the
// socket's subscriptions are active.
func (c *connection) goLive(s *socket) {
	c.mu.Lock()
	isReady := s.Life() == registry.Subscribing
	if isReady {
		c.sendConnect(s)
	}
	c.mu.Unlock()
	if isReady {
		c.session.Write()
		connectAgain(c, s.Namespace.Name)
	}
	if s.Edge.recovered != nil || s.Edge.owner != nil {
		c.edge.out.Do(func() { c.tellLate(s, isReady) })
	}
}

// sendConnect queues CONNECT and what waited for it, and makes the socket live; the caller has the session write it.
// mu must be held.
func (c *connection) sendConnect(s *socket) {
	k, pid := s.Edge.ticket, ""
	missed, waiting := c.takeMissed(s)
	if k != nil {
		for _, f := range missed { // the official client keeps them until it has its CONNECT
			c.session.Queue(f)
		}
		pid = k.Known()
	}
	c.session.Queue(c.frame(&packet{kind: sio.Connect, namespace: s.Namespace.Name, body: msg.Connected(s.ID, pid)}))
	waiting = append(waiting, s.Edge.waiting...)
	c.waiting -= s.Edge.waitingBytes
	c.session.Charge(-s.Edge.waitingBytes) // before they count in the queue
	s.Edge.waiting, s.Edge.waitingBytes = nil, 0
	for _, f := range waiting {
		c.session.Queue(f)
	}
	if k != nil {
		k.Waits.Store(false)
	}
	c.edge.reg.GoLive(s) // behind CONNECT: from now on frames go to the session directly
	c.idle.Stop()
}

// reject refuses a socket, unless it was admitted.
func (c *connection) reject(s *socket, message string, data []byte, kind int) {
	if c.turnAway(s, message) {
		c.refuse(s.Namespace.Name, message, data, kind)
	}
}

// turnAway ends the admission of a socket without a word to its client. It returns false if the socket was admitted,
// or has gone.
func (c *connection) turnAway(s *socket, message string) bool {
	c.mu.Lock()
	if s.Life() >= registry.Subscribing {
		c.mu.Unlock()
		return false
	}
	c.edge.remove(s, message)
	o := s.Edge.owner
	c.mu.Unlock()
	if k := s.Edge.ticket; k != nil {
		k.Left("", false, nil) // refused
	}
	if o != nil {
		c.edge.owners.End(o, nil, msg.Ended{Reason: message}.Body())
	}
	connectAgain(c, s.Namespace.Name)
	return true
}

// refuse answers a CONNECT with CONNECT_ERROR. data is JSON, or nil for none.
func (c *connection) refuse(namespace, message string, data []byte, kind int) {
	c.edge.stats.connectRefused[kind].Inc()
	c.edge.complaints.refused(namespace, message, kind, c.session.Address())
	c.session.Send(c.frame(&packet{kind: sio.ConnectError, namespace: namespace, body: msg.ConnectError(message, data)}))
}

// end takes a socket out of its namespace and notifies services, with tell also the client. why is the
// reason in the reference's words, kind the one for the count.
func (e *Edge) end(s *socket, why string, kind int, tell bool) {
	c := s.Edge.conn
	c.mu.Lock()
	if tell && s.Life() == registry.Subscribing {
		// Who ends it knows of its admission, or made it, and may have sent more: that reaches the client first.
		c.sendConnect(s)
	}
	ended := e.remove(s, why)
	o := s.Edge.owner
	if ended != nil && tell && ended.Was >= registry.Live {
		// Before the reader finds no socket for the client's next packet, and closes the session.
		c.session.Queue(c.frame(&packet{kind: sio.Disconnect, namespace: s.Namespace.Name}))
	}
	c.mu.Unlock()
	if ended == nil {
		return
	}
	defer connectAgain(c, s.Namespace.Name)
	e.stats.disconnected[kind].Inc()
	switch {
	case tell && ended.Was < registry.Live: // the client knows of no connection that could end
		c.refuse(s.Namespace.Name, why, nil, refusedByService)
	case tell:
		c.session.Write()
	}
	notice, header := msg.Ended{Reason: why, Rooms: subjects.RoomNames(ended.Rooms)}, bus.Header(nil)
	if user := s.User(); user != "" {
		header = bus.Header{msg.HeaderUser: {user}}
	}
	if o != nil && s.Edge.ticket != nil { // the socket may be another edge's before its owner reads this
		_, _, notice.Assignment = e.owners.Of(o)
	}
	body := notice.Body()
	if k := s.Edge.ticket; k != nil && (ended.Was.IsMember() || k.Recovered) {
		k.Left(why, kind == endSession && slices.Contains(recoverable, why), func() { e.tellEnd(s, o, header, body) })
		return
	}
	e.tellEnd(s, o, header, body)
}

// tellEnd tells services that a socket has ended. It never waits.
func (e *Edge) tellEnd(s *socket, o *owner.Socket, header bus.Header, body []byte) {
	if o != nil && !e.owners.End(o, header, body) {
		return // no service was asked. While NATS is away, clients that come and go must not fill the place of notices that services need
	}
	subject := e.prefix.AppendOn(nil, s.Namespace.Token, msg.EventDisconnect)
	e.out.Later(bus.Letter{Subject: string(subject), Reply: string(e.answers.address(nil, s)), Header: header, Body: body, Keep: true})
	if s.Edge.group != "" {
		e.answers.tellOwner(s.Namespace.Token, s.Edge.group, msg.EventDisconnect, string(e.answers.address(nil, s)), header, body, true)
	}
}

// remove takes a socket out of the registry and forgets what the edge keeps with it. It returns nil if that has been
// done before. why is the reason of its end. Its connection's mu must be held.
func (e *Edge) remove(s *socket, why string) *registry.End[client] {
	ended := e.reg.Remove(s).Ended
	if ended == nil {
		return nil
	}
	c := s.Edge.conn
	if s.Edge.asking {
		s.Edge.asking = false
		c.idle.Resume(false)
	}
	if len(s.Edge.asked) > 0 {
		e.out.Do(func() { e.asks.abandon(s) })
	}
	e.pauses.endOf(c, func(one pause) bool { return one.socket == s }, false)
	c.waiting -= s.Edge.waitingBytes
	c.session.Charge(-s.Edge.waitingBytes)
	s.Edge.waiting, s.Edge.waitingBytes = nil, 0
	e.logged.release(s, ended.Was)
	if s.Edge.announced {
		c.session.Charge(-cap(s.Edge.auth))
	}
	s.Edge.granted.Load().stop()
	list := slices.DeleteFunc(slices.Clone(c.all()), func(other *socket) bool { return other == s })
	c.sockets.Store(&list)
	if ended.Was.IsMember() {
		s.Edge.rules.Sockets.Add(-1)
		e.touch(s, why, ended.Rooms)
		if !c.closed {
			e.out.Do(c.endOverdue)
		}
	}
	return ended
}

// disconnect ends sockets, or their sessions and so their other sockets, too (reference: socket.disconnect). A client
// whose transport is closed receives no DISCONNECT, so it comes back. Events of sockets that end here are not held any
// longer: they are dropped.
func (e *Edge) disconnect(sockets []*socket, ending msg.Ending) {
	for _, s := range sockets {
		if ending == msg.EndSocket {
			e.end(s, socketEndWords[endServer], endServer, true)
			continue
		}
		for _, other := range s.Edge.conn.all() {
			if ending == msg.CloseTransport {
				e.end(other, engine.ForcedServerClose.String(), endSession, false)
			} else {
				e.end(other, socketEndWords[endServer], endServer, true)
			}
		}
		s.Edge.conn.session.Close(engine.ForcedServerClose)
	}
}
