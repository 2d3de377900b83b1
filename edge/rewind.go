package edge

import (
	"slices"
	"strings"

	"partyline/bus"
	"partyline/edge/recovery"
	"partyline/edge/registry"
	"partyline/eventlog"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/eio"
	"partyline/wire/msg"
	wire "partyline/wire/recovery"
)

// rewinds has sockets that enter rooms get the last events of these. It is owned by the NATS reader.
type rewinds struct {
	*deliveries
	reg    *registry.Registry[client]
	logged *logged
	bus    *bus.Bus
}

// byRule is the number of events of a join that names none.
const byRule = -1

// between runs fn between two messages from NATS, if the socket's rooms have a past, or its ticket must know where in
// the log it enters them.
func (r *rewinds) between(s *socket, fn func()) {
	if s.Edge.past == nil && s.Edge.ticket == nil {
		fn()
	} else {
		r.exclusive(fn)
	}
}

// exclusive runs fn between two messages from NATS.
func (r *rewinds) exclusive(fn func()) {
	if !r.bus.Exclusive(fn) { // at the end of the process
		fn()
	}
}

// join is Registry.Join, and begins to rewind. most is how many events the socket gets at most of each room that has a
// rule, or byRule.
func (r *rewinds) join(s *socket, rooms []string, most int) (registry.Effects[client], error) {
	entered := s.Edge.past.without(s, rooms)
	f, err := r.reg.Join(s, rooms)
	if err == nil {
		r.logged.changedEarly(s, nil)
		r.entered(s, entered, most)
	}
	return f, err
}

// without returns the rooms in which a socket is not yet, if their past matters.
func (p *past) without(s *socket, rooms []string) []string {
	if p == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(rooms), s.IsIn)
}

// entered begins to rewind rooms that a socket has entered just now.
func (r *rewinds) entered(s *socket, rooms []string, most int) {
	p, feed := s.Edge.past, r.logged.feed(s.Namespace.Token)
	if p == nil || feed == nil {
		return
	}
	var begun []recovery.Rewind
	for _, room := range rooms {
		w, rule := r.find(s, room, most)
		if w == nil {
			p.stays = append(p.stays, wire.Span{Room: room, From: feed.Position()})
			continue
		}
		p.rewinds = append(p.rewinds, w)
		begun = append(begun, recovery.Rewind{
			Room: room, Most: w.most, Age: rule.Age, Bytes: r.limits.Load().QueueBytes / 8,
			Marked: func() {
				w.isMuted = false
				p.waiting = append(p.waiting, waiting{rewind: w})
			},
			Read: func(past *recovery.Past) {
				w.past = past
				r.deliverWaiting(s)
			},
		})
	}
	if len(begun) == 0 {
		return
	}
	r.out.AfterSubscribedOrOffline(func() { // without NATS, the mark comes behind the subscriptions all the same
		r.bus.Exclusive(func() {
			for _, one := range begun {
				feed.Rewind(one)
			}
		})
	})
}

// find returns what a socket gets of a room, or nil.
func (r *rewinds) find(s *socket, room string, most int) (*rewind, *rule.Rewind) {
	name, _ := subjects.Room(room) // our own token
	found := s.Edge.rules.RewindOf([]byte(name))
	if found == nil || most == 0 || s.Edge.ticket != nil && s.Edge.ticket.Waits.Load() { // that reads in the log what it has missed
		return nil, nil
	}
	if most == byRule {
		most = found.Messages
	}
	return &rewind{room: room, most: min(most, r.limits.Load().QueuePackets/4), isMuted: true}, found
}

// leave is Registry.Leave.
func (r *rewinds) leave(s *socket, rooms []string) registry.Effects[client] {
	r.logged.changedEarly(s, rooms)
	p, feed := s.Edge.past, r.logged.feed(s.Namespace.Token)
	if p == nil || feed == nil {
		return r.reg.Leave(s, rooms)
	}
	for _, w := range p.rewinds {
		w.hasLeft = w.hasLeft || slices.Contains(rooms, w.room)
	}
	p.stays = slices.DeleteFunc(p.stays, func(stay wire.Span) bool {
		leaves := stay.To == 0 && slices.Contains(rooms, stay.Room)
		if leaves {
			stay.To = max(1, feed.Position())
			p.ended = append(p.ended, stay)
		}
		return leaves
	})
	p.ended = p.ended[max(0, len(p.ended)-maxEnded):]
	return r.reg.Leave(s, rooms)
}

// maxEnded bounds the rooms of a socket that are remembered after it has left them.
const maxEnded = 100

// hides reports whether an event from the log is not for a socket yet: it is for rooms alone that are muted.
func (p *past) hides(s *socket, sub *subjects.Subject, h bus.Header) bool {
	if len(p.rewinds) == 0 || !recovery.IsRepeated(h) {
		return false
	}
	isMuted := func(room string) bool {
		return slices.ContainsFunc(p.rewinds, func(w *rewind) bool { return w.room == room && w.isMuted && !w.hasLeft })
	}
	if sub.Target == subjects.TargetRoom {
		return isMuted(sub.Room)
	}
	rooms := h[msg.HeaderRooms]
	return sub.Target == subjects.TargetAll && rooms != nil &&
		!slices.ContainsFunc(rooms, func(name string) bool { return name == s.ID || s.IsIn(name) && !isMuted(name) })
}

// deliverWaiting delivers what waits for a socket, up to the first room that was not read yet.
func (r *rewinds) deliverWaiting(s *socket) {
	c, p := s.Edge.conn, s.Edge.past
	for len(p.waiting) > 0 {
		w := p.waiting[0]
		if w.rewind != nil && w.rewind.past == nil {
			return
		}
		p.waiting[0] = waiting{}
		p.waiting = p.waiting[1:]
		if w.rewind != nil {
			p.rewinds = slices.DeleteFunc(p.rewinds, func(one *rewind) bool { return one == w.rewind })
			w.frame = r.frameOf(s, w.rewind)
		} else {
			c.mu.Lock()
			if s.Life() != registry.Gone {
				p.bytes -= w.frame.Size()
				c.waiting -= w.frame.Size()
				c.session.Charge(-w.frame.Size())
			}
			c.mu.Unlock()
		}
		if w.frame != nil {
			r.pass(s, w.frame, false)
		}
	}
	p.waiting = nil
}

// frameOf is what a socket gets of the past of a room; nil for nothing. The offset is that of the mark, so that the
// client's does not go back.
func (r *rewinds) frameOf(s *socket, w *rewind) *eio.Frame {
	p := s.Edge.past
	events := w.past.Events[max(0, len(w.past.Events)-w.most):]
	if w.hasLeft {
		return nil
	}
	stay := wire.Span{Room: w.room, From: w.past.Seq}
	if len(events) > 0 {
		stay.From = events[0].Seq - 1
	}
	var frames []*eio.Frame
	for _, e := range events {
		if !p.hasGot(s, w, e) {
			if f := r.encode(r.logged.packet(r.deliveries, s, e, w.past.Seq), s.Edge.conn.dialect); f != nil {
				frames = append(frames, f)
			}
		}
	}
	p.stays, p.read = append(p.stays, stay), max(p.read, w.past.Seq)
	if len(frames) == 0 {
		return nil
	}
	return eio.Join(frames)
}

// hasGot reports whether an event of a room's past is not for a socket, or has come to it by another room.
func (p *past) hasGot(s *socket, w *rewind, e *eventlog.Entry) bool {
	return slices.ContainsFunc(e.Header[msg.HeaderExcept], func(name string) bool { return name == s.ID || s.IsIn(name) }) ||
		strings.HasSuffix(e.Subject, "."+subjects.VerbEmit+".all") && slices.ContainsFunc(e.Header[msg.HeaderRooms], func(name string) bool {
			return name == s.ID || name != w.room && (wire.WasIn(p.stays, name, e.Seq) || wire.WasIn(p.ended, name, e.Seq))
		})
}
