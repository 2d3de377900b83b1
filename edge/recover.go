package edge

import (
	"context"
	"slices"
	"sync/atomic"

	"partyline/edge/owner"
	"partyline/edge/recovery"
	"partyline/engine"
	"partyline/eventlog"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
	wire "partyline/wire/recovery"
	"partyline/wire/sio"
)

// recoverable are the reasons of an end after which a client may come back (socket.io, RECOVERABLE_DISCONNECT_REASONS).
var recoverable = []string{
	"transport error", "transport close", "forced close", "ping timeout", "server shutting down", "forced server close",
}

// comesBack takes what a client shows to come back out of its auth, and reports whether it does. A claim is under way then.
func (c *connection) comesBack(p *sio.Packet, token string, rules *rule.Rules) bool {
	if rules.Recovery.For == 0 || c.edge.logged.table == nil {
		return false
	}
	auth, pid, offset, err := wire.TakeFromAuth(p.Data)
	if err != nil {
		return false
	}
	if p.Data = auth; pid != "" {
		p.Data = slices.Clone(auth)
		c.claim(*p, token, rules, pid, offset)
	}
	return pid != ""
}

// claim asks for the socket that a client wants back, and goes on with it, or with a new one.
func (c *connection) claim(p sio.Packet, token string, rules *rule.Rules, pid, offset string) {
	e, name := c.edge, string(p.Namespace)
	p.Namespace = []byte(name)
	c.mu.Lock()
	isClosed := c.closed
	waits, isOutOfTurn := c.queueConnect(p)
	begins := !isClosed && !waits && !isOutOfTurn
	if begins {
		c.claiming = append(c.claiming, name)
	}
	c.mu.Unlock()
	if isOutOfTurn && !isClosed {
		c.outOfTurn(p)
	}
	if !begins {
		return
	}
	c.idle.Pause()
	e.logged.table.Claim(rules.ConnectTimeout, pid, offset, name, token, rules.Recovery.For, func(k *recovery.Ticket, claimed *recovery.Claimed, err error) {
		e.out.Do(func() {
			c.idle.Resume(false)
			if err != nil && recovery.Passes(err) {
				c.session.Close(engine.ForcedServerClose)
				return
			}
			c.begin(p, token, rules, &comeback{k, claimed})
		})
	})
}

// comeback is the end of a claim.
type comeback struct {
	ticket  *recovery.Ticket // nil: the socket is a new one
	claimed *recovery.Claimed
}

// arrive ends the claim, with its socket. It returns false if another edge has taken that over since. The connection's mu must be held.
func (b *comeback) arrive(c *connection, name string, s *socket) bool {
	c.claiming = slices.DeleteFunc(c.claiming, func(one string) bool { return one == name })
	k := b.ticket
	if k == nil {
		return true
	}
	if s.Edge.past != nil {
		s.Edge.past.stays = k.Stays()
	}
	s.ID, s.Edge.ticket, s.Edge.recovered = k.ID, k, &recovered{Claimed: b.claimed}
	s.Edge.group = b.claimed.Record.Group // unless a service decides otherwise
	return k.SetClient(s)
}

// recovered is what a socket keeps that was taken over, until its client has its CONNECT.
type recovered struct {
	*recovery.Claimed
	asked  uint64          // the position when services were asked; 0: none were, or it was not known; static then
	frames []*engine.Frame // what the client has missed; written by one goroutine before CONNECT
	before int             // how many of them come before CONNECT; the rest may be what a service says to the newcomer
	bytes  int             // of them

	isOwned atomic.Bool // an instance knows that it came back
}

// restore admits a socket that was taken over, unless a service is asked about it first. It runs on the bus's worker.
func (e *Edge) restore(s *socket) {
	switch o := s.Edge.owner; {
	case s.Edge.asking:
		s.Edge.recovered.asked = e.logged.position(s.Edge.ticket)
		e.owners.Ask(o)
	case o == nil:
		e.rewinds.between(s, func() { e.admit(s, &decision{}, owner.Outcome{Verdict: owner.Admitted}) })
	default: // it is asked behind CONNECT
		e.rewinds.between(s, func() { e.admit(s, &decision{}, ownedBefore) })
	}
}

// tellOfRecovered tells services of a socket that was taken over, once its CONNECT is out: what they emit then comes behind it. An owner is
// asked also about a socket that has ended meanwhile, because it must get the end. It runs on the bus's worker.
func (c *connection) tellOfRecovered(s *socket, isLive bool) {
	switch rules := s.Edge.rules; {
	case s.Edge.recovered.Record.Owner != "":
		c.edge.owners.Ask(s.Edge.owner)
	case isLive && (rules.IsOpen() || !rules.Recovery.AskAgain):
		c.edge.notice(s)
	}
}

// ownedBefore is the outcome for a socket that an instance owned when it was taken over: all services know of it.
var ownedBefore = owner.Outcome{Verdict: owner.Owned, Open: true}

// withRecord adds what a socket had before to what a service admits it with.
func (s *recovered) withRecord(a msg.Admission) msg.Admission {
	r := &s.Record
	for room := range r.Rooms {
		if name, err := subjects.Room(room); err == nil {
			a.Rooms = append(a.Rooms, name)
		}
	}
	if a.User == "" {
		a.User = r.User
	}
	if a.Data == nil {
		a.Data = r.Data
	}
	return a
}

// settle gives a socket of a namespace with recovery what its client needs to come back, or what it has missed, and then its CONNECT. It
// runs on the bus's worker, once the socket's subscriptions are active.
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

// beginAnew gives a client that cannot be recovered a new socket, or has it come back once more. It runs on the bus's worker.
func (c *connection) beginAnew(s *socket, why error) {
	if recovery.Passes(why) {
		c.session.Close(engine.ForcedServerClose)
		return
	}
	c.edge.end(s, engine.TransportClose.String(), endSession, false)
	c.tellOfRecovered(s, false)
	c.connect(sio.Packet{Type: sio.Connect, Namespace: []byte(s.Namespace.Name), Data: s.Edge.auth})
}

// takeMissed returns what a recovered client has missed, before its CONNECT and after it. mu must be held.
func (c *connection) takeMissed(s *socket) (before, after []*engine.Frame) {
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
