package registry

import "partyline/subjects"

// Select returns the members that a subject with target all or room is for. except names rooms and sockets that are
// left out. rooms, used with target all alone, names those that are meant instead of all: a union, in which each
// socket is once. Names are as in headers: a room's name in subjects, or a socket's id. The list must not be changed,
// and does not change. nil: there are none. Without headers it costs nothing but the lock.
func (r *Registry[C]) Select(sub *subjects.Subject, rooms, except []string) []*Socket[C] {
	r.mu.Lock()
	defer r.mu.Unlock()
	ns := r.namespaces[sub.Namespace]
	if ns == nil {
		return nil
	}
	all := &ns.members
	if sub.Target == subjects.TargetRoom {
		room := ns.rooms[sub.Room]
		if room == nil {
			return nil
		}
		all, rooms = &room.members, nil
	}
	if except == nil && rooms == nil {
		return all.Snapshot()
	}
	named := func(name string) []*Socket[C] { // a room, or the one with an id
		if subjects.IsSocketID(name) {
			if s := r.sockets[name]; s != nil && s.Namespace == ns && s.Life().IsMember() {
				return []*Socket[C]{s}
			}
			return nil
		}
		if room := ns.rooms[name]; room != nil {
			return room.members.Items()
		}
		return nil
	}
	r.generation += 2
	excluded, included := r.generation-1, r.generation
	for _, name := range except {
		for _, s := range named(name) {
			s.mark = excluded
		}
	}
	var list []*Socket[C]
	add := func(candidates []*Socket[C]) {
		for _, s := range candidates {
			if s.mark != excluded && s.mark != included {
				s.mark = included
				list = append(list, s)
			}
		}
	}
	if rooms == nil {
		add(all.Items())
	}
	for _, name := range rooms {
		add(named(name))
	}
	return list
}
