package edge

import (
	"slices"
	"strconv"
	"strings"

	"partyline/bus"
	"partyline/edge/recovery"
	"partyline/eventlog"
	"partyline/subjects"
	"partyline/wire/msg"
	wire "partyline/wire/recovery"
	"partyline/wire/sio"
)

// logged is the part of the way down that is for namespaces with a log. It is owned by the NATS reader.
type logged struct {
	table      *recovery.Table // nil if no namespace has a log
	stream     string          // its name
	edge       string          // its id
	prefix     subjects.Prefix
	out        bus.Outbox
	complaints *complaints
	replays    *deliveries // for what is read in the log, on the goroutine that reads it
}

// feed is the feed of a namespace, named as in subjects, or nil if it has no log, or no socket here.
func (l *logged) feed(namespace string) *recovery.Feed {
	if l.table == nil {
		return nil
	}
	return l.table.Feed(namespace)
}

// handleLogged takes a message of a namespace with a log, and reports whether it did. counts is false for a copy. The
// fanout is flushed unless the message is an event.
func (e *Edge) handleLogged(m *bus.Message, sub *subjects.Subject) (taken, counts bool) {
	isLog := sub.Verb == subjects.VerbLog
	feed := e.logged.feed(sub.Namespace)
	switch {
	case feed == nil:
		return isLog || sub.Kind == subjects.KindMark, false // the log also has namespaces that do not want it
	case sub.Kind == subjects.KindMark:
		if seq := msg.LogSequence(m.Header, e.logged.stream); isLog && seq > 0 && sub.Edge == e.set.ID {
			e.fanout.flush()
			n, _ := strconv.ParseUint(sub.Mark, 10, 64)
			feed.Returned(n, seq)
		}
		return true, false
	case isLog:
		e.takeLogged(m, sub, feed)
		return true, true
	case sub.Verb == subjects.VerbEmit && !m.NoResponders():
		return true, false // it comes by the log, too
	case m.NoResponders(), subjects.IsCopy(e.prefix, sub, m.Subscription), !subjects.IsForEveryEdge(sub.Verb):
		return false, true
	}
	// A command for a socket that is not here yet must not wait until it is: the edge that has lost it answers now.
	if sub.Target == subjects.TargetSocket && e.fanout.targets.Find(sub.Socket) == nil {
		return false, true
	}
	later, about := *m, *sub
	command := func() {
		e.fanout.flush()
		e.handleCommand(&later, &about)
	}
	switch {
	case slices.Contains(fenced, sub.Verb):
		feed.Fence(command)
	case feed.IsFenced():
		feed.Behind(command)
	default:
		return false, true
	}
	return true, true
}

// fenced are the commands that must not overtake events, which take the way through the log. A join may.
var fenced = []string{subjects.VerbLeave, subjects.VerbDisconnect, subjects.VerbAsk, subjects.VerbGrant}

// lost has a namespace read in the log what was dropped.
func (e *Edge) lost(m *bus.Message) {
	e.fanout.flush()
	rest := strings.TrimPrefix(m.Subject, e.prefix.String()+".")
	namespace, _, _ := strings.Cut(rest, ".")
	if feed := e.logged.feed(namespace); feed != nil {
		feed.Lost()
	}
}

// takeLogged hands an event of the log out, if it is its turn.
func (e *Edge) takeLogged(m *bus.Message, sub *subjects.Subject, feed *recovery.Feed) {
	seq := msg.LogSequence(m.Header, e.logged.stream)
	if seq == 0 {
		e.complaints.drop(m, dropBadSubject, nil)
		return
	}
	if feed.Take(seq, func() *eventlog.Entry {
		return &eventlog.Entry{Seq: seq, Subject: m.Subject, Header: m.Header, Data: m.Data}
	}) {
		e.handOut(m, sub, seq, feed)
	}
}

// handOut adds an event of the log to the fanout.
func (e *Edge) handOut(m *bus.Message, sub *subjects.Subject, seq uint64, feed *recovery.Feed) {
	isLate := feed.IsLate(seq)
	if isLate || e.fanout.isLate || !e.fanout.continues(m) {
		e.fanout.flush()
	}
	e.fanout.add(m, sub, seq, feed)
	e.fanout.isLate = isLate
}

// stamp appends to an event what a client must show of it to come back: the offset. Without a sequence of its own, or
// if it is volatile, the event gets one only if the client would take its last argument for one (socket.io-client,
// emitEvent).
func (l *logged) stamp(text []byte, h bus.Header, seq uint64, feed *recovery.Feed) []byte {
	if seq == 0 || msg.IsVolatile(h) {
		if !wire.EndsWithString(text) {
			return text
		}
		seq = max(seq, feed.Position())
	}
	return wire.AppendOffset(make([]byte, 0, len(text)+24), text, l.table.Offset(seq))
}

// packet is an event that was read in the log, for all that get it, with an offset if the socket has a ticket.
func (l *logged) packet(d *deliveries, s *socket, event *eventlog.Entry, offset uint64) *packet {
	if made, ok := event.Frame.(*packet); ok {
		return made
	}
	m := &bus.Message{Subject: event.Subject, Header: event.Header, Data: event.Data}
	text, attachments, err := d.content(m, true)
	p := &packet{kind: sio.Event, namespace: s.Namespace.Name, attachments: attachments, options: options(event.Header), from: m}
	switch {
	case err != nil: // it was dropped for those who were there, too
		p.failed = [dialects]bool{true, true, true}
	case s.Edge.ticket != nil:
		text = l.stamp(text, nil, offset, nil)
	}
	p.body, event.Frame = text, p
	return p
}
