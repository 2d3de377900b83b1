package edge

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/edge/recovery"
	"partyline/edge/registry"
	"partyline/edge/rule"
	"partyline/engine"
	"partyline/eventlog"
	"partyline/subjects"
	"partyline/wire/msg"
	wire "partyline/wire/recovery"
	"partyline/wire/sio"
)

// recoverable are the reasons of an end after which a client may come back (socket.io, RECOVERABLE_DISCONNECT_REASONS).
var recoverable = []string{
	"transport error", "transport close", "forced close", "ping timeout", "server shutting down", "forced server close",
}

// recoveryWire is how Edge.logged speaks to the edge.
type recoveryWire struct{ *Edge }

func (w recoveryWire) Mark(ns string, n uint64) {
	w.out.Later(bus.Letter{Subject: string(w.prefix.AppendMark(nil, ns, w.set.ID, n))})
}

func (w recoveryWire) HandOut(entry *eventlog.Entry) {
	m := bus.Message{Subject: entry.Subject, Header: entry.Header, Data: entry.Data}
	sub, ok := w.prefix.Parse(m.Subject)
	if !ok || sub.Kind != subjects.KindCommand {
		return
	}
	if feed := w.logged.feed(sub.Namespace); feed != nil {
		w.handOut(&m, &sub, entry.Seq, feed)
	}
}

func (w recoveryWire) Exclusive(fn func()) { w.set.Bus.Exclusive(fn) }

func (w recoveryWire) Losses() uint64 { return w.set.Bus.Losses() }

func (w recoveryWire) IsHeard(edge string, within time.Duration) bool {
	return w.set.IsHeard(edge, within)
}

func (w recoveryWire) Describe(k *recovery.Ticket) recovery.State {
	s := k.Client().(*socket)
	v, _ := w.reg.View(s)
	c := s.Edge.conn
	c.mu.Lock()
	state, o := recovery.State{User: v.User, Data: v.Data, Rev: v.Rev, Group: s.Edge.group}, s.Edge.owner
	c.mu.Unlock()
	if o != nil {
		state.Group, state.Owner, state.Assignment = w.owners.Of(o)
	}
	return state
}

func (w recoveryWire) Drop(k *recovery.Ticket) {
	s, ok := k.Client().(*socket)
	if !ok {
		return
	}
	w.out.Do(func() {
		c := s.Edge.conn
		c.mu.Lock()
		ended, o := w.remove(s), s.Edge.owner
		c.mu.Unlock()
		if ended != nil && o != nil {
			w.owners.Abandon(o)
		}
		c.session.Close(engine.ForcedServerClose)
	})
}

func (w recoveryWire) Yield(ctx context.Context, holder, hash, id string) (recovery.Claimed, error) {
	body, _ := json.Marshal([]string{id})
	m, err := w.set.Bus.Request(ctx, w.prefix.Yield(holder, hash), body)
	switch {
	case errors.Is(err, bus.ErrNoResponders):
		return recovery.Claimed{}, recovery.ErrDead
	case err != nil:
		return recovery.Claimed{}, err
	case m.Header.Has(msg.HeaderError):
		return recovery.Claimed{}, recovery.ErrNotHeld
	}
	record, err := wire.ParseRecord(m.Data)
	if err != nil {
		return recovery.Claimed{}, err
	}
	seq, err := strconv.ParseUint(m.Header.Get(msg.HeaderSequence), 10, 64)
	return recovery.Claimed{Record: record, Seq: seq}, err
}

// handleYield answers another edge that asks for a socket.
func (e *Edge) handleYield(m *bus.Message, sub *subjects.Subject) {
	var ids []string
	if e.logged.table == nil || json.Unmarshal(m.Data, &ids) != nil || len(ids) != 1 || !strings.HasPrefix(m.Reply, "_INBOX.") {
		e.complaints.drop(m, dropBadBody, nil)
		return
	}
	reply := m.Reply
	e.logged.table.Yield(sub.Hash, ids[0], func(c recovery.Claimed, err error) {
		answer := bus.Letter{Subject: reply}
		if err != nil {
			answer.Header = bus.Header{msg.HeaderError: {errUnknownSocket.Error()}}
		} else {
			answer.Header, answer.Body = bus.Header{msg.HeaderSequence: {strconv.FormatUint(c.Seq, 10)}}, c.Record.JSON()
		}
		e.out.Later(answer)
	})
}

// unknown calls answer for a socket that is not here, unless another edge answers for it.
func (l *logged) unknown(id string, answer func()) {
	if l.table == nil {
		answer()
	} else {
		l.table.Unknown(id, answer)
	}
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
	c.idle.pause()
	ctx, stop := context.WithTimeout(context.Background(), rules.ConnectTimeout)
	e.logged.table.Claim(ctx, pid, offset, name, token, rules.Recovery.For, func(k *recovery.Ticket, claimed *recovery.Claimed, err error) {
		stop()
		e.out.Do(func() {
			c.idle.resume(false)
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

// arrive ends the claim, with its socket. The connection's mu must be held.
func (b *comeback) arrive(c *connection, name string, s *socket) {
	c.claiming = slices.DeleteFunc(c.claiming, func(one string) bool { return one == name })
	if b.ticket != nil {
		if s.Edge.past != nil {
			s.Edge.past.stays = b.ticket.Stays()
		}
		s.ID, s.Edge.ticket, s.Edge.recovered = b.ticket.ID, b.ticket, &recovered{Claimed: b.claimed}
		s.Edge.group = b.claimed.Record.Group // unless a service decides otherwise
	}
}

// keepFor begins what a namespace with a log needs for a new socket. The connection's mu must be held.
func (e *Edge) keepFor(s *socket, name, token string) {
	rules, table := s.Edge.rules, e.logged.table
	if !rules.IsLogged() || table == nil {
		return
	}
	table.Use(token)
	switch k := s.Edge.ticket; {
	case k != nil:
		k.SetClient(s)
		for _, subject := range e.byName(s) {
			e.out.Subscribe(subject)
		}
	case rules.Recovery.For > 0:
		s.Edge.ticket = table.Issue(s.ID, name, token, rules.Recovery.For, s)
	}
}

// position is the position of a ticket's namespace; 0 for nil.
func (l *logged) position(k *recovery.Ticket) uint64 {
	if k == nil {
		return 0
	}
	return k.Feed().Position()
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
		k.CatchUp(r.Claimed, func(event *recovery.Event) bool { return e.replay(s, event) }, func(err error) {
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

// replay keeps an event for a socket that has missed it. It returns false if the client has missed too much.
func (e *Edge) replay(s *socket, event *recovery.Event) bool {
	frame := e.replays.encode(e.logged.packet(e.replays, s, event, event.Seq), s.Edge.conn.dialect)
	if frame == nil {
		return true
	}
	r := s.Edge.recovered
	if r.frames = append(r.frames, frame); r.asked == 0 || event.Seq <= r.asked {
		r.before = len(r.frames)
	}
	r.bytes += frame.Size()
	s.Edge.conn.session.Charge(frame.Size())
	return r.bytes <= e.set.QueueBytes
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

// ticketsOf lists the tickets of sockets.
func ticketsOf(sockets []*socket) (tickets []*recovery.Ticket) {
	for _, s := range sockets {
		if s.Edge.ticket != nil {
			tickets = append(tickets, s.Edge.ticket)
		}
	}
	return tickets
}

// errNotRecorded answers a change that holds, but is lost if the socket recovers at another edge.
var errNotRecorded = errors.New("not recorded")

// afterSaved runs fn once what has changed is in the records of sockets.
func (l *logged) afterSaved(sockets []*socket, fn func(saved bool)) {
	if l.table == nil {
		fn(true)
		return
	}
	if tickets := ticketsOf(sockets); len(tickets) > 0 {
		l.table.AfterSaved(tickets, fn)
		return
	}
	fn(true)
}

// release takes a socket that is gone out of what is kept for its client, and its subscriptions.
func (e *Edge) release(s *socket, was registry.Life) {
	k, c := s.Edge.ticket, s.Edge.conn
	if p := s.Edge.past; p != nil {
		c.waiting -= p.bytes
		c.session.Charge(-p.bytes)
		p.bytes = 0
	}
	if s.Edge.rules.IsLogged() && e.logged.table != nil {
		e.logged.table.Release(s.Namespace.Token)
	}
	if k == nil {
		return
	}
	c.takeMissed(s)
	for _, subject := range e.byName(s) {
		e.out.Unsubscribe(subject)
	}
	if !was.IsMember() && !k.Recovered {
		k.Forget()
	}
}

// byName lists what must be subscribed for a socket that began at another edge.
func (e *Edge) byName(s *socket) []string {
	if edge, _, _ := subjects.SplitSocketID(s.ID); edge == e.set.ID {
		return nil
	}
	return []string{e.prefix.SocketByName(s.Namespace.Token, s.ID), e.prefix.AcksByName(s.Namespace.Token, s.ID)}
}

// Renewed is called when the log was found, or made anew, on a goroutine that may wait.
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
