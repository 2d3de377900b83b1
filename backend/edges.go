package backend

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// members are the edges, or the other instances of the group, that live, as far as their announcements show. Edges of
// the first version of the contract make none.
type members struct {
	mu      sync.Mutex
	byName  map[string]member // guarded by mu
	changed chan struct{}     // guarded by mu; closed and replaced when a member goes
}

// member is one that lives.
type member struct {
	heard      time.Time            // its last announcement
	namespaces []string             // of an instance: what it handles, by name or pattern
	about      msg.EdgeAnnouncement // of an edge: its last one; the zero value if it was not readable
}

func (ms *members) init() {
	ms.byName = make(map[string]member)
	ms.changed = make(chan struct{})
}

// maxMembers bounds the members: others may be made up.
const maxMembers = 4096

// hear records an announcement of a member. It returns false if there are too many others.
func (ms *members) hear(name string, m member) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	known, isKnown := ms.byName[name]
	if !isKnown && len(ms.byName) >= maxMembers {
		return false
	}
	if m.about.Edge == "" {
		m.about = known.about
	}
	ms.byName[name] = m
	return true
}

// remove removes the members that are gone, and returns them.
func (ms *members) remove(isGone func(name string, m member) bool) (gone []string) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for name, m := range ms.byName {
		if isGone(name, m) {
			gone = append(gone, name)
			delete(ms.byName, name)
		}
	}
	if len(gone) > 0 {
		close(ms.changed)
		ms.changed = make(chan struct{})
	}
	return gone
}

// leaves removes a member, unless its last announcement is younger than atLeast. It reports whether the member lived.
func (ms *members) leaves(name string, now time.Time, atLeast time.Duration) bool {
	return len(ms.remove(func(n string, m member) bool { return n == name && now.Sub(m.heard) >= atLeast })) > 0
}

// expire removes and returns the members that have been silent for too long.
func (ms *members) expire(now time.Time) (dead []string) {
	return ms.remove(func(_ string, m member) bool { return now.Sub(m.heard) > msg.DeadAfter })
}

// forgive ignores the silence of members up to now, because this process did not listen.
func (ms *members) forgive(now time.Time) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for name, m := range ms.byName {
		m.heard = now
		ms.byName[name] = m
	}
}

// living are the members that live, and what closes when one goes.
func (ms *members) living() (all []string, changed <-chan struct{}) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return slices.Collect(maps.Keys(ms.byName)), ms.changed
}

// lives reports whether a member lives.
func (ms *members) lives(name string) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	_, lives := ms.byName[name]
	return lives
}

// handling are the instances that handle a namespace.
func (ms *members) handling(namespace string) (found []string) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for name, m := range ms.byName {
		if slices.ContainsFunc(m.namespaces, func(pattern string) bool { return subjects.Matches(pattern, namespace) }) {
			found = append(found, name)
		}
	}
	return found
}

// edges are those that live, and what is remembered of those that went.
type edges struct {
	members
	was      sync.Mutex           // for what follows
	verifier msg.Verifier         // guarded by was
	parted   map[string]time.Time // guarded by was: those that said goodbye, and when
	mourned  map[string]time.Time // guarded by was: those that died while this instance owned sockets of them, and when
}

func (e *edges) init(secret string) {
	e.members.init()
	e.verifier.Secret = secret
	e.parted, e.mourned = make(map[string]time.Time), make(map[string]time.Time)
}

// hear records an announcement about an edge, and reports whether the edge has died. An error means that the
// announcement does not count.
func (e *edges) hear(edge, word string, m *nats.Msg, now time.Time) (died bool, err error) {
	about, err := e.verify(edge, word, m, now)
	if err != nil {
		return false, err
	}
	switch word {
	case subjects.WordHello, subjects.WordBeat:
		if !e.members.hear(edge, member{heard: now, about: about}) {
			return false, fmt.Errorf("%d others live", maxMembers)
		}
	case subjects.WordBye:
		if e.leaves(edge, now, 0) {
			e.was.Lock()
			defer e.was.Unlock()
			e.parted[edge] = now
		}
	case subjects.WordGone:
		// Another edge may be cut off from one that this instance receives. That must not end its sockets here.
		return e.leaves(edge, now, 2*msg.BeatEvery), nil
	}
	return false, nil
}

// verify reads an announcement. It returns an error for one that no edge has signed, if there is a secret. Without one
// every announcement counts, also one that is not readable.
func (e *edges) verify(edge, word string, m *nats.Msg, now time.Time) (about msg.EdgeAnnouncement, err error) {
	e.was.Lock()
	defer e.was.Unlock()
	about, err = e.verifier.Read(edge, word, m.Data, m.Header.Get(msg.HeaderSignature), now)
	if e.verifier.Secret == "" {
		return about, nil
	}
	return about, err
}

// Edge is an edge that lives, as it last announced itself.
type Edge struct {
	ID       string
	Address  string // http://host:port for other edges; "": they cannot reach it
	Sockets  int
	Draining bool // it takes no new sessions

	Started           time.Time      // zero for edges of earlier versions, which do not announce what follows
	Clients, Polling  int            // sessions, and those of them without a WebSocket
	Opened, Ended     uint64         // sessions, since the start
	BytesIn, BytesOut uint64         // of clients and to them, since the start
	Namespaces        map[string]int // the sockets of the largest namespaces; must not be changed
}

// Edges are those that live, sorted by their ids.
func (s *Service) Edges() []Edge {
	s.edges.mu.Lock()
	defer s.edges.mu.Unlock()
	all := make([]Edge, 0, len(s.edges.byName))
	for _, id := range slices.Sorted(maps.Keys(s.edges.byName)) {
		a := s.edges.byName[id].about
		e := Edge{ID: id, Address: a.Address, Sockets: a.Sockets, Draining: a.Draining}
		if c := a.Counts; c != nil {
			e.Started, e.Clients, e.Polling, e.Opened, e.Ended = time.UnixMilli(c.Started), c.Clients, c.Polling, c.Opened, c.Ended
			e.BytesIn, e.BytesOut, e.Namespaces = c.BytesIn, c.BytesOut, c.Namespaces
		}
		all = append(all, e)
	}
	return all
}

// requested records that an edge has asked for something. Requests are not signed: with a secret, one counts only for
// an edge that has announced itself.
func (e *edges) requested(edge string, now time.Time) {
	if e.verifier.Secret == "" || e.lives(edge) {
		e.members.hear(edge, member{heard: now})
	}
}

// mournedFor is how long the death of an edge is remembered. An edge that is started again has another id.
const mournedFor = 10 * time.Minute

// mourn records that the sockets of an edge were ended because it seemed to be dead.
func (e *edges) mourn(edge string, now time.Time) {
	e.was.Lock()
	defer e.was.Unlock()
	maps.DeleteFunc(e.mourned, func(_ string, at time.Time) bool { return now.Sub(at) > mournedFor })
	e.mourned[edge] = now
}

// isBack reports, once, whether an edge that lives was mourned.
func (e *edges) isBack(edge string) bool {
	e.was.Lock()
	defer e.was.Unlock()
	_, mourned := e.mourned[edge]
	delete(e.mourned, edge)
	return mourned
}

// expire returns the edges that have been silent for too long, and those that said goodbye a beat ago. By now, their
// notices about sockets, which come in on other subscriptions, have been handled.
func (e *edges) expire(now time.Time) (dead []string) {
	dead = e.members.expire(now)
	e.was.Lock()
	defer e.was.Unlock()
	for edge, at := range e.parted {
		if now.Sub(at) > msg.BeatEvery {
			dead = append(dead, edge)
			delete(e.parted, edge)
		}
	}
	return dead
}
