package edge

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"partyline/bus"
	"partyline/edge/flow"
	"partyline/edge/owner"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// scratch holds the buffers that an event needs on its way up. They are pooled because a session that keeps its own
// would cost their size while it is idle.
type scratch struct{ name, event, subject, reply, arg []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

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
	if c.hold.Load() != nil && c.holdPacket(s, p, attachments, sc) {
		return
	}
	if s.Edge.rules.IsRoomChange(sc.name) {
		if c.joinOrLeave(s, p, sc) {
			c.pace()
		}
		return
	}
	body, header := p.Data, bus.Header(nil)
	if len(attachments) > 0 {
		body, header = pack(p.Data, attachments)
	}
	rule := s.Edge.rules.RelayOf(sc.name)
	if !c.slow(s, rule, len(body), sc) {
		c.edge.stats.eventsFailed.Inc()
		return
	}
	if err := c.publish(s, rule, p, header, body, sc); errors.Is(err, owner.ErrHeldFull) {
		c.edge.stats.event(err)
		c.expel(engine.QueueOverflow, "closing the session", "error", err)
	}
}

// checkpointID ends the id under which an edge publishes checkpoints to itself. The ids of sockets are random.
const checkpointID = ".checkpoint----------"

// slow waits while the socket's namespace has too much under way at NATS. It is only called on the session's reader.
// It returns false if the socket has gone meanwhile.
func (c *connection) slow(s *socket, rule *Relay, size int, sc *scratch) bool {
	e, window, cost := c.edge, s.Namespace.Window, flow.Cost(size, receivers(s, rule))
	checkpoint, entered := window.Enter(cost, false)
	if !entered {
		s.Edge.rules.Slowed.Inc()
		c.session.EndTurn()
		c.session.StopReading() // the pong waits behind what is not read
		checkpoint, _ = window.Enter(cost, true)
		c.session.ResumeReading()
	}
	if checkpoint > 0 {
		sc.subject = e.prefix.AppendToSocket(sc.subject[:0], s.Namespace.Token, subjects.VerbEmit, e.set.ID+checkpointID)
		sc.arg = strconv.AppendUint(sc.arg[:0], checkpoint, 10)
		if c.send(sc.subject, nil, nil, sc.arg) != nil {
			window.Return(checkpoint)
		}
	}
	return entered || s.Life() == registry.Live
}

// receivers returns how many sockets of this edge get a relayed event, at most.
func receivers(s *socket, rule *Relay) (sum int) {
	switch {
	case rule == nil:
		return 0
	case rule.To == ToSocket:
		return 1
	case rule.To == ToAll:
		return s.Namespace.Members()
	}
	rooms := s.Rooms()
	if len(rooms) == 0 && rule.To == ToRoomsOrAll {
		return s.Namespace.Members()
	}
	for _, room := range rooms {
		sum += room.Members()
	}
	return sum
}

// publish sends an event to services, and on to other clients if a relay rule applies. The error is owner.ErrHeldFull if it did
// neither because the socket's owner is away.
func (c *connection) publish(s *socket, rule *Relay, p sio.Packet, header bus.Header, body []byte, sc *scratch) error {
	e := c.edge
	if p.HasID {
		sc.reply = e.prefix.AppendAck(sc.reply[:0], s.Namespace.Token, s.ID, p.ID)
	} else {
		sc.reply = e.address(sc.reply[:0], s)
	}
	own := header
	if user := s.User(); user != "" {
		own = userHeader(user)
		for name, values := range header {
			own[name] = values
		}
	}
	if err := c.toServices(s, own, body, sc); err != nil {
		return err
	}
	if rule != nil {
		c.relay(s, rule, header, body, p.Data, sc)
	}
	return nil
}

// toServices publishes an event for services, or for the one that owns the socket. The only error is owner.ErrHeldFull.
func (c *connection) toServices(s *socket, header bus.Header, body []byte, sc *scratch) error {
	e := c.edge
	if s.Edge.owner == nil {
		if s.Edge.group == "" {
			sc.subject = e.prefix.AppendOn(sc.subject[:0], s.Namespace.Token, asString(sc.event))
		} else {
			sc.subject = e.prefix.AppendOwn(sc.subject[:0], s.Namespace.Token, s.Edge.group, asString(sc.event))
		}
		c.edge.stats.event(c.send(sc.subject, sc.reply, header, body))
		return nil
	}
	err := e.owners.Event(s.Edge.owner, sc.event, sc.reply, header, body)
	if errors.Is(err, owner.ErrHeldFull) {
		return err
	}
	c.edge.stats.event(err)
	if err != nil {
		c.complain(s.Namespace.Name, err)
	}
	return nil
}

// send publishes what a client's event causes.
func (c *connection) send(subject, reply []byte, header bus.Header, body []byte) (err error) {
	if err = c.edge.up.Publish(subject, reply, header, body); err != nil { // else the subject would become a string for nothing
		c.complain(string(subject), err)
	}
	return err
}

// complain logs why an event was not published.
func (c *connection) complain(about string, err error) {
	if !errors.Is(err, bus.ErrOffline) && !errors.Is(err, owner.ErrOffline) { // that is in the log already
		c.edge.complaints.about(about, "an event of a client could not be published", err)
	}
}

// relay passes an event on to other clients. A rule is nothing but a publish on the public subjects.
func (c *connection) relay(s *socket, rule *Relay, header bus.Header, body, text []byte, sc *scratch) {
	e, verb := c.edge, subjects.VerbBroadcast
	sc.reply = e.address(sc.reply[:0], s)
	if rule.Self {
		verb, sc.reply = subjects.VerbEmit, sc.reply[:0]
	}
	if verb == subjects.VerbBroadcast && rule.To != ToSocket && s.Edge.rules.IsLogged() { // the log keeps no reply subject
		verb, sc.reply = subjects.VerbEmit, sc.reply[:0]
		header = withHeader(header, msg.HeaderExcept, s.ID)
	}
	sc.subject = sc.subject[:0]
	switch rule.To {
	case ToAll:
		sc.subject = e.prefix.AppendAll(sc.subject, s.Namespace.Token, verb)
	case ToSocket:
		var isString bool
		sc.arg, isString = msg.FirstArgument(sc.arg[:0], text)
		if !isString || !subjects.IsSocketID(sc.arg) || !rule.Self && string(sc.arg) == s.ID {
			return
		}
		sc.subject = e.prefix.AppendToSocket(sc.subject, s.Namespace.Token, subjects.VerbEmit, asString(sc.arg))
		sc.reply = sc.reply[:0]
	case ToRoom:
		room, in := c.ownRoom(s, text, sc)
		if !in {
			return
		}
		sc.subject = e.prefix.AppendToRoom(sc.subject, s.Namespace.Token, verb, room)
	case ToRooms, ToRoomsOrAll:
		if header = c.toRooms(s, rule, verb, header, sc); len(sc.subject) == 0 {
			return
		}
	}
	if c.send(sc.subject, sc.reply, header, body) == nil {
		e.stats.relayed.Inc()
	}
}

// withHeader is a copy of a header with one more line.
func withHeader(h bus.Header, name, value string) bus.Header {
	more := bus.Header{name: {value}}
	for name, values := range h {
		more[name] = values
	}
	return more
}

// ownRoom is the room that the event's first argument names, as in subjects, if the socket is in it.
func (c *connection) ownRoom(s *socket, text []byte, sc *scratch) (string, bool) {
	var isString bool
	if sc.arg, isString = msg.FirstArgument(sc.arg[:0], text); !isString {
		return "", false
	}
	token, err := registry.RoomToken(string(sc.arg))
	return token, err == nil && s.IsIn(token)
}

// toRooms fills in the subject that reaches all rooms of a socket, and returns the header that it needs. In one room the
// room's own subject does; several are a union, so that who is in two of them gets the event once.
func (c *connection) toRooms(s *socket, rule *Relay, verb string, header bus.Header, sc *scratch) bus.Header {
	e, rooms := c.edge, s.Rooms()
	switch {
	case len(rooms) == 1:
		sc.subject = e.prefix.AppendToRoom(sc.subject, s.Namespace.Token, verb, rooms[0].Name)
	case len(rooms) > 1:
		union := bus.Header{msg.HeaderRooms: s.RoomNames()}
		for name, values := range header {
			union[name] = values
		}
		header = union
		sc.subject = e.prefix.AppendAll(sc.subject, s.Namespace.Token, verb)
	case rule.To == ToRoomsOrAll:
		sc.subject = e.prefix.AppendAll(sc.subject, s.Namespace.Token, verb)
	}
	return header
}

// maxJoining bounds the joins and leaves of one session that wait for NATS.
const maxJoining = 1000

// joinCost is the memory of a join that waits for NATS, without its answer.
const joinCost = 256

// What a client enters, a room or a namespace, may cost a subscription, and that outlives its leaving. Past the first few
// a session gets as many a second as the bus can end with ease; more must wait.
const (
	freeEntries = 100
	entryEvery  = time.Millisecond
)

// pace makes a client that enters rooms and namespaces in a loop wait, for entryEvery at the most. It is only called on
// the session's reader.
func (c *connection) pace() {
	now := time.Now()
	if earliest := now.Add(-freeEntries * entryEvery); c.entered.Before(earliest) {
		c.entered = earliest
	}
	c.entered = c.entered.Add(entryEvery)
	if wait := c.entered.Sub(now); wait > 0 {
		c.session.EndTurn()
		time.Sleep(wait)
	}
}

// joinOrLeave acts on a client's own join or leave, and answers once it holds. It reports whether the socket has entered a
// room.
func (c *connection) joinOrLeave(s *socket, p sio.Packet, sc *scratch) bool {
	entered, err := c.changeRoom(s, p, sc)
	if p.HasID {
		c.answerChange(s, p, err)
	}
	return entered
}

// answerChange acks a join or leave.
func (c *connection) answerChange(s *socket, p sio.Packet, err error) {
	e := c.edge
	answer := `[{"ok":true}]`
	if err != nil {
		answer = string(append(msg.AppendString([]byte(`[{"error":`), err.Error()), "}]"...))
	}
	ack := c.frame(&packet{kind: sio.Ack, namespace: s.Namespace.Name, hasID: true, id: p.ID, body: []byte(answer)})
	if err != nil {
		c.session.Send(ack)
		return
	}
	c.countJoining(1)
	c.session.Charge(ack.Size() + joinCost)
	kept := e.out.AfterSubscribed(func() {
		e.logged.afterSaved([]*socket{s}, func(bool) {
			c.session.Charge(-ack.Size() - joinCost)
			c.session.Send(ack)
			c.countJoining(-1)
		})
	})
	if !kept { // NATS has been away for so long that the answer would wait with a hundred thousand others
		e.stats.eventsFailed.Inc()
		c.session.Charge(-ack.Size() - joinCost)
		c.countJoining(-1) // nothing is under way, or the client could never join again
	}
}

// countJoining counts joins and leaves that are not answered yet, and returns how many there are.
func (c *connection) countJoining(change int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joining += change
	return c.joining
}

// Errors that a client reads in the answer to its join or leave.
var (
	errNoRoom     = errors.New("the first argument must be the room's name, a string")
	errNotAllowed = errors.New("this room cannot be joined or left by clients")
)

func (c *connection) changeRoom(s *socket, p sio.Packet, sc *scratch) (entered bool, err error) {
	var isString bool
	if sc.arg, isString = msg.FirstArgument(sc.arg[:0], p.Data); !isString {
		return false, errNoRoom
	}
	if !s.Edge.rules.MayEnter(sc.arg) {
		return false, errNotAllowed
	}
	token, err := registry.RoomToken(string(sc.arg))
	if err != nil {
		return false, err
	}
	if c.countJoining(0) >= maxJoining {
		return false, errTooManyJoins
	}
	c.edge.rewinds.between(s, func() {
		if string(sc.name) == "leave" {
			c.edge.rewinds.leave(s, []string{token})
			return
		}
		var effects registry.Effects[client]
		effects, err = c.edge.rewinds.join(s, []string{token}, byRule)
		entered = len(effects.Changed) > 0
	})
	return entered, err
}
