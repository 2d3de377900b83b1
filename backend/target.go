package backend

import (
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// Target is a set of sockets, and how events are sent to them. It is a value: each of the methods that choose returns
// a new one and leaves the old as it was, so a Target can be kept, shared and used again.
//
//	chat.To("news", "sport").Except(id).Volatile().Emit("score", 1, 2)
//
// Without To, it is the whole namespace.
type Target struct {
	ns       *Namespace
	names    []string // tails of rooms, and ids of sockets; their union
	except   []string // the same, to leave out
	self     string   // a socket's id: the target is that socket, until To or Except make it a broadcast of that socket
	sender   string   // a socket's id to leave out: the target is a broadcast of that socket
	volatile bool
	plain    bool // not worth compressing
	local    bool // only sockets that this instance owns
	timeout  time.Duration
	err      error // what was wrong with a name; every use of the target returns it
}

// To adds rooms, and sockets by their ids: together they are a union, in which each socket is once. A name in the form
// of a socket's id is a socket: no room has one.
func (t Target) To(roomsOrIDs ...string) Target {
	t = t.broadcast()
	t.names = t.with(t.names, roomsOrIDs)
	return t
}

// In is To, which reads better with joins and fetches.
func (t Target) In(roomsOrIDs ...string) Target { return t.To(roomsOrIDs...) }

// Except leaves out the members of rooms, and sockets by their ids.
func (t Target) Except(roomsOrIDs ...string) Target {
	t = t.broadcast()
	t.except = t.with(t.except, roomsOrIDs)
	return t
}

// Volatile makes an event one that is dropped for clients whose connection is busy.
func (t Target) Volatile() Target {
	t.volatile = true
	return t
}

// Local leaves out sockets that this instance does not own (see Owned). An event then costs every edge of the target, but
// reaches only those sockets.
func (t Target) Local() Target {
	t = t.broadcast()
	t.local = true
	return t
}

// Compress sets whether an event is worth compressing; true by default. It matters only to clients that poll.
func (t Target) Compress(worthIt bool) Target {
	t.plain = !worthIt
	return t
}

// Timeout is how long EmitWithAck waits for the acks of clients: 1 ms to 10 minutes, 30 s by default, and not longer
// than its context lives.
func (t Target) Timeout(d time.Duration) Target {
	t.timeout = d
	if d < time.Millisecond || d > msg.MaxAskTimeout {
		t.err = failure(BadArguments, "Timeout(%v): it must be between 1ms and %v", d, msg.MaxAskTimeout)
	}
	return t
}

// broadcast makes a target that is one socket, which sends, everyone but that one.
func (t Target) broadcast() Target {
	if t.self != "" {
		t.sender, t.self = t.self, ""
	}
	return t
}

// with returns a new list with names as they stand in subjects.
func (t *Target) with(list []string, names []string) []string {
	list = slices.Clip(list)
	for _, name := range names {
		if subjects.IsSocketID(name) {
			list = append(list, name)
			continue
		}
		tail, err := subjects.AppendRoom(nil, name)
		if err != nil {
			t.err = because(BadArguments, err, "room %.64q", name)
			continue
		}
		list = append(list, string(tail))
	}
	return list
}

// single is the id of the one socket that the target is, or "".
func (t Target) single() string {
	switch {
	case t.self != "":
		return t.self
	case t.local:
	case len(t.names) == 1 && t.except == nil && t.sender == "" && subjects.IsSocketID(t.names[0]):
		return t.names[0]
	}
	return ""
}

// message addresses a message with a verb to the target.
func (t Target) message(verb string) (*nats.Msg, error) {
	if t.err != nil {
		return nil, t.err
	}
	p, ns := t.ns.svc.prefix, t.ns.token
	m := &nats.Msg{}
	if id := t.single(); id != "" {
		if !subjects.IsSocketID(id) {
			return nil, failure(UnknownSocket, "%.64q is not the id of a socket", id)
		}
		m.Subject = string(p.AppendToSocket(nil, ns, verb, id))
		return m, nil
	}
	except := t.except
	if t.sender != "" {
		except = append(slices.Clip(except), t.sender)
	}
	oneRoom := len(t.names) == 1 && !subjects.IsSocketID(t.names[0])
	onRoom := oneRoom && (verb != subjects.VerbEmit || !t.ns.svc.unconfirmed.has(ns, t.names[0])) // other verbs reach every edge anyway
	if onRoom {
		m.Subject = string(p.AppendToRoom(nil, ns, verb, t.names[0]))
	} else {
		m.Subject = string(p.AppendAll(nil, ns, verb))
		setHeader(m, msg.HeaderRooms, t.names...)
	}
	setHeader(m, msg.HeaderExcept, except...)
	if t.local {
		setHeader(m, msg.HeaderOwnedBy, t.ns.svc.presence.name())
	}
	return m, nil
}

// setHeader gives a message a header, unless there are no values.
func setHeader(m *nats.Msg, name string, values ...string) {
	if len(values) == 0 {
		return
	}
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header[name] = values
}

// event makes the message of an event for the target.
func (t Target) event(verb, event string, args []any) (*nats.Msg, error) {
	m, err := t.message(verb)
	if err != nil {
		return nil, err
	}
	body, header, err := eventBody(event, args)
	if err != nil {
		return nil, err
	}
	m.Data = body
	for name, values := range header {
		setHeader(m, name, values...)
	}
	if t.volatile {
		setHeader(m, msg.HeaderVolatile, "true")
	}
	if t.plain {
		setHeader(m, msg.HeaderCompress, "false")
	}
	return m, nil
}

// Emit sends an event to the sockets of the target. It does not wait, and does not report whether clients received it.
// The arguments are marshalled as encoding/json does, and []byte, at any depth, travels as binary data (at most 10 of
// them). The errors are BadArguments, TooLarge, Offline and Closed; UnknownSocket only if an id cannot be one.
func (t Target) Emit(event string, args ...any) error {
	m, err := t.event(subjects.VerbEmit, event, args)
	if err != nil {
		return err
	}
	return t.ns.svc.publish(m)
}
