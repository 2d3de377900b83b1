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
	Data      json.RawMessage // a JSON object
	Handshake Handshake
}

// Fetch returns all sockets of the target, at all edges. With the error NoAnswer it returns those of the edges that
// answered. The errors are those of Join.
func (t Target) Fetch(ctx context.Context) ([]Snapshot, error) {
	var found []Snapshot
	err := t.list(ctx, subjects.VerbFetch, func(element json.RawMessage) error {
		var f msg.FetchedSocket
		if err := json.Unmarshal(element, &f); err != nil {
			return err
		}
		snapshot := Snapshot{ID: f.ID, Namespace: f.Namespace, Rooms: f.Rooms, User: f.User, Data: f.Data}
		if len(f.Handshake) > 0 {
			if err := json.Unmarshal(f.Handshake, &snapshot.Handshake); err != nil {
				return err
			}
		}
		found = append(found, snapshot)
		return nil
	})
	return found, err
}

// Data returns the data of all sockets of the target, JSON objects, by the sockets' ids. Results and errors are as
// with Fetch.
func (t Target) Data(ctx context.Context) (map[string]json.RawMessage, error) {
	found := make(map[string]json.RawMessage)
	err := t.list(ctx, subjects.VerbData, func(element json.RawMessage) error {
		var f msg.FetchedSocket
		if err := json.Unmarshal(element, &f); err != nil {
			return err
		}
		found[f.ID] = f.Data
		return nil
	})
	return found, err
}

// Rooms returns the rooms in which sockets of the target are, and how many of them. Results and errors are as with
// Fetch.
func (t Target) Rooms(ctx context.Context) (map[string]int, error) {
	found := make(map[string]int)
	err := t.list(ctx, subjects.VerbRooms, func(element json.RawMessage) error {
		var counts map[string]int
		if err := json.Unmarshal(element, &counts); err != nil {
			return err
		}
		for room, n := range counts {
			found[room] += n
		}
		return nil
	})
	return found, err
}

// list asks a question with an empty body and gives each element of the answers to take.
func (t Target) list(ctx context.Context, verb string, take func(json.RawMessage) error) error {
	m, err := t.message(verb)
	if err != nil {
		return err
	}
	return t.ask(ctx, m, nil, func(a *msg.Answer) error {
		for _, element := range a.Rest {
			if err := take(element); err != nil {
				return because(Refused, err, "the answer of edge %s to %s", a.Edge, verb)
			}
		}
		return nil
	})
}
