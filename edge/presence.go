package edge

import (
	"context"
	"errors"
	"slices"

	"partyline/bus"
	"partyline/internal/members"
	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// presenceWire is how Edge.presence speaks to the edge and to NATS.
type presenceWire struct {
	*bus.Bus
	*Edge
}

func (w presenceWire) Look(id string) (is members.Socket) {
	if s := w.reg.Find(id); s != nil {
		if v, isMember := w.reg.View(s); isMember {
			is = members.Socket{Present: members.Shown(s.Edge.rules, id, v.User, v.Data), Places: places(s, v.Rooms), Rules: s.Edge.rules}
		}
	}
	return is
}

// places returns the rooms, named as in subjects, that show who is in them.
func places(s *socket, rooms []string) (shown []members.Place) {
	for _, token := range rooms {
		if name, _ := subjects.Room(token); s.Edge.rules.Presence.Has(name) {
			shown = append(shown, members.Place{Namespace: s.Namespace.Token, Room: token})
		}
	}
	return shown
}

func (w presenceWire) Publish(subject string, body []byte) {
	w.out.Later(bus.Letter{Subject: subject, Body: body})
}

func (w presenceWire) Read(p members.Place, reply string) {
	question := bus.Letter{Subject: string(w.prefix.AppendToRoom(nil, p.Namespace, subjects.VerbFetch, p.Room)), Reply: reply}
	w.out.AfterSubscribed(func() { w.out.Later(question) }) // without an answer it is repeated
}

func (w presenceWire) Deliver(p members.Place, body []byte) {
	sub := subjects.Subject{Namespace: p.Namespace, Target: subjects.TargetRoom, Room: p.Room}
	event := &packet{kind: sio.Event, body: body}
	for _, s := range w.reg.Select(&sub, nil, nil) {
		event.namespace = s.Namespace.Name
		w.present(s, event)
	}
}

// present hands a packet to a socket, within Bus.Exclusive.
func (w presenceWire) present(s *socket, p *packet) {
	p.from = &bus.Message{Subject: s.Namespace.Name} // for complaints
	if frame := w.fanout.encode(p, s.Edge.conn.dialect); frame != nil {
		w.fanout.deliver(s, frame)
	}
}

func (w presenceWire) Losses() uint64  { return w.Bus.Losses() + w.Dropped() }
func (w presenceWire) Edges() []string { return w.set.Edges() }

// KeepPresence shows who is in rooms until ctx ends.
func (e *Edge) KeepPresence(ctx context.Context) { e.presence.Run(ctx) }

// entered notes that a socket is a member, and in rooms.
func (e *Edge) entered(s *socket, rooms []string) {
	s.Edge.rules.Sockets.Add(1)
	e.touch(s, "", rooms)
}

// touch notes that a member has come into rooms, has left them, or is another one for them; nil: it may have other data.
// reason is why it has gone; "" if it has not.
func (e *Edge) touch(s *socket, reason string, rooms []string) {
	if rules := s.Edge.rules; e.presence != nil && rules.Presence.IsOn() {
		change := members.Change{Reason: reason, Rules: rules, Places: places(s, rooms), IsData: rooms == nil}
		e.presence.Touch(s.ID, change, rules.Recovery.For > 0 && slices.Contains(recoverable, reason))
	}
}

// errNoPresence is for the client that asks who is in a room.
var errNoPresence = errors.New("this room does not show who is in it")

// asksPresence reports whether the event asks who is in a room, and answers. It does so between two messages from NATS,
// so that the client gets later changes behind the answer.
func (u *upward) asksPresence() bool {
	s, c, rules := u.socket, u.conn, u.socket.Edge.rules
	if !rules.Presence.IsOn() || string(u.name) != rules.Presence.Event {
		return false
	}
	room, err := u.room()
	switch {
	case errors.Is(err, errNoRoom):
	case !s.IsIn(room) && !rules.MayEnter(u.arg, s.Edge.grant()):
		err = &denied{deniedJoin, u.arg}
	case err == nil && !rules.Presence.Has(string(u.arg)):
		err = errNoPresence
	case err == nil && c.countJoining(1) > maxJoining:
		c.countJoining(-1)
		err = errTooManyJoins
	}
	if err != nil {
		u.answerChange(err)
		return true
	}
	w, hasID, id := presenceWire{u.set.Bus, u.Edge}, u.packet.HasID, u.packet.ID
	u.rewinds.exclusive(func() {
		w.presence.Ask(members.Place{Namespace: s.Namespace.Token, Room: room}, rules, func(list msg.Presence) {
			if c.countJoining(-1); hasID {
				w.present(s, &packet{kind: sio.Ack, namespace: s.Namespace.Name, hasID: true, id: id, body: list.Ack()})
			}
		})
	})
	return true
}
