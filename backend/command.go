package backend

import (
	"context"
	"encoding/json"

	"partyline/subjects"
	"partyline/wire/msg"
)

// command asks for a change of the target's sockets and waits until it holds. The answer's Sockets count all edges.
func (t Target) command(ctx context.Context, verb string, body any) (total msg.Answer, err error) {
	m, err := t.message(verb)
	if err != nil {
		return total, err
	}
	if m.Data, err = json.Marshal(body); err != nil {
		return total, because(BadArguments, err, "%s", verb)
	}
	if rooms, ok := body.([]string); ok && verb == subjects.VerbJoin {
		return t.join(ctx, m, rooms)
	}
	err = t.ask(ctx, m, func(a *msg.Answer) error {
		total.Sockets += a.Sockets
		total.Rev = a.Rev
		return nil
	})
	return total, err
}

// Join puts the sockets of the target into rooms and returns how many they are, once it holds: what this service sends to
// the rooms afterwards reaches them. The errors are BadArguments, TooLarge, UnknownSocket (a target of one socket by its
// id), Offline, Closed, TooMany, Refused, the context's error, and NoAnswer: a *SilentEdges names the edges that live and
// did not answer within Limits.Wait, while for the others it holds.
func (t Target) Join(ctx context.Context, rooms ...string) (sockets int, err error) {
	return t.move(ctx, subjects.VerbJoin, rooms)
}

// Leave takes the sockets of the target out of rooms, as Join puts them in.
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

// Disconnect ends the sockets of the target, and with closeConnection the whole connections of their clients; the results
// are those of Join.
func (t Target) Disconnect(ctx context.Context, closeConnection bool) (sockets int, err error) {
	total, err := t.command(ctx, subjects.VerbDisconnect, []bool{closeConnection})
	return total.Sockets, err
}

// SetData gives all sockets of the target the same object as their data; see Socket.SetData. The results are those of
// Join.
func (t Target) SetData(ctx context.Context, data any) (sockets int, err error) {
	text, err := dataObject(data)
	if err != nil {
		return 0, err
	}
	total, err := t.command(ctx, subjects.VerbData, []json.RawMessage{text})
	return total.Sockets, err
}
