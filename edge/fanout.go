package edge

import (
	"slices"

	"partyline/bus"
	"partyline/edge/recovery"
	"partyline/subjects"
	"partyline/wire/eio"
	"partyline/wire/msg"
	wire "partyline/wire/recovery"
	"partyline/wire/sio"
)

// What a fanout may hold: enough that a client's write costs little a message, and little enough to fit into any
// queue.
const (
	maxFanout      = 64
	maxFanoutBytes = 32 << 10
)

// fanout is a number of events that came one directly behind the other for the same sockets. They are handed to each
// of these together, as one frame: at full speed nearly all that a delivery costs is the write, and a room's members
// do not cost a look at each of them for every message (docs/performance.md). Under a light load a fanout has one
// event.
//
// It is owned by the NATS reader: Edge.handle flushes it before it does anything else.
type fanout struct {
	*deliveries
	targets  targets
	prefix   subjects.Prefix
	logged   *logged
	subject  subjects.Subject // of the messages, or of those of the last fanout
	messages []bus.Message    // none: there is no fanout
	feed     *recovery.Feed   // that the messages came by; nil: they came by no log
	seqs     []uint64         // of the messages in the log, if they came by one
	isLate   bool             // it is one event, behind later ones of the log
	bytes    int              // of their bodies

	packets []packet             // scratch: those of the messages that can be sent
	frames  [dialects]*eio.Frame // nil until a client needs it
	failed  [dialects]bool       // nothing can be sent in that dialect
	single  [1]*socket           // scratch
}

// continues reports whether a message belongs to the fanout as well: it has the same subject and leaves out the same
// socket, and no headers, which might choose others.
func (f *fanout) continues(m *bus.Message) bool {
	if len(f.messages) == 0 {
		return false
	}
	first := &f.messages[0]
	if m.Subject != first.Subject || m.Reply != first.Reply && f.subject.Verb == subjects.VerbBroadcast {
		return false
	}
	return m.Header == nil && first.Header == nil || msg.IsAlike(m.Header, first.Header)
}

// add adds an event to the fanout. The caller has flushed one that it does not continue.
// seq and feed are those of an event of a log.
func (f *fanout) add(m *bus.Message, sub *subjects.Subject, seq uint64, feed *recovery.Feed) {
	limits := f.limits.Load()
	if len(f.messages) >= min(maxFanout, limits.QueuePackets/4) || f.bytes+len(m.Data) > min(maxFanoutBytes, limits.QueueBytes/4) {
		f.flush()
	}
	if len(f.messages) == 0 {
		f.subject, f.feed = *sub, feed
	}
	f.messages = append(f.messages, *m)
	if feed != nil {
		f.seqs = append(f.seqs, seq)
	}
	f.bytes += len(m.Data)
}

// flush hands the events to their receivers.
func (f *fanout) flush() {
	if len(f.messages) == 0 {
		return
	}
	f.handOut()
	if f.feed != nil {
		f.feed.HandedOut(f.seqs[len(f.seqs)-1], msg.LogTime(f.messages[len(f.messages)-1].Header))
		f.feed, f.isLate, f.seqs = nil, false, f.seqs[:0]
	}
	clear(f.messages)
	clear(f.packets)
	f.messages, f.bytes, f.packets = f.messages[:0], 0, f.packets[:0]
	f.frames, f.failed = [dialects]*eio.Frame{}, [dialects]bool{}
	f.single[0] = nil
}

func (f *fanout) handOut() {
	first := &f.messages[0]
	receivers, except, why := f.receivers(first)
	if len(receivers) == 0 {
		f.discard(why)
		return
	}
	receivers[0].Namespace.Window.Touch()
	f.pack(receivers[0])
	if len(f.packets) == 0 {
		return
	}
	for _, s := range receivers {
		if s == except {
			continue
		}
		// The log has for a client that is coming back what is here before its mark; what is in no log would take its
		// offset back.
		if k := s.Edge.ticket; k != nil && k.Waits.Load() && (f.feed == nil || k.Deaf.Load()) {
			continue
		}
		if p := s.Edge.past; p != nil && f.feed != nil && p.hides(s, &f.subject, first.Header) {
			continue
		}
		if f.isLate && !f.lacks(s, first) {
			continue
		}
		d := s.Edge.conn.dialect
		if f.frames[d] == nil && !f.failed[d] {
			f.frames[d] = f.join(d)
			f.failed[d] = f.frames[d] == nil
		}
		if !f.failed[d] {
			f.deliver(s, f.frames[d])
		}
	}
}

// lacks reports whether a socket was there when an event was published that comes late, and has not got it otherwise.
func (f *fanout) lacks(s *socket, m *bus.Message) bool {
	rooms, seq, p := m.Header[msg.HeaderRooms], f.seqs[0], s.Edge.past
	if f.subject.Target == subjects.TargetRoom {
		rooms = []string{f.subject.Room}
	}
	if f.subject.Target == subjects.TargetSocket || slices.Contains(rooms, s.ID) {
		rooms = nil
	}
	switch {
	case p != nil && seq <= p.read:
		return false
	case s.Edge.ticket != nil:
		return s.Edge.ticket.Lacks(seq, rooms)
	}
	return rooms == nil || p != nil && slices.ContainsFunc(rooms, func(room string) bool { return wire.WasIn(p.stays, room, seq) })
}

// receivers is the sockets that the fanout is for, and one of them that is left out: nil for none. If there are none
// here, why is the reason to drop its messages, or notDropped.
func (f *fanout) receivers(m *bus.Message) (list []*socket, except *socket, why int) {
	ns, names := f.subject.Namespace, m.Header[msg.HeaderExcept]
	switch {
	case f.subject.Target == subjects.TargetSocket:
		if f.single[0], why = f.targets.one(f.subject.Socket, ns); why != notDropped {
			return nil, nil, why
		}
		return f.single[:], nil, notDropped
	case f.subject.Verb == subjects.VerbBroadcast:
		except = f.sender(m.Reply, ns)
	case len(names) == 1 && subjects.IsSocketID(names[0]): // most often a sender: comparing costs less than a list of the others
		except, _ = f.targets.one(names[0], ns)
		names = nil
	}
	return f.targets.many(m, &f.subject, names), except, notDropped
}

// pack makes packets of the messages that may go to clients, to one of them for instance.
func (f *fanout) pack(to *socket) {
	for i := range f.messages {
		m := &f.messages[i]
		text, attachments, err := f.content(m, true)
		if err != nil {
			f.complaints.drop(m, dropBadBody, err)
			continue
		}
		if k := to.Edge.ticket; k != nil {
			var seq uint64
			if f.feed != nil {
				seq = max(f.seqs[i], f.feed.Position()) // the client's offset never goes back
			}
			text = f.logged.stamp(text, m.Header, seq, k.Feed())
		}
		f.packets = append(f.packets, packet{
			kind: sio.Event, namespace: to.Namespace.Name, body: text, attachments: attachments,
			options: options(m.Header), from: m, sent: &f.stats.eventsOut,
		})
	}
}

// sender is the socket that a reply subject names: its address, or the address of one of its acks. nil for none.
func (f *fanout) sender(reply, namespace string) *socket {
	if reply == "" || !f.prefix.Covers(reply) {
		return nil
	}
	sub, ok := f.prefix.Parse(reply)
	if !ok || sub.Socket == "" || sub.Namespace != namespace {
		return nil
	}
	s, _ := f.targets.one(sub.Socket, namespace)
	return s
}

// discard counts a fanout without receivers here.
func (f *fanout) discard(why int) {
	f.stats.unwanted.Add(len(f.messages))
	if why == notDropped {
		f.stats.discardedBytes.Add(f.bytes)
		return
	}
	for i := range f.messages {
		f.complaints.drop(&f.messages[i], why, nil)
	}
}

// join is the packets as one frame; nil if none of them can be sent in that dialect.
func (f *fanout) join(d dialect) *eio.Frame {
	frames := make([]*eio.Frame, 0, len(f.packets))
	for i := range f.packets {
		if frame := f.encode(&f.packets[i], d); frame != nil {
			frames = append(frames, frame)
		}
	}
	if len(frames) == 0 {
		return nil
	}
	return eio.Join(frames)
}
