package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"partyline/backend"
	"partyline/gateway/strict"
	"partyline/subjects"
)

// nothing is the answer to what is on its way and has no result.
type nothing struct{}

var accepted any = nothing{}

// changed is the answer to a command that edges have carried out.
type changed struct {
	Sockets int `json:"sockets"`
}

func done(sockets int, err error) (any, error) { return changed{sockets}, err }

// emitted is the answer to an event that the log has stored.
type emitted struct {
	Sequence  uint64 `json:"sequence"`
	Duplicate bool   `json:"duplicate"`
}

// event sends an event to a target, once if the request has an Idempotency-Key.
func (q *request) event(t backend.Target, namespace string, e []jsontext.Value, isVolatile bool) (any, error) {
	name, args, err := split(e)
	if err != nil {
		return nil, err
	}
	if isVolatile {
		t = t.Volatile()
	}
	if q.id == "" {
		return accepted, t.Emit(name, args...)
	}
	// Ids count for the whole log. With nothing else in it, one key could suppress the events of another.
	id := fmt.Sprintf("%x/%s/%s", q.sum[:8], url.PathEscape(namespace), q.id)
	sequence, isDuplicate, err := t.EmitOnce(q.ctx, id, name, args...)
	return emitted{sequence, isDuplicate}, err
}

func emit(q *request, body []byte) (any, error) {
	var b struct {
		addressed
		Event    strict.List[jsontext.Value] `json:"event"`
		Volatile bool                        `json:"volatile"`
	}
	t, err := q.read(body, &b, &b.addressed)
	if err != nil {
		return nil, err
	}
	return q.event(t, b.Namespace, b.Event, b.Volatile)
}

// broadcast is emit without the socket that sent what it is about. Its id needs no permission.
func broadcast(q *request, body []byte) (any, error) {
	var b struct {
		addressed
		Sender   string                      `json:"sender"`
		Event    strict.List[jsontext.Value] `json:"event"`
		Volatile bool                        `json:"volatile"`
	}
	t, err := q.read(body, &b, &b.addressed)
	if err != nil {
		return nil, err
	}
	if !subjects.IsSocketID(b.Sender) {
		return nil, problemOf(badRequest, "sender must be the id of the socket that does not get the event")
	}
	return q.event(t.Except(b.Sender), b.Namespace, b.Event, b.Volatile)
}

// answers are those of sockets to an event.
type answers struct {
	Expected int       `json:"expected"`
	Answers  []answer  `json:"answers"`
	Missing  []missing `json:"missing"`
	Silent   []string  `json:"silent"` // edges
}

type answer struct {
	Socket string           `json:"socket"`
	Ack    []jsontext.Value `json:"ack"`
}

type missing struct {
	Socket string `json:"socket"`
	Reason string `json:"reason"`
}

func ask(q *request, body []byte) (any, error) {
	var b struct {
		addressed
		Event   strict.List[jsontext.Value] `json:"event"`
		Timeout *int                        `json:"timeout"` // milliseconds
	}
	t, err := q.read(body, &b, &b.addressed)
	if err != nil {
		return nil, err
	}
	const least, most, standard = 1, 60_000, 10_000
	timeout := standard
	if b.Timeout != nil {
		timeout = *b.Timeout
	}
	if timeout < least || timeout > most {
		return nil, problemOf(badRequest, "timeout must be %d to %d milliseconds", least, most)
	}
	name, args, err := split(b.Event)
	if err != nil {
		return nil, err
	}
	r, err := t.Timeout(time.Duration(timeout)*time.Millisecond).EmitWithAck(q.ctx, name, args...)
	isPartial := b.To.Socket == nil && r.Expected > 0 && errors.Is(err, backend.NoAnswer)
	if err != nil && !isPartial {
		return nil, err
	}
	return answersOf(&r), nil
}

func answersOf(r *backend.Responses) answers {
	a := answers{r.Expected, []answer{}, []missing{}, append([]string{}, r.Silent...)}
	for _, one := range r.Answers {
		ack := make([]jsontext.Value, one.Args.Len())
		for i := range ack {
			ack[i] = jsontext.Value(one.Args.JSON(i))
		}
		a.Answers = append(a.Answers, answer{one.Socket, ack})
	}
	for _, one := range r.Missing {
		reason := backend.NoAnswer
		if errors.Is(one.Err, backend.UnknownSocket) {
			reason = backend.UnknownSocket
		}
		a.Missing = append(a.Missing, missing{one.Socket, string(reason)})
	}
	return a
}

// move is join and leave.
func move(q *request, body []byte, change func(t backend.Target, ctx context.Context, rooms ...string) (int, error)) (any, error) {
	var b struct {
		addressed
		Rooms strict.List[string] `json:"rooms"`
	}
	t, err := q.read(body, &b, &b.addressed)
	if err != nil {
		return nil, err
	}
	if err := q.roomList("rooms", b.Rooms); err != nil {
		return nil, err
	}
	return done(change(t, q.ctx, b.Rooms...))
}

func join(q *request, body []byte) (any, error)  { return move(q, body, backend.Target.Join) }
func leave(q *request, body []byte) (any, error) { return move(q, body, backend.Target.Leave) }

func disconnect(q *request, body []byte) (any, error) {
	var b struct {
		addressed
		Session bool `json:"session"`
	}
	t, err := q.read(body, &b, &b.addressed)
	if err != nil {
		return nil, err
	}
	if b.Session { // it ends the clients' sockets in other namespaces, too
		if err := q.allow(maySession); err != nil {
			return nil, err
		}
	}
	return done(t.Disconnect(q.ctx, b.Session))
}

// grant changes what sockets are and may do. Its lists of rooms, and of patterns of rooms, replace those of a token or an
// earlier grant, whatever rooms these name: so they need a key for all rooms. Whose sockets they are it changes only with
// the permission user.
func grant(q *request, body []byte) (any, error) {
	var b struct {
		addressed
		Grant *grantBody `json:"grant"`
	}
	t, err := q.read(body, &b, &b.addressed)
	if err != nil {
		return nil, err
	}
	g := b.Grant
	switch {
	case g == nil:
		return nil, problemOf(badRequest, `grant is missing: {"emit":["message"]}`)
	case g.User.isGiven && !g.User.isBack && g.User.value == "":
		return nil, problemOf(badRequest, "grant: user is empty; null takes it back")
	}
	if g.User.isGiven {
		if err := q.allow(mayUser); err != nil {
			return nil, err
		}
	}
	for member, c := range map[string]*change[strict.List[string]]{"rooms": &g.Rooms, "join": &g.Join, "leave": &g.Leave} {
		if c.isGiven && !q.hasRoom("*") {
			return nil, problemOf(notAllowed, "grant: %s replaces what sockets have of any room, so the key needs all rooms: \"*\"", member)
		}
		if err := q.allowRooms("grant: "+member, c.value); err != nil {
			return nil, err
		}
	}
	return done(t.SetGrant(q.ctx, g.grant()))
}

func setData(q *request, body []byte) (any, error) {
	var b struct {
		addressed
		Data jsontext.Value `json:"data"`
	}
	t, err := q.read(body, &b, &b.addressed)
	if err != nil {
		return nil, err
	}
	if b.Data == nil {
		return nil, problemOf(badRequest, "data is missing; it is any JSON value")
	}
	return done(t.SetData(q.ctx, json.RawMessage(b.Data)))
}
