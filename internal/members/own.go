package members

import (
	"slices"

	"partyline/rule"
	"partyline/wire/msg"
)

// Place is a room in a namespace, as in subjects.
type Place struct{ Namespace, Room string }

// Socket is a socket as it is now. The zero Socket is not there.
type Socket struct {
	msg.Present
	Places []Place // rooms that show it
	Rules  *rule.Rules
}

// reasonLeave is why a socket has left a room that has not ended.
const reasonLeave = "leave"

// Own is what an edge has published of its own sockets, and what it must publish.
type Own struct {
	edge    string
	sockets map[string]Socket // as they were published, by id
	rooms   map[Place]*source
	changed map[Place]bool // rooms about which there is something to publish, or that are empty
}

// source is a room with sockets of the edge.
type source struct {
	rules        *rule.Rules
	n            uint64 // of the last message
	sockets      int
	joined, left []msg.Present // to be published
	isDue        bool          // a message is, be it empty
}

// NewOwn makes the Own of an edge that has published nothing.
func NewOwn(edge string) *Own {
	return &Own{edge: edge, sockets: make(map[string]Socket), rooms: make(map[Place]*source), changed: make(map[Place]bool)}
}

// Compare compares a socket with what was published of it, at most once between two calls of Take. reason is why it has gone, if it has.
func (o *Own) Compare(id string, is Socket, reason string) {
	was := o.sockets[id]
	if reason == "" || is.Rules != nil { // it is there, and in other rooms
		reason = reasonLeave
	}
	for _, place := range was.Places {
		if s := o.rooms[place]; !slices.Contains(is.Places, place) {
			s.sockets--
			s.left = append(s.left, was.Gone(reason))
			o.changed[place] = true
		}
	}
	for _, place := range is.Places {
		s, isIn := o.rooms[place], slices.Contains(was.Places, place)
		if s == nil {
			s = &source{rules: is.Rules}
			o.rooms[place] = s
		}
		if !isIn {
			s.sockets++
		}
		if !isIn || !was.Equal(is.Present) {
			s.joined = append(s.joined, is.Present)
			o.changed[place] = true
		}
	}
	if o.sockets[id] = is; len(is.Places) == 0 {
		delete(o.sockets, id)
	}
}

// Restart has all published again: N begins with 1, so readers forget what they had. It returns the ids of the sockets
// that must be compared again.
func (o *Own) Restart() (ids []string) {
	for id := range o.sockets {
		ids = append(ids, id)
	}
	clear(o.sockets)
	for place, s := range o.rooms {
		s.n, s.sockets, s.isDue = 0, 0, true
		o.changed[place] = true
	}
	return ids
}

// Has reports whether the edge had a socket in a room at the last Take.
func (o *Own) Has(p Place) bool { return o.rooms[p] != nil }

// Take calls in for each room that has changed, and publish for each message, with at most so many sockets, that must be
// published.
func (o *Own) Take(most int, in func(Place, *rule.Rules), publish func(Place, msg.RoomMembers)) {
	for place := range o.changed {
		s := o.rooms[place]
		in(place, s.rules)
		for ; s.isDue || len(s.joined)+len(s.left) > 0; s.isDue = false {
			left := min(most, len(s.left))
			joined := min(most-left, len(s.joined))
			s.n++
			publish(place, msg.RoomMembers{Edge: o.edge, N: s.n, Joined: s.joined[:joined], Left: s.left[:left]})
			s.joined, s.left = s.joined[joined:], s.left[left:]
		}
		if s.joined, s.left = nil, nil; s.sockets == 0 {
			delete(o.rooms, place)
		}
	}
	clear(o.changed)
}

// Shown is what a socket of a namespace shows of itself.
func Shown(rules *rule.Rules, id, user string, data []byte) msg.Present {
	if !rules.Presence.Data {
		data = nil
	}
	return msg.Shown(id, user, data)
}
