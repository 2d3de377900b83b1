// Package members finds out what is different: Own, between the sockets of an edge and what it has published of them;
// Room, between the members of a room at all edges and what clients were told. It has no lock, goroutine or clock.
package members

import (
	"maps"
	"slices"

	"partyline/rule"
	"partyline/wire/msg"
)

// ReasonGone is why a member has left whose edge is gone, or does not list it any more.
const ReasonGone = "transport close"

// Room is the members of one room. A socket may be at several edges, while its client moves; it is one member.
type Room struct {
	rules *rule.Rules
	edges map[string]*list
	by    map[string][]*msg.Present // sockets, by what counts as one member: see key
	told
	answers map[string]*answer // by edge; nil: the edges are not being asked
}

// list is the members of a room at one edge.
type list struct {
	n       uint64 // of the last message; 0: any may follow
	members map[string]*msg.Present
}

// told is what clients have.
type told struct {
	dirty   map[string]string      // keys that may have changed, and why they have gone if they have
	members map[string]msg.Present // by key
	count   int                    // that they have instead of members; 0: they have these
}

// answer is what an edge has answered, and what it has published since it was asked: that is newer, or will be
// corrected by what follows.
type answer struct {
	sockets []msg.Present
	later   []msg.RoomMembers
	isWhole bool
}

// New makes a room of which nothing is known.
func New(rules *rule.Rules) *Room {
	return &Room{
		rules: rules, edges: make(map[string]*list), by: make(map[string][]*msg.Present),
		told: told{dirty: make(map[string]string), members: make(map[string]msg.Present)},
	}
}

// Apply takes a message of an edge. It returns false if an earlier one is missing: then all edges must be asked.
func (r *Room) Apply(m *msg.RoomMembers) (isNext bool) {
	l := r.edges[m.Edge]
	isNext = m.N == 1 || l == nil && r.answers != nil || l != nil && (l.n == 0 || m.N == l.n+1)
	if r.answers != nil {
		a := r.answerOf(m.Edge)
		a.later = append(a.later, *m)
	}
	r.change(m)
	return isNext
}

// change changes the members at an edge.
func (r *Room) change(m *msg.RoomMembers) {
	if m.N == 1 {
		r.forget(m.Edge)
	}
	l := r.edges[m.Edge]
	if l == nil {
		l = &list{members: make(map[string]*msg.Present)}
		r.edges[m.Edge] = l
	}
	l.n = m.N
	for _, p := range m.Left {
		r.remove(l, p.ID, p.Reason)
	}
	for _, p := range m.Joined {
		r.remove(l, p.ID, ReasonGone)
		key := r.key(&p)
		l.members[p.ID], r.by[key], r.dirty[key] = &p, append(r.by[key], &p), ""
	}
}

// key is what counts as one member: a user, or a socket.
func (r *Room) key(p *msg.Present) string {
	if r.rules.Presence.By == rule.ByUser && p.User != "" {
		return "@" + p.User // no socket's id begins so
	}
	return p.ID
}

// remove removes a member at an edge.
func (r *Room) remove(l *list, id, reason string) {
	p := l.members[id]
	if p == nil {
		return
	}
	delete(l.members, id)
	key := r.key(p)
	r.dirty[key] = reason
	r.by[key] = slices.DeleteFunc(r.by[key], func(one *msg.Present) bool { return one == p })
	if len(r.by[key]) == 0 {
		delete(r.by, key)
	}
}

// forget removes all members at an edge.
func (r *Room) forget(edge string) {
	if l := r.edges[edge]; l != nil {
		for id := range l.members {
			r.remove(l, id, ReasonGone)
		}
		delete(r.edges, edge)
	}
}

// Keep forgets the members at all edges but the live ones.
func (r *Room) Keep(live []string) {
	for edge := range r.edges {
		if !slices.Contains(live, edge) {
			r.forget(edge)
		}
	}
}

// Ask notes that all edges are asked who is in the room.
func (r *Room) Ask() { r.answers = make(map[string]*answer) }

// Answer takes a part of an edge's answer; isLast: the last one.
func (r *Room) Answer(edge string, sockets []msg.Present, isLast bool) {
	a := r.answerOf(edge)
	if a.sockets = append(a.sockets, sockets...); !isLast {
		return
	}
	var n uint64
	if l := r.edges[edge]; l != nil {
		n = l.n
	}
	r.forget(edge)
	r.change(&msg.RoomMembers{Edge: edge, N: n, Joined: a.sockets})
	for i := range a.later {
		r.change(&a.later[i])
	}
	*a = answer{isWhole: true}
}

// Answered reports whether all live edges have answered, and ends the question if they have, or with giveUp.
func (r *Room) Answered(live []string, giveUp bool) bool {
	isWhole := !slices.ContainsFunc(live, func(edge string) bool { return !r.answerOf(edge).isWhole })
	if isWhole || giveUp {
		r.answers = nil
	}
	return isWhole
}

func (r *Room) answerOf(edge string) *answer {
	a := r.answers[edge]
	if a == nil {
		a = new(answer)
		r.answers[edge] = a
	}
	return a
}

// News returns what clients must get to have what is; ok is false for nothing.
func (r *Room) News() (p msg.Presence, ok bool) {
	if len(r.dirty) == 0 {
		return p, false
	}
	defer clear(r.dirty)
	n, most := len(r.by), r.rules.Presence.Max
	switch {
	case n > most || r.count > 0 && n > most-most/10: // or a room at the limit would have its list sent again and again
		clear(r.members)
		ok, r.count = n != r.count, n
		return msg.Presence{Count: &n}, ok
	case r.count > 0: // they have forgotten the list
		r.count = 0
		for key := range r.by {
			r.dirty[key] = ""
		}
	}
	p.Joined, p.Left = []msg.Present{}, []msg.Present{}
	for _, key := range slices.Sorted(maps.Keys(r.dirty)) {
		was, wasIn := r.members[key]
		if len(r.by[key]) == 0 {
			if delete(r.members, key); wasIn {
				p.Left = append(p.Left, was.Gone(r.dirty[key]))
			}
			continue
		}
		is := *r.by[key][0]
		if key != is.ID {
			is.ID = "" // of one of the user's sockets
		}
		if r.members[key] = is; !wasIn || !is.Equal(was) {
			p.Joined = append(p.Joined, is)
		}
	}
	return p, len(p.Joined)+len(p.Left) > 0
}

// List returns what clients have who got all of News: the members, or their number.
func (r *Room) List() (p msg.Presence) {
	if r.count > 0 {
		n := r.count
		return msg.Presence{Count: &n}
	}
	p.Members = []msg.Present{}
	for _, key := range slices.Sorted(maps.Keys(r.members)) {
		p.Members = append(p.Members, r.members[key])
	}
	return p
}
