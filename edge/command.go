package edge

import (
	"encoding/json"
	"errors"

	"partyline/bus"
	"partyline/edge/registry"
	"partyline/internal/query"
	"partyline/subjects"
	"partyline/wire/msg"
)

// errUnknownSocket answers a command about a socket that is not here.
var errUnknownSocket = registry.ErrGone

// commands acts on what services ask of sockets: join, leave, disconnect, fetch, data and rooms. It never waits.
type commands struct {
	*answers
	targets    targets
	queries    *query.Queue // fetch, data and rooms under way
	logged     *logged
	rewinds    *rewinds
	disconnect func(sockets []*socket, ending msg.Ending)
}

// find returns the sockets that a command is about. If it is about one that is not there, it answers that and returns
// false.
func (c *commands) find(m *bus.Message, sub *subjects.Subject) ([]*socket, bool) {
	c.stats.commanded.Inc()
	sockets, found := c.targets.of(m, sub)
	if !found {
		c.rejectUnknown(m, sub.Socket)
	}
	return sockets, found
}

// rejectUnknown drops a command about a socket that is not here, and answers that.
func (c *commands) rejectUnknown(m *bus.Message, id string) {
	asked := *m
	c.complaints.drop(m, dropUnknownSocket, errUnknownSocket)
	c.logged.unknown(id, func() { c.fail(&asked, errUnknownSocket) })
}

// end ends sockets.
func (c *commands) end(m *bus.Message, sub *subjects.Subject) {
	ending, err := msg.Disconnect(m.Data)
	if err != nil {
		c.reject(m, dropBadBody, err)
		return
	}
	if sockets, found := c.find(m, sub); found {
		c.disconnect(sockets, ending)
		c.confirm(m, sub, sockets)
	}
}

// changeRooms makes sockets join or leave rooms, and answers for how many that took effect. It fails only for a single
// socket.
func (c *commands) changeRooms(m *bus.Message, sub *subjects.Subject) {
	names, err := msg.Rooms(m.Data)
	var rooms []string
	if err == nil {
		rooms, err = subjects.RoomTokens(names)
	}
	rewind := byRule
	if err == nil && m.Header.Has(msg.HeaderRewind) {
		rewind, err = msg.Rewind(m.Header.Get(msg.HeaderRewind))
	}
	if err != nil {
		c.reject(m, dropBadBody, err)
		return
	}
	sockets, found := c.find(m, sub)
	if !found {
		return
	}
	c.changeEach(m, sub, sockets, "a socket could not join rooms", func(s *socket) (err error) {
		if sub.Verb == subjects.VerbLeave {
			c.rewinds.leave(s, rooms)
		} else {
			_, err = c.rewinds.join(s, rooms, rewind)
		}
		return err
	})
}

// changeEach changes sockets, and answers for how many that took effect. It fails only for a single socket.
func (c *commands) changeEach(m *bus.Message, sub *subjects.Subject, sockets []*socket, failure string, change func(*socket) error) {
	var err error
	done := make([]*socket, 0, len(sockets))
	for _, s := range sockets {
		if failed := change(s); failed != nil {
			err = failed
		} else {
			done = append(done, s)
		}
	}
	if err != nil && sub.Target == subjects.TargetSocket {
		c.fail(m, err)
		return
	}
	if err != nil && !errors.Is(err, errUnknownSocket) { // that is normal: sockets go
		c.complaints.about(sub.Namespace, failure, err)
	}
	c.confirm(m, sub, done)
}

// confirm answers a change once its subscriptions are active, and the records of the sockets have it.
func (c *commands) confirm(m *bus.Message, sub *subjects.Subject, sockets []*socket) {
	if m.Reply == "" {
		return
	}
	answer := c.changed(sub, sockets)
	c.afterSubscribed(m, func(m *bus.Message) {
		c.logged.afterSaved(sockets, func(saved bool) {
			switch failed := func() { c.fail(m, errNotRecorded) }; {
			case saved:
				c.send(m, nil, answer)
			case len(sockets) == 1: // another edge may have taken it over
				c.logged.unknown(sockets[0].ID, failed)
			default:
				failed()
			}
		})
	})
}

// changed is the answer to a change: for how many sockets it took effect, and of a single one that is owned also which
// revision its owner must have to know of it.
func (c *commands) changed(sub *subjects.Subject, sockets []*socket) []byte {
	if sub.Target == subjects.TargetSocket && sockets[0].Edge.owner != nil {
		if v, isMember := c.targets.View(sockets[0]); isMember {
			return msg.Answer{Edge: c.edge, Sockets: 1, Rev: &v.Rev}.Body()
		}
	}
	return c.body(len(sockets))
}

// query acts on fetch, data and rooms.
func (c *commands) query(m *bus.Message, sub *subjects.Subject) {
	var data json.RawMessage
	var err error
	if sub.Verb == subjects.VerbData {
		data, err = msg.Data(m.Data)
	} else {
		err = msg.Question(m.Data)
	}
	if err != nil {
		c.reject(m, dropBadBody, err)
		return
	}
	if data == nil && !c.mayAnswer(m) {
		return
	}
	sockets, found := c.find(m, sub)
	switch {
	case !found:
	case data == nil:
		c.queue(m, sub, sockets)
	default:
		c.changeEach(m, sub, sockets, "", func(s *socket) error { // the answer comes behind the notices to owners
			if _, ok := c.targets.SetData(s, data); !ok {
				return errUnknownSocket
			}
			return nil
		})
	}
}

// queue queues a query.
func (c *commands) queue(m *bus.Message, sub *subjects.Subject, sockets []*socket) {
	asked := &bus.Message{Subject: m.Subject, Reply: m.Reply}
	fail := func(err error) { c.fail(asked, err) }
	err := c.queries.Add(&query.Query{
		Namespace: sub.Namespace, Verb: sub.Verb, Single: sub.Target == subjects.TargetSocket, IsLogged: c.complaints.rules.IsLogged(sub.Namespace),
		Sockets: queried{c.targets, sockets}, Fail: fail,
		Answer: func(part string, body []byte) {
			var header bus.Header
			if part != "" {
				header = bus.Header{msg.HeaderPart: {part}}
			}
			c.send(asked, header, body)
		},
	})
	if err != nil {
		fail(err)
	}
}

// queried are the sockets of a query.
type queried struct {
	targets targets
	list    []*socket // static
}

func (q queried) Len() int { return len(q.list) }

func (q queried) Handshake(place int) []byte { return appendHandshake(nil, q.list[place]) }

func (q queried) Look(rooms bool, note func(int, query.View)) {
	for i, s := range q.list {
		v, ok := q.targets.View(s)
		if !rooms {
			v.Rooms = nil // a query keeps its views, and a socket may be in a thousand rooms
		}
		if ok {
			note(i, query.View{ID: s.ID, Namespace: s.Namespace.Name, Rooms: v.Rooms, User: v.User, Data: v.Data})
		}
	}
}
