package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"time"

	"partyline/subjects"
	"partyline/wire/msg"
)

// Grant changes whose sockets they are, what their clients may do by themselves, and for how long. A member that is
// nil or zero stays as it is, and one in TakeBack is taken back:
//
//	backend.Grant{Emit: []string{"chat.*"}, Expires: time.Now().Add(time.Hour)}
//	backend.Grant{Emit: []string{}}            // no event at all
//	backend.Grant{TakeBack: backend.GrantEmit} // again what the namespace allows
//
// Patterns are those of the edges' configuration, in which * stands for any text: at most 100 in a list, of 1 to 512
// bytes each.
type Grant struct {
	User    string    // whose sockets they are; see Socket.SetUser
	Rooms   []string  // the sockets enter these, and leave those of earlier grants that are not among them
	Join    []string  // patterns of rooms that clients may enter with the event "join"; empty and not nil: none
	Leave   []string  // patterns of rooms that they may leave with "leave"; empty and not nil: none
	Emit    []string  // patterns of other events that they may emit; empty and not nil: none
	Expires time.Time // in whole seconds: when the edge closes the clients' connections if this is not changed before

	TakeBack GrantMembers // what sockets do not have any more; none of it may be given as well
}

// GrantMembers are members of a Grant, combined with |.
type GrantMembers uint8

// The members of a Grant that can be taken back.
const (
	GrantUser    GrantMembers = 1 << iota // the sockets have no user
	GrantRooms                            // they leave the rooms of earlier grants
	GrantJoin                             // clients may enter the rooms that the namespace allows
	GrantLeave                            // they may leave those
	GrantEmit                             // they may emit the events that the namespace allows
	GrantExpires                          // their connections last
)

// change returns the members that are given as the verb grant has them: null is what is taken back.
func (g Grant) change() (map[string]any, error) {
	given := map[string]any{}
	for i, member := range [...]struct {
		name    string
		isGiven bool
		value   any
	}{
		{"user", g.User != "", g.User}, {"rooms", g.Rooms != nil, g.Rooms}, {"join", g.Join != nil, g.Join},
		{"leave", g.Leave != nil, g.Leave}, {"emit", g.Emit != nil, g.Emit}, {"expires", !g.Expires.IsZero(), g.Expires.Unix()},
	} {
		isBack := g.TakeBack&(1<<i) != 0
		switch {
		case member.isGiven && isBack:
			return nil, failure(BadArguments, "a grant gives %s and takes it back", member.name)
		case member.isGiven:
			given[member.name] = member.value
		case isBack:
			given[member.name] = nil
		}
	}
	if len(g.Rooms) > 0 {
		if err := checkRooms(g.Rooms); err != nil {
			return nil, err
		}
	}
	text, _ := json.Marshal([]any{given}) // texts and a number
	if _, _, err := msg.ParseChange(text); err != nil {
		return nil, because(BadArguments, err, "a grant")
	}
	return given, nil
}

// SetGrant changes what the socket is and may do. In the middleware of Namespace.Use it becomes part of the admission,
// whose rooms no later grant takes back. The grant stays with the socket, also when its client comes back or another
// instance takes it over. The errors are BadArguments and those of Target.Join.
func (s *Socket) SetGrant(ctx context.Context, g Grant) error {
	given, err := g.change()
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.admission != nil {
		maps.Copy(s.granted, given)
	}
	s.mu.Unlock()
	return s.grant(ctx, given)
}

func (s *Socket) grant(ctx context.Context, given map[string]any) error {
	return s.change(ctx, subjects.VerbGrant, []map[string]any{given}, func(state *msg.State) {
		if user, isGiven := given["user"]; isGiven {
			state.User, _ = user.(string)
		}
		rooms, _ := given["rooms"].([]string)
		state.Rooms = union(state.Rooms, rooms)
	})
}

// SetGrant changes what the sockets of the target are and may do; see Socket.SetGrant. The results are those of Join.
func (t Target) SetGrant(ctx context.Context, g Grant) (sockets int, err error) {
	given, err := g.change()
	if err != nil {
		return 0, err
	}
	total, err := t.command(ctx, subjects.VerbGrant, []map[string]any{given})
	return total.Sockets, err
}

// admissionOf is the answer to a connect request: the rooms, and what the middleware has changed since had, or granted,
// see Grant.change.
func admissionOf(state, had *msg.State, granted map[string]any) []byte {
	text, _ := json.Marshal(granted)
	g, _ := msg.ParseGrant(text) // checked by Grant.change
	if g.Rooms = state.Rooms; state.User != had.User {
		g.User = state.User
	}
	if !bytes.Equal(state.Data, had.Data) {
		g.Data = state.Data
	}
	return g.Body()
}
