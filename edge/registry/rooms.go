package registry

import (
	"fmt"
	"slices"

	"partyline/internal/snapshot"
)

// Room is a room with a member on this edge.
type Room[C any] struct {
	Name    string // as in subjects; static
	members snapshot.List[Socket[C]]
}

// Members is how many members a room has now. It takes no lock.
func (r *Room[C]) Members() int { return r.members.Len() }

// Rooms returns the rooms that the socket is in now. It takes no lock. The list must not be changed, and does not
// change.
func (s *Socket[C]) Rooms() []*Room[C] {
	if list := s.rooms.Load(); list != nil {
		return *list
	}
	return nil
}

// RoomNames returns the names, as in subjects, of the rooms that the socket is in now. It takes no lock.
func (s *Socket[C]) RoomNames() []string { return namesOf(s.Rooms()) }

func namesOf[C any](rooms []*Room[C]) []string {
	names := make([]string, len(rooms))
	for i, room := range rooms {
		names[i] = room.Name
	}
	return names
}

// IsIn reports whether the socket is in a room, named as in subjects. It takes no lock.
func (s *Socket[C]) IsIn(room string) bool {
	return slices.ContainsFunc(s.Rooms(), func(in *Room[C]) bool { return in.Name == room })
}

// isIn is IsIn for callers that hold the registry's lock. It compares no names, and does not look for a room without
// members (nil): a client may try to join a million of them.
func (s *Socket[C]) isIn(room *Room[C]) bool { return room != nil && slices.Contains(s.Rooms(), room) }

// enterRooms puts a socket into rooms, all or none, and returns those in which it was not before. mu must be held.
func (r *Registry[C]) enterRooms(s *Socket[C], rooms []string, f *Effects[C]) (fresh []string, err error) {
	limit := int(r.limit.Load())
	list := s.Rooms() // appending writes only behind the end of what others may read
	for _, name := range rooms {
		if s.isIn(s.Namespace.rooms[name]) {
			continue
		}
		if fresh = append(fresh, name); limit > 0 && len(list)+len(fresh) > limit {
			return nil, fmt.Errorf("%w: the limit is %d", ErrTooManyRooms, limit)
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	cost := 0
	for _, name := range fresh {
		cost += s.roomCost(name)
		room := s.Namespace.rooms[name]
		if room == nil {
			room = &Room[C]{Name: name}
			s.Namespace.rooms[name] = room
			r.rooms.Add(1)
			f.Subscribe = r.appendRoom(f.Subscribe, s.Namespace, name)
		}
		list, s.places = append(list, room), append(s.places, room.members.Add(s))
	}
	s.rooms.Store(&list)
	r.spend(s, cost)
	return fresh, nil
}

// Leave takes a socket out of rooms, where it is in them.
func (r *Registry[C]) Leave(s *Socket[C], rooms []string) (f Effects[C]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range rooms {
		room, list := s.Namespace.rooms[name], s.Rooms()
		i := slices.Index(list, room)
		if room == nil || i < 0 {
			continue
		}
		r.unlink(s, room, s.places[i], &f)
		r.spend(s, -s.roomCost(room.Name))
		list = slices.Concat(list[:i], list[i+1:]) // others may be reading the old one
		s.rooms.Store(&list)
		s.places = slices.Delete(s.places, i, i+1)
		f.Rooms = append(f.Rooms, name)
	}
	if len(f.Rooms) > 0 {
		r.changed(s, &f)
	}
	return f
}

// unlink removes a socket from its place among a room's members. mu must be held.
func (r *Registry[C]) unlink(s *Socket[C], room *Room[C], place int, f *Effects[C]) {
	if moved := room.members.RemoveAt(place); moved != nil {
		moved.places[slices.Index(moved.Rooms(), room)] = place
	}
	if room.members.Len() == 0 {
		delete(s.Namespace.rooms, room.Name)
		r.rooms.Add(-1)
		f.Unsubscribe = r.appendRoom(f.Unsubscribe, s.Namespace, room.Name)
	}
}

// appendRoom appends what is subscribed for a room.
func (r *Registry[C]) appendRoom(list []string, ns *Namespace[C], room string) []string {
	if ns.IsLogged {
		return append(list, r.prefix.LoggedRoom(ns.Token, room)...)
	}
	return append(list, r.prefix.RoomInterest(ns.Token, room))
}
