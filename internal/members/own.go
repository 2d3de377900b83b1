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

// Change is what may have changed of a socket.
type Change struct {
	Reason string // why it has gone; "" if it has not
	Rules  *rule.Rules
	Places []Place // rooms that show it, into which it came, which it left, or where it has another user; mostPlaces are kept
	IsData bool    // it may have other data
}

// Changes are those of sockets, by id, since they were compared.
type Changes map[string]*changes

type changes struct {
	reason string      // the latest
	rules  *rule.Rules // not nil if there are places
	places map[Place]bool
	isData bool
}

// Add adds a change.
func (c Changes) Add(id string, change Change) {
	one := c[id]
	if one == nil {
		one = &changes{places: make(map[Place]bool)}
		c[id] = one
	}
	if one.reason, one.isData = change.Reason, one.isData || change.IsData; change.Rules != nil {
		one.rules = change.Rules
	}
	for _, place := range change.Places[:min(len(change.Places), mostPlaces-len(one.places))] {
		one.places[place] = true
	}
}

const (
	// mostPlaces bounds the places of a socket's changes. While NATS is away nobody compares them.
	mostPlaces = 100
	// keepEmptied is how many times Take is called until a room without sockets is forgotten.
	keepEmptied = 100
)

// reasonLeave is why a socket has left a room that has not ended.
const reasonLeave = "leave"

// Own is what an edge has published of its own sockets, and what it must publish.
type Own struct {
	edge    string
	sockets map[string]Socket // as they were published, by id
	rooms   map[Place]*source
	changed map[Place]bool // rooms about which there is something to publish
	takes   int            // times that Take was called
	emptied []emptying     // the oldest first
}

// emptying is that the last socket left a room.
type emptying struct {
	Place
	take int
}

// source is a room with sockets of the edge.
type source struct {
	rules        *rule.Rules
	n            uint64 // of the last message
	sockets      int
	joined, left []msg.Present // to be published
	isDue        bool          // a message is, be it empty
	emptied      int           // the latest Take after which there was no socket
}

// NewOwn makes the Own of an edge that has published nothing.
func NewOwn(edge string) *Own {
	return &Own{edge: edge, sockets: make(map[string]Socket), rooms: make(map[Place]*source), changed: make(map[Place]bool)}
}

// Compare compares sockets with what was published of them, at most once between two calls of Take. look returns how one
// is. What has changed and is again as it was is published once more: who asked meanwhile for the members of the room
// got the other state.
func (o *Own) Compare(changed Changes, look func(id string) Socket) {
	for id, by := range changed {
		o.compare(id, look(id), by)
	}
}

func (o *Own) compare(id string, is Socket, by *changes) {
	was, reason := o.sockets[id], by.reason
	if reason == "" || is.Rules != nil { // it is there, and in other rooms
		reason = reasonLeave
	}
	for place := range by.places {
		if !slices.Contains(was.Places, place) && !slices.Contains(is.Places, place) {
			s := o.source(place, by.rules)
			s.left = append(s.left, msg.Present{ID: id}.Gone(reason))
		}
	}
	for _, place := range was.Places {
		if s := o.rooms[place]; !slices.Contains(is.Places, place) {
			s.sockets--
			s.left = append(s.left, was.Gone(reason))
			o.changed[place] = true
		}
	}
	for _, place := range is.Places {
		isIn := slices.Contains(was.Places, place)
		isAgain := by.places[place] || by.isData && is.Rules.Presence.Data
		if isIn && !isAgain && was.Equal(is.Present) {
			continue
		}
		s := o.source(place, is.Rules)
		if s.joined = append(s.joined, is.Present); !isIn {
			s.sockets++
		}
	}
	if o.sockets[id] = is; len(is.Places) == 0 {
		delete(o.sockets, id)
	}
}

// source returns a room about which there is something to publish.
func (o *Own) source(place Place, rules *rule.Rules) *source {
	s := o.rooms[place]
	if s == nil {
		s = &source{rules: rules}
		o.rooms[place] = s
	}
	o.changed[place] = true
	return s
}

// Restart has all published again: N begins with 1, so readers forget what they had, also of rooms that are empty since
// a short time: the last message about them may be lost. It returns the ids of the sockets that must be compared again.
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
func (o *Own) Has(p Place) bool { return o.rooms[p] != nil && o.rooms[p].sockets > 0 }

// Take calls in for each room in which there were or are sockets and that has changed, and publish for each message,
// with at most so many sockets, that must be published.
func (o *Own) Take(most int, in func(Place, *rule.Rules), publish func(Place, msg.RoomMembers)) {
	o.takes++
	for len(o.emptied) > 0 && o.takes-o.emptied[0].take > keepEmptied {
		e := o.emptied[0]
		if s := o.rooms[e.Place]; s != nil && s.sockets == 0 && s.emptied == e.take && !o.changed[e.Place] {
			delete(o.rooms, e.Place)
		}
		o.emptied = o.emptied[1:]
	}
	for place := range o.changed {
		s := o.rooms[place]
		if s.sockets > 0 || s.n > 0 {
			in(place, s.rules)
		}
		for ; s.isDue || len(s.joined)+len(s.left) > 0; s.isDue = false {
			left := min(most, len(s.left))
			joined := min(most-left, len(s.joined))
			s.n++
			publish(place, msg.RoomMembers{Edge: o.edge, N: s.n, Joined: s.joined[:joined], Left: s.left[:left]})
			s.joined, s.left = s.joined[joined:], s.left[left:]
		}
		if s.joined, s.left = nil, nil; s.sockets == 0 {
			s.n, s.emptied = 0, o.takes
			o.emptied = append(o.emptied, emptying{place, o.takes})
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
