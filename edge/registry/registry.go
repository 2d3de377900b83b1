// Package registry knows who is where on an edge: which sockets there are, in which namespace and rooms, how far each
// has come (Life), and what services keep with it. It is data under one lock of its own and knows nothing of NATS,
// frames or sessions.
//
// Each change returns its Effects: what must be subscribed, what no longer, whose owners must be notified, who has
// ended. The first three are also given to the function that New was called with, before the lock is released: that
// function puts them into the outbox, which never blocks. So whatever is put there after a change is behind the
// change's subscriptions, also if another goroutine made the change: no second member of a room can be answered before
// the first one's subscription was asked for.
package registry

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"partyline/internal/flow"
	"partyline/internal/snapshot"
	"partyline/subjects"
)

// Errors of changes, as clients and services read them.
var (
	// ErrGone is returned for a socket that has ended.
	ErrGone = errors.New("unknown socket")
	// ErrTooManyRooms is returned when a socket would be in more rooms than it may.
	ErrTooManyRooms = errors.New("too many rooms")
)

// Registry is the sockets of an edge. C is what the edge keeps with each.
type Registry[C any] struct {
	prefix  subjects.Prefix
	limit   atomic.Int64          // how many rooms a socket may be in; 0: no limit
	effects func(Effects[C])      // called with mu held
	spend   func(*Socket[C], int) // counts bytes that a socket costs; called with mu held
	windows flow.Windows          // of the namespaces

	mu         sync.Mutex
	namespaces map[string]*Namespace[C] // guarded by mu; by token in subjects
	sockets    map[string]*Socket[C]    // guarded by mu; by id
	generation uint64                   // guarded by mu: marks the sockets of a union

	members, rooms atomic.Int64 // sockets that are members, and rooms with one; written with mu held
}

// Namespace is a namespace with a socket on this edge, in any life.
type Namespace[C any] struct {
	Name  string // with the leading slash; static
	Token string // as in subjects; static

	IsLogged bool // its events come from the log: see subjects.Prefix.LoggedAll; static

	Window *flow.Window // what its clients have under way at NATS; static; the registry does not look at it

	autoJoin []string                 // guarded by Registry.mu: names of rooms
	subjects []string                 // guarded by Registry.mu: what every socket of it receives
	users    int                      // guarded by Registry.mu: sockets in any life but Gone
	members  snapshot.List[Socket[C]] // guarded by Registry.mu
	rooms    map[string]*Room[C]      // guarded by Registry.mu; by name as in subjects
}

// Socket is one session in one namespace. The edge makes it, with an ID and Edge, and Enter puts it into the registry.
type Socket[C any] struct {
	ID        string        // public; static
	Namespace *Namespace[C] // set by Enter; static then
	Edge      C             // what the edge keeps with it; the registry does not look at it

	life   atomic.Int32
	rooms  atomic.Pointer[[]*Room[C]] // replaced as a whole with Registry.mu held
	places []int                      // guarded by Registry.mu: where it is among the members of rooms
	index  int                        // guarded by Registry.mu: where it is among the members of the namespace
	user   atomic.Pointer[string]     // nil: none; written with Registry.mu held
	data   []byte                     // guarded by Registry.mu: JSON, nil for none; never changed in place
	rev    uint64                     // guarded by Registry.mu: counts changes of rooms and data since the admission
	mark   uint64                     // guarded by Registry.mu: see Select
	cost   int                        // guarded by Registry.mu: bytes that were charged
}

// Effects is what follows from a change.
type Effects[C any] struct {
	Subscribe, Unsubscribe []string   // subjects
	Changed                *Socket[C] // whose rooms or data have changed since its admission, or nil
	Rooms                  []string   // that it has entered or left, or all if its user has changed; nil: its data; as in subjects
	Ended                  *End[C]    // who has ended, or nil; for the caller alone
}

// End is a socket that has ended.
type End[C any] struct {
	Socket *Socket[C]
	Was    Life     // its last life before
	Rooms  []string // that it was in, as in subjects
}

// Admission is what a socket begins with.
type Admission struct {
	Rooms []string // as in subjects
	User  string
	Data  []byte // JSON, or nil; the registry keeps it
}

// View is a socket as it was when it was looked at.
type View struct {
	Rooms []string // as in subjects
	User  string
	Data  []byte // must not be changed
	Rev   uint64
}

// New makes a registry. roomsPerSocket is how many rooms a socket may be in; 0: no limit. charge is called with the
// bytes of memory that a socket costs more, or less if negative. effects and charge are called with the lock held and
// must neither block nor call the registry.
func New[C any](prefix subjects.Prefix, roomsPerSocket int, effects func(Effects[C]), charge func(*Socket[C], int)) *Registry[C] {
	r := &Registry[C]{
		prefix: prefix, effects: effects,
		spend:      func(s *Socket[C], bytes int) { s.cost += bytes; charge(s, bytes) },
		namespaces: make(map[string]*Namespace[C]), sockets: make(map[string]*Socket[C]),
	}
	r.SetLimit(roomsPerSocket)
	return r
}

// SetLimit changes how many rooms a socket may be in. Who is in more stays there.
func (r *Registry[C]) SetLimit(rooms int) { r.limit.Store(int64(rooms)) }

// Sockets is how many members there are, in all namespaces.
func (r *Registry[C]) Sockets() int { return int(r.members.Load()) }

// Rooms is how many rooms have a member.
func (r *Registry[C]) Rooms() int { return int(r.rooms.Load()) }

// Namespace returns the namespace with a token, as in subjects, or nil if it has no socket here.
func (r *Registry[C]) Namespace(token string) *Namespace[C] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.namespaces[token]
}

// Namespaces returns how many members each namespace has; nil if there are more than most.
func (r *Registry[C]) Namespaces(most int) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.namespaces) > most {
		return nil
	}
	found := make(map[string]int, len(r.namespaces))
	for _, n := range r.namespaces {
		found[n.Name] = n.Members()
	}
	return found
}

// Members is how many members a namespace has now. It takes no lock.
func (n *Namespace[C]) Members() int { return n.members.Len() }

// Find returns the socket with an id, in any life but Gone, or nil.
func (r *Registry[C]) Find(id string) *Socket[C] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sockets[id]
}

// User returns whose socket it is now, or "". It takes no lock.
func (s *Socket[C]) User() string {
	if user := s.user.Load(); user != nil {
		return *user
	}
	return ""
}

// View returns how a member is now; ok is false for a socket that is none.
func (r *Registry[C]) View(s *Socket[C]) (v View, ok bool) {
	r.mu.Lock()
	v = View{User: s.User(), Data: s.data, Rev: s.rev}
	rooms := s.Rooms()
	ok = s.Life().IsMember()
	r.mu.Unlock()
	v.Rooms = namesOf(rooms)
	return v, ok
}

// Enter puts a new socket into a namespace. What every socket of it receives is subscribed from now on, not from the
// admission on, because a service may publish right behind its answer: the namespace's own subjects, and those of the
// rooms in autoJoin. logged is the same for all sockets of a namespace.
func (r *Registry[C]) Enter(s *Socket[C], name, token string, logged bool, autoJoin []string) (f Effects[C]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ns := r.namespaces[token]
	if ns == nil {
		ns = &Namespace[C]{
			Name: name, Token: token, IsLogged: logged, Window: r.windows.New(), rooms: make(map[string]*Room[C]),
		}
		if logged {
			f.Subscribe = r.prefix.LoggedAll(token)
		} else {
			f.Subscribe = []string{r.prefix.NamespaceAll(token)}
		}
		r.namespaces[token] = ns
	}
	for _, room := range autoJoin {
		if !slices.Contains(ns.autoJoin, room) { // the namespace is new, or its rules are
			ns.autoJoin = append(ns.autoJoin, room)
			if inSubject, err := subjects.RoomToken(room); err == nil {
				f.Subscribe = r.appendRoom(f.Subscribe, ns, inSubject)
			}
		}
	}
	if f.Subscribe != nil {
		ns.subjects = append(ns.subjects, f.Subscribe...)
		r.effects(f)
	}
	ns.users++
	s.Namespace = ns
	r.spend(s, SocketCost+nameCost*len(token))
	r.sockets[s.ID] = s
	return f
}

// Decide notes that a service is asked about a socket. It returns false if the socket was not Connecting.
func (r *Registry[C]) Decide(s *Socket[C]) bool { return r.advance(s, Deciding) }

// GoLive notes that a socket's client has its CONNECT. It returns false if the socket was not Subscribing.
func (r *Registry[C]) GoLive(s *Socket[C]) bool { return r.advance(s, Live) }

func (r *Registry[C]) advance(s *Socket[C], to Life) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.become(to)
}

// Admit makes a socket a member of its namespace and of rooms. All or nothing: with an error, which is ErrGone or
// ErrTooManyRooms, nothing has changed. ErrGone is returned for each socket that is neither Connecting nor Deciding.
func (r *Registry[C]) Admit(s *Socket[C], a Admission) (f Effects[C], err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if was := s.Life(); was != Connecting && was != Deciding {
		return f, ErrGone
	}
	if _, err := r.enterRooms(s, a.Rooms, &f); err != nil {
		return f, err
	}
	if s.data = a.Data; a.User != "" {
		s.user.Store(&a.User)
	}
	r.spend(s, len(a.User)+len(a.Data))
	s.index = s.Namespace.members.Add(s)
	r.members.Add(1)
	s.become(Subscribing)
	r.effects(f)
	return f, nil
}

// Join puts a socket into rooms, named as in subjects. All or none: with an error, which is ErrGone or
// ErrTooManyRooms, nothing has changed. A socket that is not admitted yet may join, too.
func (r *Registry[C]) Join(s *Socket[C], rooms []string) (f Effects[C], err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Life() == Gone {
		return f, ErrGone
	}
	if f.Rooms, err = r.enterRooms(s, rooms, &f); len(f.Rooms) > 0 {
		r.changed(s, &f)
	}
	return f, err
}

// Regrant says whose socket a member is, "" for none, and replaces its data unless that is nil. It counts as one
// change, also of what the edge keeps with it. It returns false for a socket that is no member.
func (r *Registry[C]) Regrant(s *Socket[C], user string, data []byte) (f Effects[C], ok bool) {
	return r.regrant(s, &user, data)
}

// SetData replaces what services keep with a member. It returns false for a socket that is none.
func (r *Registry[C]) SetData(s *Socket[C], data []byte) (f Effects[C], ok bool) {
	return r.regrant(s, nil, data)
}

// regrant changes a member. What is nil stays.
func (r *Registry[C]) regrant(s *Socket[C], user *string, data []byte) (f Effects[C], ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.Life().IsMember() {
		return f, false
	}
	if user != nil && *user != s.User() {
		r.spend(s, len(*user)-len(s.User()))
		s.user.Store(user)
		f.Rooms = s.RoomNames()
	}
	if data != nil {
		r.spend(s, len(data)-len(s.data))
		s.data = data
	}
	r.changed(s, &f)
	return f, true
}

// changed counts a change of a member, and hands on what follows. mu must be held.
func (r *Registry[C]) changed(s *Socket[C], f *Effects[C]) {
	if s.Life().IsMember() {
		s.rev++
		f.Changed = s
	}
	r.effects(*f)
}

// Remove takes a socket out of its rooms, its namespace and the registry. Ended is nil if that has been done before.
func (r *Registry[C]) Remove(s *Socket[C]) (f Effects[C]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := End[C]{Socket: s, Was: s.Life(), Rooms: s.RoomNames()}
	if !s.become(Gone) {
		return f
	}
	ns := s.Namespace
	for i, room := range s.Rooms() {
		r.unlink(s, room, s.places[i], &f)
	}
	s.rooms.Store(nil)
	s.places = nil
	r.spend(s, -s.cost)
	if end.Was.IsMember() {
		if moved := ns.members.RemoveAt(s.index); moved != nil {
			moved.index = s.index
		}
		r.members.Add(-1)
	}
	if ns.users--; ns.users == 0 {
		delete(r.namespaces, ns.Token)
		f.Unsubscribe = append(f.Unsubscribe, ns.subjects...)
	}
	if r.sockets[s.ID] == s { // else its client has come back
		delete(r.sockets, s.ID)
	}
	r.effects(f)
	f.Ended = &end
	return f
}

// What a socket costs, in bytes of memory. Rooms and namespaces count as if no other socket were in them: with the
// place in all tables, and the subscription.
const (
	SocketCost = 2 << 10
	RoomCost   = 1 << 10
	nameCost   = 4 // for each byte of a name in subjects: it is in the subjects of subscriptions, too
)

// roomCost is what it costs a socket to be in a room.
func (s *Socket[C]) roomCost(name string) int {
	return RoomCost + nameCost*len(name) + len(s.Namespace.Token)
}
