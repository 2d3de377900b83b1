package edge

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/internal/flow"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// scratch holds the buffers that an event needs on its way up. They are pooled because a session that keeps its own
// would cost their size while it is idle.
type scratch struct{ name, event, subject, reply, arg []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// upward is an event of a client on its way up. It lives on the stack of who handles it.
type upward struct {
	*scratch
	*Edge
	conn   *connection
	socket *socket
	packet sio.Packet
	rule   *rule.Relay // nil: it is only for services
	header bus.Header  // of body
	body   []byte      // with attachments
}

// event processes an event of the client.
func (c *connection) event(p sio.Packet, attachments [][]byte) {
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	if p.Data != nil {
		var err error
		if sc.name, err = msg.EventName(sc.name[:0], p.Data); err != nil {
			c.invalid(err)
			return
		}
		if sc.event, err = subjects.AppendEvent(sc.event[:0], sc.name); err != nil {
			c.invalid(fmt.Errorf("event name: %w", err))
			return
		}
	}
	s := c.socket(p.Namespace)
	if s == nil || s.Life() != registry.Live {
		c.outOfTurn(p)
		return
	}
	c.countPacket(s)
	if p.Data == nil {
		return // an event without name or arguments has no listener in the reference either
	}
	u := upward{scratch: sc, Edge: c.edge, conn: c, socket: s, packet: p}
	if u.renew() || u.asksPresence() {
		c.pace()
		return
	}
	if !u.mayEmit() {
		return
	}
	if c.hold.Load() != nil && c.holdPacket(s, p, attachments, sc) {
		return
	}
	if u.isRoomChange() {
		if u.joinOrLeave() {
			c.pace()
		}
		return
	}
	u.rule = s.Edge.rules.RelayOf(sc.name)
	u.body, u.header = pack(p.Data, attachments)
	if !u.slow() {
		u.stats.eventsFailed.Inc()
		return
	}
	if err := u.publish(); err != nil {
		u.stats.event(err)
		c.expel(engine.QueueOverflow, "closing the session", "error", err)
	}
}

// checkpointID ends the id under which an edge publishes checkpoints to itself. The ids of sockets are random.
const checkpointID = ".checkpoint----------"

// slow waits while the socket's namespace has too much under way at NATS. It is only called on the session's reader.
// It returns false if the socket has gone meanwhile.
func (u *upward) slow() bool {
	s, session := u.socket, u.conn.session
	window, cost := s.Namespace.Window, flow.Cost(len(u.body), u.receivers())
	checkpoint, entered := window.Enter(cost, false)
	if !entered {
		s.Edge.rules.Slowed.Inc()
		session.EndTurn()
		session.StopReading() // the pong waits behind what is not read
		checkpoint, _ = window.Enter(cost, true)
		session.ResumeReading()
	}
	if checkpoint > 0 {
		u.subject = u.prefix.AppendToSocket(u.subject[:0], s.Namespace.Token, subjects.VerbEmit, u.set.ID+checkpointID)
		u.arg = strconv.AppendUint(u.arg[:0], checkpoint, 10)
		if u.send(nil, nil, u.arg) != nil {
			window.Return(checkpoint)
		}
	}
	return entered || s.Life() == registry.Live
}

// receivers returns how many sockets of this edge get the event if it is relayed, at most.
func (u *upward) receivers() (sum int) {
	s, relay := u.socket, u.rule
	switch {
	case relay == nil:
		return 0
	case relay.To == rule.ToSocket:
		return 1
	case relay.To == rule.ToAll, relay.To == rule.ToRoomsOrAll && len(roomsOfRelay(s)) == 0:
		return s.Namespace.Members()
	case relay.To == rule.ToRoom:
		named, _ := u.room()
		for _, room := range s.Rooms() {
			if room.Name == named {
				return room.Members()
			}
		}
		return 0
	}
	for _, room := range roomsOfRelay(s) {
		sum += room.Members()
	}
	return sum
}

// publish sends an event to services, and on to other clients if a relay rule applies. The only error is
// owner.ErrHeldFull: it did neither because the socket's owner is away.
func (u *upward) publish() error {
	s := u.socket
	if u.packet.HasID {
		u.reply = u.prefix.AppendAck(u.reply[:0], s.Namespace.Token, s.ID, u.packet.ID)
	} else {
		u.reply = u.answers.address(u.reply[:0], s)
	}
	header := u.header
	if user := s.User(); user != "" {
		header = withHeader(header, msg.HeaderUser, user)
	}
	if s.Edge.owner != nil {
		err := u.owners.Event(s.Edge.owner, u.event, u.reply, header, u.body)
		if errors.Is(err, owner.ErrHeldFull) {
			return err
		}
		u.complain(s.Namespace.Name, err)
		u.stats.event(err)
	} else {
		u.subject = u.prefix.AppendOwn(u.subject[:0], s.Namespace.Token, s.Edge.group, asString(u.event))
		u.stats.event(u.send(u.reply, header, u.body))
	}
	if u.rule != nil {
		u.relay()
	}
	return nil
}

// send publishes what a client's event causes, on the subject in u.
func (u *upward) send(reply []byte, header bus.Header, body []byte) (err error) {
	if err = u.up.Publish(u.subject, reply, header, body); err != nil { // else the subject would become a string for nothing
		u.complain(string(u.subject), err)
	}
	return err
}

// complain logs why an event was not published; nil: it was.
func (u *upward) complain(about string, err error) {
	if err != nil && !errors.Is(err, bus.ErrOffline) && !errors.Is(err, owner.ErrOffline) { // that is in the log already
		u.complaints.about(about, "an event of a client could not be published", err)
	}
}

// relay passes an event on to other clients. A rule is nothing but a publish on the public subjects.
func (u *upward) relay() {
	s, relay, header, verb := u.socket, u.rule, u.header, subjects.VerbBroadcast
	token := s.Namespace.Token
	u.reply = u.answers.address(u.reply[:0], s)
	if !relay.Self && relay.To != rule.ToSocket && s.Edge.rules.IsLogged() { // the log keeps no reply subject
		header = withHeader(header, msg.HeaderExcept, s.ID)
	}
	if relay.Self || relay.To == rule.ToSocket || s.Edge.rules.IsLogged() {
		verb, u.reply = subjects.VerbEmit, u.reply[:0]
	}
	switch rooms := roomsOfRelay(s); {
	case relay.To == rule.ToSocket:
		var isString bool
		u.arg, isString = msg.FirstArgument(u.arg[:0], u.packet.Data)
		if !isString || !subjects.IsSocketID(u.arg) || !relay.Self && string(u.arg) == s.ID {
			return
		}
		u.subject = u.prefix.AppendToSocket(u.subject[:0], token, verb, asString(u.arg))
	case relay.To == rule.ToRoom: // which the first argument names; the socket must be in it
		room, err := u.room()
		if err != nil || !s.IsIn(room) {
			return
		}
		u.subject = u.prefix.AppendToRoom(u.subject[:0], token, verb, room)
	case relay.To == rule.ToAll || relay.To == rule.ToRoomsOrAll && len(rooms) == 0:
		u.subject = u.prefix.AppendAll(u.subject[:0], token, verb)
	case len(rooms) == 0:
		return
	case len(rooms) == 1:
		u.subject = u.prefix.AppendToRoom(u.subject[:0], token, verb, rooms[0].Name)
	default: // several are a union, so that who is in two of them gets the event once
		names := make([]string, len(rooms))
		for i, room := range rooms {
			names[i] = room.Name
		}
		header = withHeader(header, msg.HeaderRooms, names...)
		u.subject = u.prefix.AppendAll(u.subject[:0], token, verb)
	}
	if u.send(u.reply, header, u.body) == nil {
		u.stats.relayed.Inc()
	}
}

// roomsOfRelay lists the rooms of a sender to which its events are relayed: not that of its user, which it did not
// enter.
func roomsOfRelay(s *socket) []*registry.Room[client] {
	rooms := s.Rooms()
	if s.Edge.rules.UserRoom == "" {
		return rooms
	}
	return slices.DeleteFunc(slices.Clone(rooms), func(room *registry.Room[client]) bool { return s.Edge.rules.IsUserRoom(room.Name) })
}

// room is the room that the event's first argument names, as in subjects.
func (u *upward) room() (token string, err error) {
	var isString bool
	if u.arg, isString = msg.FirstArgument(u.arg[:0], u.packet.Data); !isString {
		return "", errNoRoom
	}
	return subjects.RoomToken(asString(u.arg))
}

// maxJoining bounds the joins and leaves of one session that wait for NATS.
const maxJoining = 1000

// joinCost is the memory of a join that waits for NATS, without its answer.
const joinCost = 256

// What a client enters, a room or a namespace, may cost a subscription, and that outlives its leaving. Past the first
// few a session gets as many a second as the bus can end with ease; more must wait.
const (
	freeEntries = 100
	entryEvery  = time.Millisecond
)

// pace makes a client that enters rooms and namespaces in a loop wait, for entryEvery at the most. It is only called
// on the session's reader.
func (c *connection) pace() {
	if wait := excess(&c.entered, freeEntries, entryEvery); wait > 0 {
		c.session.EndTurn()
		time.Sleep(wait)
	}
}

// joinOrLeave acts on a client's own join or leave, and answers once it holds. It reports whether the socket has
// entered a room.
func (u *upward) joinOrLeave() (entered bool) {
	entered, err := u.changeRoom()
	u.answerChange(err)
	return entered
}

// isRoomChange reports whether the edge itself acts on the event.
func (u *upward) isRoomChange() bool {
	return u.socket.Edge.rules.IsRoomChange(u.name, u.socket.Edge.grant())
}

// mayEmit reports whether the client may emit the event, and answers if it may not.
func (u *upward) mayEmit() bool {
	g := u.socket.Edge.grant()
	if rule.MayEmit(u.name, g) || u.isRoomChange() {
		return true
	}
	u.answerChange(&denied{deniedEmit, u.name})
	return false
}

// answerChange acks a join, leave or renewal, if the client wants it, and what it may not do.
func (u *upward) answerChange(err error) {
	c, s, logged := u.conn, u.socket, &u.logged
	if c.countDenied(err); !u.packet.HasID {
		return
	}
	ack := c.frame(&packet{kind: sio.Ack, namespace: s.Namespace.Name, hasID: true, id: u.packet.ID, body: msg.Done(err)})
	if err != nil {
		c.session.Send(ack)
		return
	}
	c.countJoining(1)
	c.session.Charge(ack.Size() + joinCost)
	end := func() {
		c.session.Charge(-ack.Size() - joinCost)
		c.countJoining(-1) // or the client could never join again
	}
	kept := u.out.AfterSubscribed(func() {
		logged.afterSaved([]*socket{s}, func(bool) {
			c.session.Send(ack)
			end()
		})
	})
	if !kept { // NATS has been away for so long that the answer would wait with a hundred thousand others
		u.stats.eventsFailed.Inc()
		end()
	}
}

// countJoining counts joins and leaves that are not answered yet, and returns how many there are.
func (c *connection) countJoining(change int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joining += change
	return c.joining
}

// errNoRoom is for the client, in the answer to its join or leave.
var errNoRoom = errors.New("the first argument must be the room's name, a string")

// changeRoom lets the socket enter or leave the room that the event names.
func (u *upward) changeRoom() (entered bool, err error) {
	token, err := u.room()
	isLeave, rules, granted := string(u.name) == "leave", u.socket.Edge.rules, u.socket.Edge.grant()
	switch {
	case errors.Is(err, errNoRoom):
		return false, err
	case !isLeave && !rules.MayEnter(u.arg, granted):
		return false, &denied{deniedJoin, u.arg}
	case isLeave && !rules.MayLeave(u.arg, granted):
		return false, &denied{deniedLeave, u.arg}
	case err != nil:
		return false, err
	case u.conn.countJoining(0) >= maxJoining:
		return false, errTooManyJoins
	}
	u.rewinds.between(u.socket, func() {
		if isLeave {
			u.rewinds.leave(u.socket, []string{token})
			return
		}
		var effects registry.Effects[client]
		effects, err = u.rewinds.join(u.socket, []string{token}, byRule)
		entered = effects.Changed != nil
	})
	return entered, err
}
