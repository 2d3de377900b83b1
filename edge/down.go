package edge

import (
	"context"
	"strings"

	"partyline/bus"
	"partyline/internal/members"
	"partyline/subjects"
	"partyline/wire/msg"
)

// Listen takes what comes from NATS until ctx ends. It is called once. Everything that comes down is done by the NATS
// reader, bus.Run, one thing at a time, whatever goroutine that is on. others may take a message away before the edge
// sees it; nil: none.
func (e *Edge) Listen(ctx context.Context, others func(*bus.Message) bool) {
	e.set.Bus.Run(ctx, func(m *bus.Message) bool { return others != nil && others(m) || e.handle(m) }, e.flush)
	e.fanout.writes.Close()
	e.commands.queries.Close()
}

// handle processes one message from NATS. It must not block. Writes to clients are queued until flush. It returns
// false for a copy, which is ignored.
func (e *Edge) handle(m *bus.Message) bool {
	if m.Lost {
		e.lost(m)
		return false
	}
	if e.fanout.feed == nil && e.fanout.continues(m) {
		e.fanout.add(m, &e.fanout.subject, 0, nil)
		return true
	}
	sub, ok := e.prefix.Parse(m.Subject)
	switch {
	case ok:
	case e.logged.table != nil && m.Subject == e.prefix.Elections():
		e.fanout.flush()
		e.logged.table.Elected()
		return false
	case e.presence.Answered(m.Subject, m.Header.Get(msg.HeaderPart), m.Data):
		return true
	default:
		e.complaints.drop(m, dropBadSubject, nil)
		return true
	}
	if sub.Target == subjects.TargetSocket && strings.HasSuffix(sub.Socket, checkpointID) {
		e.fanout.flush()
		e.fanout.targets.checkpointReturned(m, &sub)
		return false
	}
	isEvent := sub.Kind == subjects.KindCommand && !m.NoResponders() &&
		(sub.Verb == subjects.VerbEmit || sub.Verb == subjects.VerbBroadcast && sub.Target != subjects.TargetSocket)
	if e.logged.table != nil && (sub.Kind == subjects.KindCommand || sub.Kind == subjects.KindMark) {
		if taken, counts := e.handleLogged(m, &sub); taken {
			return counts
		}
	}
	e.fanout.flush()
	if isEvent {
		e.fanout.add(m, &sub, 0, nil)
		return true
	}
	switch {
	case sub.Kind == subjects.KindAck:
		e.handleAck(m, &sub)
	case sub.Kind == subjects.KindPong && m.Header.Get(msg.HeaderError) == msg.ErrorNotOwner:
		e.owners.OwnsNothing(sub.Instance)
	case sub.Kind == subjects.KindPong: // the answer to a ping, or NATS's word that no subscriber got it
		e.owners.Pong(sub.Instance, m.NoResponders())
	case sub.Kind == subjects.KindInstance:
		ownerWire{e}.handleInstance(m, &sub)
	case sub.Kind == subjects.KindYield:
		e.logged.yield(m, &sub)
	case m.NoResponders():
		e.noResponders(&sub)
	case sub.Kind == subjects.KindCommand:
		if subjects.IsCopy(e.prefix, &sub, m.Subscription) {
			return false
		}
		e.handleCommand(m, &sub)
	}
	return true
}

// flush sends what handle has left. It is called by the NATS reader, too.
func (e *Edge) flush() {
	e.fanout.flush()
	e.fanout.writes.Flush(e.set.Bus.Lagging)
}

// noResponders is called when NATS reports no subscriber for what was published for a socket, which is its reply
// subject.
func (e *Edge) noResponders(sub *subjects.Subject) {
	e.stats.noResponders.Inc()
	s := e.reg.Find(sub.Socket)
	if s == nil {
		return
	}
	c := s.Edge.conn
	c.mu.Lock()
	o, isNotice := s.Edge.owner, s.Edge.noticed
	s.Edge.noticed = false
	c.mu.Unlock()
	if o != nil && !isNotice {
		e.owners.Doubt(o)
	}
}

// handleCommand acts on a verb with a target that is no event's.
func (e *Edge) handleCommand(m *bus.Message, sub *subjects.Subject) {
	switch verb := sub.Verb; {
	case verb == subjects.VerbJoin, verb == subjects.VerbLeave:
		e.commands.changeRooms(m, sub)
	case verb == subjects.VerbDisconnect:
		e.commands.end(m, sub)
	case verb == subjects.VerbGrant:
		e.grants.handle(m, sub)
	case verb == subjects.VerbFetch, verb == subjects.VerbData, verb == subjects.VerbRooms:
		e.commands.query(m, sub)
	case verb == subjects.VerbAsk:
		e.asks.handle(m, sub)
	case sub.Target == subjects.TargetSocket && (verb == subjects.VerbPause || verb == subjects.VerbResume):
		e.pauses.handle(m, sub)
	case verb == subjects.VerbMember && sub.Target == subjects.TargetRoom && e.presence != nil:
		if err := e.presence.Handle(members.Place{Namespace: sub.Namespace, Room: sub.Room}, m.Data); err != nil {
			e.complaints.drop(m, dropBadBody, err)
		}
	default:
		e.complaints.drop(m, dropUnknownVerb, nil)
	}
}

// handleAck takes what a service answered: to an event, which becomes the client's ack, or to a connect request.
func (e *Edge) handleAck(m *bus.Message, sub *subjects.Subject) {
	s := e.reg.Find(sub.Socket)
	isConnect := sub.Ack == subjects.AckConnect
	switch {
	case s != nil && s.Namespace.Token != sub.Namespace:
		e.complaints.drop(m, dropWrongNamespace, nil)
		if isConnect {
			e.answers.notAdmitted(m, errUnknownSocket)
		}
	case isConnect && ownerWire{e}.handleNotOwner(m, sub, s):
	case isConnect:
		e.handleDecision(m, sub, s)
	case m.NoResponders():
		e.noResponders(sub)
	case s == nil:
		e.complaints.drop(m, dropUnknownSocket, nil)
	default:
		e.fanout.ack(m, sub, s)
	}
}
