package backend

import (
	"cmp"
	"context"
	"encoding/json"
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

// Local leaves out sockets that this instance does not own (see Owned). An event then costs every edge of the target,
// but reaches only those sockets.
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

// command asks for a change of the target's sockets and waits until it is done. The answer's Sockets is the sum of all
// edges.
func (t Target) command(ctx context.Context, verb string, body any) (total msg.Answer, err error) {
	m, err := t.message(verb)
	if err != nil {
		return total, err
	}
	m.Data, _ = json.Marshal(body) // names, flags and valid JSON
	var rooms []string
	switch verb {
	case subjects.VerbJoin:
		rooms = body.([]string)
	case subjects.VerbGrant:
		rooms, _ = body.([]map[string]any)[0]["rooms"].([]string)
	}
	err = t.ask(ctx, m, rooms, func(a *msg.Answer) error {
		total.Sockets += a.Sockets
		total.Rev = a.Rev
		return nil
	})
	return total, err
}

// Join puts the sockets of the target into rooms and returns how many they are. What this service sends to the rooms
// afterwards reaches them. The errors are BadArguments, TooLarge, UnknownSocket (a target of one socket by its id),
// Offline, Closed, TooMany, Refused, the context's error, and NoAnswer. The last is a *SilentEdges, which names the
// edges that live and did not answer within Limits.Wait. At the other edges the join is done.
func (t Target) Join(ctx context.Context, rooms ...string) (sockets int, err error) {
	return t.move(ctx, subjects.VerbJoin, rooms)
}

// Leave takes the sockets of the target out of rooms. Its results are those of Join.
func (t Target) Leave(ctx context.Context, rooms ...string) (sockets int, err error) {
	return t.move(ctx, subjects.VerbLeave, rooms)
}

func (t Target) move(ctx context.Context, verb string, rooms []string) (int, error) {
	if err := checkRooms(rooms); err != nil {
		return 0, err
	}
	total, err := t.command(ctx, verb, rooms)
	return total.Sockets, err
}

// Disconnect ends the sockets of the target, and with closeConnection the whole connections of their clients; the
// results are those of Join.
func (t Target) Disconnect(ctx context.Context, closeConnection bool) (sockets int, err error) {
	total, err := t.command(ctx, subjects.VerbDisconnect, []bool{closeConnection})
	return total.Sockets, err
}

// SetData gives all sockets of the target the same value as their data; see Socket.SetData. The results are those of
// Join.
func (t Target) SetData(ctx context.Context, data any) (sockets int, err error) {
	text, err := dataJSON(data)
	if err != nil {
		return 0, err
	}
	total, err := t.command(ctx, subjects.VerbData, []json.RawMessage{text})
	return total.Sockets, err
}

// ask asks the edge of the one socket that the target is, or all edges, and passes each answer to take. Events to
// rooms reach the sockets from the request on: rooms are those that it puts sockets into.
func (t Target) ask(ctx context.Context, m *nats.Msg, rooms []string, take func(*msg.Answer) error) error {
	if id := t.single(); id != "" {
		return t.askSocket(ctx, m, id, rooms, take)
	}
	u := &t.ns.svc.unconfirmed
	c, err := u.begin(t.ns.token, rooms, "", false)
	if err != nil {
		return err
	}
	var edges []string
	err = t.ns.svc.questions.everyEdge(ctx, m, func(a *msg.Answer) error {
		if a.Sockets > 0 {
			edges = append(edges, a.Edge)
		}
		return take(a)
	})
	if err == nil { // else an edge may be about to do it, and the rooms stay unconfirmed for a while
		u.finish(c, edges)
	}
	return err
}

// askSocket asks the edge of one socket. An answer that comes when the context has ended confirms the rooms all the
// same.
func (t Target) askSocket(ctx context.Context, m *nats.Msg, id string, rooms []string, take func(*msg.Answer) error) error {
	s := t.ns.svc
	if err := ctx.Err(); err != nil {
		return err
	}
	bound, done, err := s.questions.bounded(ctx, s.wait)
	if err != nil {
		return err
	}
	defer done()
	c, err := s.unconfirmed.begin(t.ns.token, rooms, s.owners.holder(id), true)
	if err != nil {
		return err
	}
	m.Reply = c.reply
	if err := s.publish(m); err != nil {
		s.unconfirmed.finish(c, nil)
		return err
	}
	select {
	case answer := <-c.answer:
		if err := cmp.Or(answerError(answer), countAnswer(ctx, len(answer.Data))); err != nil {
			return err
		}
		a, err := msg.ParseAnswer(answer.Data)
		if err != nil {
			return because(Refused, err, "%s", m.Subject)
		}
		return take(&a)
	case <-bound.Done():
		if err := ctx.Err(); err != nil {
			return err
		}
		return sendError(bound.Err(), m, s.nc)
	case <-s.ctx.Done():
		return failure(Closed, "the service is closed")
	}
}

// Snapshot is the state of a socket when its edge was asked. Namespace.Socket makes a handle of its ID.
type Snapshot struct {
	ID        string
	Namespace string
	Rooms     []string
	User      string          // empty if there is none
	Data      json.RawMessage // {} if nothing was set
	Handshake Handshake
}

// Fetch returns all sockets of the target, at all edges. With the error NoAnswer it returns those of the edges that
// answered. The errors are those of Join.
func (t Target) Fetch(ctx context.Context) ([]Snapshot, error) {
	var found []Snapshot
	err := list(ctx, t, subjects.VerbFetch, func(s Snapshot) { found = append(found, s) })
	return found, err
}

// Data returns the data of all sockets of the target, as JSON, by the sockets' ids. Results and errors are as
// with Fetch.
func (t Target) Data(ctx context.Context) (map[string]json.RawMessage, error) {
	found := make(map[string]json.RawMessage)
	err := list(ctx, t, subjects.VerbData, func(s Snapshot) { found[s.ID] = s.Data })
	return found, err
}

// IDs returns the ids of all sockets of the target, sorted. It keeps nothing else of them. Errors are as with Fetch.
func (t Target) IDs(ctx context.Context) ([]string, error) {
	var found []string
	err := list(ctx, t, subjects.VerbData, func(s struct {
		ID string `json:"id"`
	}) {
		found = append(found, s.ID)
	})
	slices.Sort(found)
	return slices.Compact(found), err // one that moves may be at two edges
}

// Rooms returns the rooms in which sockets of the target are, and how many of them. Results and errors are as with
// Fetch.
func (t Target) Rooms(ctx context.Context) (map[string]int, error) {
	found := make(map[string]int)
	err := list(ctx, t, subjects.VerbRooms, func(counts map[string]int) {
		for room, n := range counts {
			found[room] += n
		}
	})
	return found, err
}

// list asks a question with an empty body and gives each element of the answers, decoded, to take.
func list[T any](ctx context.Context, t Target, verb string, take func(T)) error {
	m, err := t.message(verb)
	if err != nil {
		return err
	}
	return t.ask(ctx, m, nil, func(a *msg.Answer) error {
		for _, element := range a.Rest {
			var decoded T
			if err := json.Unmarshal(element, &decoded); err != nil {
				return because(Refused, err, "the answer of edge %s to %s", a.Edge, verb)
			}
			take(decoded)
		}
		return nil
	})
}
