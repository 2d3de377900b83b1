package edge

import (
	"errors"
	"fmt"

	"partyline/subjects"
)

// namespace is what lives of a namespace on this edge. It exists while a socket is in it or about to be.
type namespace struct {
	name  string // with the leading slash; static
	token string // as in subjects; static
	rules *rules // static

	users   int              // guarded by Edge.mu: sockets in any state
	members members          // guarded by Edge.mu: admitted sockets
	rooms   map[string]*room // guarded by Edge.mu; by name as in subjects
}

// room is a room with a member on this edge.
type room struct {
	name    string // as in subjects; static
	members members
}

// membership is one room of a socket.
type membership struct {
	room  *room
	index int // place among the room's members
}

// members is a list of sockets from which whoever delivers takes a snapshot for nothing: adding writes only behind the
// end of a snapshot, and taking away copies the list if a snapshot was taken since the last copy.
type members struct {
	list   []*socket
	shared bool
}

func (m *members) add(s *socket) int {
	m.list = append(m.list, s)
	return len(m.list) - 1
}

// removeAt takes the socket at a place away and returns the one that is there now, or nil.
func (m *members) removeAt(i int) *socket {
	if m.shared {
		m.list, m.shared = append([]*socket(nil), m.list...), false
	}
	last := len(m.list) - 1
	moved := m.list[last]
	m.list[i], m.list[last] = moved, nil
	m.list = m.list[:last]
	if i == last {
		return nil
	}
	return moved
}

// snapshot is the list as it is now; it must not be changed and stays as it is.
func (m *members) snapshot() []*socket {
	m.shared = true
	return m.list
}

// Errors of joining, as clients and services read them.
var (
	errRoomLooksLikeSocket = errors.New("a room cannot have the form of a socket id")
	errTooManyRooms        = errors.New("too many rooms")
	errGone                = errors.New("unknown socket")
)

// Errors of admissions, as services read them that want an answer.
var (
	errAdmitted = errors.New("the socket is admitted already")
	errAnswer   = errors.New("invalid answer")
)

// roomToken is a room's name as in subjects.
func roomToken(name string) (string, error) {
	if subjects.IsSocketID(name) {
		return "", errRoomLooksLikeSocket
	}
	token, err := subjects.AppendRoom(nil, name)
	if err != nil {
		return "", fmt.Errorf("room name: %w", err)
	}
	return string(token), nil
}

// roomTokens is each of the rooms once.
func roomTokens(names []string) ([]string, error) {
	tokens := make([]string, 0, len(names))
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		token, err := roomToken(name)
		if err != nil {
			return nil, err
		}
		if !seen[token] {
			seen[token] = true
			tokens = append(tokens, token)
		}
	}
	return tokens, nil
}

// enter makes the namespace exist and counts the socket. Its subscriptions are wanted from now on, not from the admission
// on, because a service may publish right behind its answer: the namespace's own, and those of its automatic rooms. The rooms
// of the answer are subscribed when it has come (docs/decisions: plain subscriptions). Needs mu.
func (e *Edge) enter(name, token string, rules *rules) *namespace {
	ns := e.namespaces[token]
	if ns == nil {
		ns = &namespace{name: name, token: token, rules: rules, rooms: make(map[string]*room)}
		e.namespaces[token] = ns
		for _, subject := range e.expected(ns) {
			e.out.Subscribe(subject)
		}
	}
	ns.users++
	return ns
}

// expected is what every socket of a namespace will hear.
func (e *Edge) expected(ns *namespace) []string {
	subjects := []string{e.prefix.NamespaceAll(ns.token)}
	rooms, _ := roomTokens(ns.rules.AutoJoin) // admit complains about bad ones
	for _, token := range rooms {
		subjects = append(subjects, e.prefix.RoomInterest(ns.token, token))
	}
	return subjects
}

// join puts a socket into rooms. All or none: it fails when that would be too many, or when the socket is gone. Needs mu.
func (e *Edge) join(s *socket, tokens []string) error {
	if s.state.Load() == gone {
		return errGone
	}
	limit := e.set.Limits.RoomsPerSocket
	if limit > 0 && len(tokens) > limit {
		return fmt.Errorf("%w: the limit is %d", errTooManyRooms, limit)
	}
	fresh := 0
	for _, token := range tokens {
		if s.find(s.ns.rooms[token]) < 0 {
			fresh++
		}
	}
	if limit > 0 && fresh > 0 && len(s.rooms)+fresh > limit {
		return fmt.Errorf("%w: the limit is %d", errTooManyRooms, limit)
	}
	for _, token := range tokens {
		r := s.ns.rooms[token]
		if s.find(r) >= 0 {
			continue
		}
		if r == nil {
			r = &room{name: token}
			s.ns.rooms[token] = r
			e.stats.rooms.Add(1)
			e.out.Subscribe(e.prefix.RoomInterest(s.ns.token, token))
		}
		s.rooms = append(s.rooms, membership{r, r.members.add(s)})
	}
	if fresh > 0 && s.admitted {
		e.changed(s)
	}
	return nil
}

// leave takes a socket out of a room, if it is there. Needs mu.
func (e *Edge) leave(s *socket, token string) {
	i := s.find(s.ns.rooms[token])
	if i < 0 {
		return
	}
	e.unlink(s, s.rooms[i])
	last := len(s.rooms) - 1
	s.rooms[i], s.rooms[last] = s.rooms[last], membership{}
	s.rooms = s.rooms[:last]
	e.changed(s)
}

// unlink removes a socket from the room's side of a membership. Needs mu.
func (e *Edge) unlink(s *socket, m membership) {
	if moved := m.room.members.removeAt(m.index); moved != nil {
		moved.rooms[moved.find(m.room)].index = m.index
	}
	if len(m.room.members.list) == 0 {
		delete(s.ns.rooms, m.room.name)
		e.stats.rooms.Add(-1)
		e.out.Unsubscribe(e.prefix.RoomInterest(s.ns.token, m.room.name))
	}
}

// appear makes a socket a member of its namespace. Needs mu.
func (e *Edge) appear(s *socket) {
	s.index = s.ns.members.add(s)
	e.stats.sockets.Add(1)
	s.ns.rules.sockets.Add(1)
}

// vanish takes a socket out of all its rooms, its namespace and the edge, and returns the rooms that it was in, as in
// subjects. Needs mu.
func (e *Edge) vanish(s *socket) []string {
	s.state.Store(gone)
	e.decided(s)
	e.abandon(s)
	e.forgetPauses(s)
	rooms := s.roomTokens()
	for _, m := range s.rooms {
		e.unlink(s, m)
	}
	s.conn.waiting -= s.waitingBytes
	s.rooms, s.waiting, s.waitingBytes = nil, nil, 0
	ns := s.ns
	if s.index >= 0 {
		if moved := ns.members.removeAt(s.index); moved != nil {
			moved.index = s.index
		}
		s.index = -1
		e.stats.sockets.Add(-1)
		ns.rules.sockets.Add(-1)
	}
	if ns.users--; ns.users == 0 {
		delete(e.namespaces, ns.token)
		for _, subject := range e.expected(ns) {
			e.out.Unsubscribe(subject)
		}
	}
	delete(e.sockets, s.id)
	s.conn.forget(s)
	if s.admitted {
		e.unused(s.conn)
	}
	return rooms
}
