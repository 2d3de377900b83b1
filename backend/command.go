package backend

import (
	"context"
	"encoding/json"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// command asks for a change of the target's sockets and waits until it is done. The answer's Sockets is the sum of all
// edges.
func (t Target) command(ctx context.Context, verb string, body any) (total msg.Answer, err error) {
	m, err := t.message(verb)
	if err != nil {
		return total, err
	}
	m.Data, _ = json.Marshal(body) // names, flags and valid JSON
	var rooms []string
	if verb == subjects.VerbJoin {
		rooms = body.([]string)
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
		if err := answerError(answer); err != nil {
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
