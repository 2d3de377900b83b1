package edge

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"partyline/edge/owner"
	"partyline/edge/recovery"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/eventlog"
	"partyline/subjects"
	"partyline/wire/eio"
	"partyline/wire/msg"
	wire "partyline/wire/recovery"
	"partyline/wire/sio"
)

// recoverable are the reasons of an end after which a client may come back (socket.io,
// RECOVERABLE_DISCONNECT_REASONS).
var recoverable = []string{
	"transport error", "transport close", "forced close", "ping timeout", "server shutting down", "forced server close",
}

// comesBack takes what a client shows to come back out of its auth, and reports whether it does. A claim is under way
// then.
func (c *connection) comesBack(a *arrival) bool {
	if a.rules.Recovery.For == 0 || c.edge.logged.table == nil {
		return false
	}
	auth, pid, offset, err := wire.TakeFromAuth(a.auth)
	if err != nil {
		return false
	}
	if a.auth = auth; pid != "" {
		c.claim(*a, pid, offset)
	}
	return pid != ""
}

// claim asks for the socket that a client wants back, and goes on with it, or with a new one.
func (c *connection) claim(a arrival, pid, offset string) {
	e, rules := c.edge, a.rules
	if !c.await(&a) {
		return
	}
	e.logged.table.Claim(rules.ConnectTimeout, pid, offset, string(a.Namespace), a.token, rules.Recovery.For, func(k *recovery.Ticket, claimed *recovery.Claimed, err error) {
		e.out.Do(func() {
			c.idle.Resume(false)
			if err != nil && recovery.Passes(err) {
				c.session.Close(engine.ForcedServerClose)
				return
			}
			if k != nil && a.shown != nil && claimed.Record.User != a.shown.User { // another user shows its pid
				k.Left(engine.TransportClose.String(), true, nil)
				k = nil
			}
			a.back = &comeback{k, claimed}
			c.begin(a)
		})
	})
}

// comeback is the end of a claim.
type comeback struct {
	ticket  *recovery.Ticket // nil: the socket is a new one
	claimed *recovery.Claimed
}

// arrive ends the claim, with its socket. It returns false if another edge has taken that over since. The connection's
// mu must be held.
func (b *comeback) arrive(c *connection, name string, s *socket) bool {
	c.arrived(name)
	k := b.ticket
	if k == nil {
		return true
	}
	if s.Edge.past != nil {
		s.Edge.past.stays = k.Stays()
	}
	s.ID, s.Edge.ticket, s.Edge.recovered = k.ID, k, &recovered{Claimed: b.claimed, shown: s.Edge.granted.Load()}
	s.Edge.group = b.claimed.Record.Group // unless a service decides otherwise
	return k.SetClient(s)
}

// recovered is what a socket keeps that was taken over, until its client has its CONNECT.
type recovered struct {
	*recovery.Claimed
	shown  *granted     // by the token of its client; static
	asked  uint64       // the position when services were asked; 0: none were, or it was not known; static then
	frames []*eio.Frame // what the client has missed; written by one goroutine before CONNECT
	before int          // how many of them come before CONNECT; the rest may be what a service says to the newcomer
	bytes  int          // of them

	isOwned atomic.Bool // an instance knows that it came back
}

// restore admits a socket that was taken over, unless a service is asked about it first. It runs on the bus's worker.
func (e *Edge) restore(s *socket) {
	switch o := s.Edge.owner; {
	case s.Edge.asking:
		s.Edge.recovered.asked = e.logged.position(s.Edge.ticket)
		e.owners.Ask(o)
	case o == nil:
		e.rewinds.between(s, func() { e.admit(s, shownBy(s), owner.Outcome{Verdict: owner.Admitted}) })
	default: // it is asked behind CONNECT
		e.rewinds.between(s, func() { e.admit(s, shownBy(s), ownedBefore) })
	}
}

// tellLate tells services of a socket that was taken over, or is to have an owner although it was admitted without one,
// once its CONNECT is out: what they emit then comes behind it. An owner is asked also about a socket that has ended
// meanwhile, because it must get the end. It runs on the bus's worker.
func (c *connection) tellLate(s *socket, isLive bool) {
	rules, r := s.Edge.rules, s.Edge.recovered
	hadOwner := r != nil && r.Record.Owner != ""
	if r != nil && !hadOwner && isLive && (!rules.AsksService() || !rules.Recovery.AskAgain) {
		c.edge.notice(s)
	}
	if hadOwner || s.Edge.owner != nil && !rules.AsksService() {
		c.edge.owners.Ask(s.Edge.owner)
	}
}

// ownedBefore is the outcome for a socket that an instance owned when it was taken over: all services know of it.
var ownedBefore = owner.Outcome{Verdict: owner.Owned, Open: true}

// withRecord adds what a socket had before to what it is admitted with.
func (r *recovered) withRecord(s *socket, a msg.Grant, isMade bool) msg.Grant {
	had, record := r.grant(), &r.Record
	for room := range record.Rooms {
		name, err := subjects.Room(room)
		isOver := s.Edge.granted.Load() != nil && slices.Contains(had.Rooms, name) // another token names its rooms
		if err == nil && !isOver && !s.Edge.rules.IsUserRoom(room) {
			a.Rooms = append(a.Rooms[:len(a.Rooms):len(a.Rooms)], name)
		}
	}
	if a.User == "" {
		a.User = record.User
	}
	if a.Data == nil {
		a.Data = record.Data
	}
	if !isMade {
		a.Inherit(&had)
	}
	return a
}

// grant is what the record says of what the socket may do.
func (r *recovered) grant() (g msg.Grant) {
	if r.Record.Grant != nil {
		g, _ = msg.ParseGrant(r.Record.Grant) // an edge wrote it
	}
	return g
}

// changedEarly notes that a socket that was taken over has joined or left rooms before its admission, which gives it
// the rooms of its record.
func (l *logged) changedEarly(s *socket, left []string) {
	r := s.Edge.recovered
	if r == nil || s.Life() >= registry.Subscribing {
		return
	}
	for _, room := range left {
		delete(r.Record.Rooms, room)
	}
	s.Edge.ticket.Changed(slices.Concat(slices.Collect(maps.Keys(r.Record.Rooms)), s.RoomNames()))
}

// settle gives a socket of a namespace with recovery what its client needs to come back, or what it has missed, and
// then its CONNECT. It runs on the bus's worker, once the socket's subscriptions are active.
func (e *Edge) settle(s *socket) {
	c, k, r := s.Edge.conn, s.Edge.ticket, s.Edge.recovered
	switch {
	case r == nil && !e.set.Bus.Connected():
		k.Forget()
		c.goLive(s)
	case r == nil:
		k.Settle(func() { c.goLive(s) })
	default:
		k.CatchUp(r.Claimed, func(event *eventlog.Entry) bool { return e.logged.replay(s, event) }, func(err error) {
			if err != nil {
				e.out.Do(func() { c.beginAnew(s, err) })
				return
			}
			save := k.SaveChanges
			if s.Edge.rules.Recovery.AskAgain { // a service may have changed all
				save = k.Save
			}
			save(func(bool) { c.goLive(s) })
		})
	}
}

// beginAnew gives a client that cannot be recovered a new socket, or has it come back once more. It runs on the bus's
// worker.
func (c *connection) beginAnew(s *socket, why error) {
	if recovery.Passes(why) {
		c.session.Close(engine.ForcedServerClose)
		return
	}
	c.edge.end(s, engine.TransportClose.String(), endSession, false)
	c.tellLate(s, false)
	c.arrive(arrival{
		Packet: sio.Packet{Type: sio.Connect, Namespace: []byte(s.Namespace.Name), Data: s.Edge.auth}, auth: s.Edge.auth,
		token: s.Namespace.Token, rules: s.Edge.rules, shown: s.Edge.recovered.shown,
	})
}

// takeMissed returns what a recovered client has missed, before its CONNECT and after it. mu must be held.
func (c *connection) takeMissed(s *socket) (before, after []*eio.Frame) {
	r := s.Edge.recovered
	if r == nil {
		return nil, nil
	}
	before, after = r.frames[:r.before], r.frames[r.before:]
	c.session.Charge(-r.bytes)
	r.frames, r.before, r.bytes = nil, 0, 0
	return before, after
}

// Renewed is called when the log was found, or made again, on a goroutine that may wait.
func (e *Edge) Renewed(epoch string) {
	if e.logged.table != nil {
		e.logged.table.Renewed(epoch)
	}
}

// KeepRecords looks after what lets clients come back, until ctx ends.
func (e *Edge) KeepRecords(ctx context.Context) {
	if e.logged.table != nil {
		e.logged.table.Run(ctx)
	}
}
