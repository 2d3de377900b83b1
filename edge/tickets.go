package edge

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"partyline/bus"
	"partyline/edge/recovery"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/eventlog"
	"partyline/subjects"
	"partyline/wire/msg"
	wire "partyline/wire/recovery"
)

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
	b := w.set.Bus // an edge that is not connected, or not yet for so long, cannot know
	return w.set.IsHeard(edge, within) || !b.Connected() || time.Since(b.BeganAt()) < within
}

func (w recoveryWire) Describe(k *recovery.Ticket) recovery.State {
	s := k.Client().(*socket)
	v, _ := w.reg.View(s)
	c := s.Edge.conn
	c.mu.Lock()
	state, o := recovery.State{User: v.User, Data: v.Data, Rev: v.Rev, Group: s.Edge.group}, s.Edge.owner
	c.mu.Unlock()
	state.Grant = s.Edge.granted.Load().record()
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
		isEnded, o := s.Namespace != nil && w.remove(s, engine.TransportClose.String()) != nil, s.Edge.owner // it has none if its client has gone before it came
		c.mu.Unlock()
		if isEnded && o != nil {
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

// yield answers another edge that asks for a socket.
func (l *logged) yield(m *bus.Message, sub *subjects.Subject) {
	var ids []string
	if l.table == nil || json.Unmarshal(m.Data, &ids) != nil || len(ids) != 1 || !strings.HasPrefix(m.Reply, "_INBOX.") {
		l.complaints.drop(m, dropBadBody, nil)
		return
	}
	reply := m.Reply
	l.table.Yield(sub.Hash, ids[0], func(c recovery.Claimed, err error) {
		answer := bus.Letter{Subject: reply}
		if err != nil && !errors.Is(err, recovery.ErrNotHeld) {
			return // it is asked again
		}
		if err != nil {
			answer.Header = bus.Header{msg.HeaderError: {errUnknownSocket.Error()}}
		} else {
			answer.Header, answer.Body = bus.Header{msg.HeaderSequence: {strconv.FormatUint(c.Seq, 10)}}, c.Record.JSON()
		}
		l.out.Later(answer)
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

// keepFor begins what a namespace with a log needs for a new socket. The connection's mu must be held.
func (l *logged) keepFor(s *socket, name, token string) {
	rules, table := s.Edge.rules, l.table
	if !rules.IsLogged() || table == nil {
		return
	}
	table.Use(token)
	switch k := s.Edge.ticket; {
	case k != nil:
		for _, subject := range l.byName(s) {
			l.out.Subscribe(subject)
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

// replay keeps an event for a socket that has missed it. It returns false if the client has missed too much.
func (l *logged) replay(s *socket, event *eventlog.Entry) bool {
	frame := l.replays.encode(l.packet(l.replays, s, event, event.Seq), s.Edge.conn.dialect)
	if frame == nil {
		return true
	}
	c, r := s.Edge.conn, s.Edge.recovered
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Life() == registry.Gone {
		return false
	}
	if r.frames = append(r.frames, frame); r.asked == 0 || event.Seq <= r.asked {
		r.before = len(r.frames)
	}
	r.bytes += frame.Size()
	c.session.Charge(frame.Size())
	return r.bytes <= l.replays.limits.Load().QueueBytes
}

// errNotRecorded answers a change that holds, but is lost if the socket recovers at another edge.
var errNotRecorded = errors.New("not recorded")

// afterSaved runs fn once what has changed is in the records of sockets.
func (l *logged) afterSaved(sockets []*socket, fn func(saved bool)) {
	var tickets []*recovery.Ticket
	for _, s := range sockets {
		if s.Edge.ticket != nil {
			tickets = append(tickets, s.Edge.ticket)
		}
	}
	if len(tickets) > 0 {
		l.table.AfterSaved(tickets, fn)
	} else {
		fn(true)
	}
}

// release takes a socket that is gone out of what is kept for its client, and its subscriptions.
func (l *logged) release(s *socket, was registry.Life) {
	k, c := s.Edge.ticket, s.Edge.conn
	if p := s.Edge.past; p != nil {
		c.waiting -= p.bytes
		c.session.Charge(-p.bytes)
		p.bytes = 0
	}
	if s.Edge.rules.IsLogged() && l.table != nil {
		l.table.Release(s.Namespace.Token)
	}
	if k == nil {
		return
	}
	c.takeMissed(s)
	for _, subject := range l.byName(s) {
		l.out.Unsubscribe(subject)
	}
	if !was.IsMember() && !k.Recovered {
		k.Forget()
	}
}

// byName lists what must be subscribed for a socket that began at another edge.
func (l *logged) byName(s *socket) []string {
	if edge, _, _ := subjects.SplitSocketID(s.ID); edge == l.edge {
		return nil
	}
	return []string{l.prefix.SocketByName(s.Namespace.Token, s.ID), l.prefix.AcksByName(s.Namespace.Token, s.ID)}
}
