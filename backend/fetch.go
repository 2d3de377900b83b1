package backend

import (
	"context"
	"encoding/json"

	"partyline/subjects"
	"partyline/wire/msg"
)

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
