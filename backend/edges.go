package backend

import (
	"maps"
	"sync"
	"time"

	"partyline/internal/liveness"
	"partyline/subjects"
	"partyline/wire/msg"
)

// edges are those that live, as far as their announcements show. Edges of the first version of the contract make none.
type edges struct {
	mu      sync.Mutex
	table   *liveness.Table      // guarded by mu
	heard   map[string]time.Time // guarded by mu: when each was heard last
	parted  map[string]time.Time // guarded by mu: those that said goodbye, and when
	mourned map[string]time.Time // guarded by mu: those that died while this instance owned sockets of them, and when
	changed chan struct{}        // guarded by mu; closed and replaced when an edge goes
}

func (e *edges) init() {
	e.table = liveness.New(msg.DeadAfter)
	e.heard = make(map[string]time.Time)
	e.parted = make(map[string]time.Time)
	e.mourned = make(map[string]time.Time)
	e.changed = make(chan struct{})
}

// hear notes an announcement about an edge, and reports whether the edge has died.
func (e *edges) hear(edge, word string, now time.Time) (died bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch word {
	case subjects.WordHello, subjects.WordBeat:
		e.table.Heard(edge, now)
		e.heard[edge] = now
		return false
	case subjects.WordBye:
		e.remove(edge)
		e.parted[edge] = now
	case subjects.WordGone:
		// Another edge may be cut off from one that this instance receives. That must not end its sockets here.
		if now.Sub(e.heard[edge]) < 2*msg.BeatEvery {
			return false
		}
		return e.remove(edge)
	}
	return false
}

// remove forgets an edge, and reports whether it lived. mu must be held.
func (e *edges) remove(edge string) bool {
	delete(e.heard, edge)
	if !e.table.Remove(edge) {
		return false
	}
	e.notify()
	return true
}

// notify wakes those that wait for a change. mu must be held.
func (e *edges) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// mournedFor is how long the death of an edge is remembered. An edge that is started again has another id.
const mournedFor = 10 * time.Minute

// mourn notes that the sockets of an edge were ended because it seemed to be dead.
func (e *edges) mourn(edge string, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.mourned, func(_ string, at time.Time) bool { return now.Sub(at) > mournedFor })
	e.mourned[edge] = now
}

// isBack reports, once, whether an edge that lives was mourned.
func (e *edges) isBack(edge string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, mourned := e.mourned[edge]
	delete(e.mourned, edge)
	return mourned
}

// expire returns the edges that have been silent for too long, and those that said goodbye a beat ago. By now, their
// notices about sockets, which come in on other subscriptions, have been handled.
func (e *edges) expire(now time.Time) (dead []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	dead = e.table.Expire(now)
	for _, edge := range dead {
		delete(e.heard, edge)
	}
	if len(dead) > 0 {
		e.notify()
	}
	for edge, at := range e.parted {
		if now.Sub(at) > msg.BeatEvery {
			dead = append(dead, edge)
			delete(e.parted, edge)
		}
	}
	return dead
}

// forgive ignores the silence of edges up to now, because this process did not listen.
func (e *edges) forgive(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.table.Forgive(now)
}

// living are the edges that live, and what closes when one goes.
func (e *edges) living() (all []string, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.table.Members(), e.changed
}

// lives reports whether an edge lives.
func (e *edges) lives(edge string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.table.Lives(edge)
}

// peers are the other instances of the group that live.
type peers struct {
	mu    sync.Mutex
	table *liveness.Table     // guarded by mu
	about map[string][]string // guarded by mu: the namespaces of each, by name or pattern
}

func (p *peers) init() {
	p.table = liveness.New(msg.DeadAfter)
	p.about = make(map[string][]string)
}

// hear notes an announcement of an instance.
func (p *peers) hear(instance, word string, body []byte, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch word {
	case subjects.WordHello, subjects.WordBeat:
		if a, err := msg.ParseInstanceAnnouncement(body); err == nil {
			p.table.Heard(instance, now)
			p.about[instance] = a.Namespaces
		}
	case subjects.WordLeft, subjects.WordBye:
		p.table.Remove(instance)
		delete(p.about, instance)
	}
}

func (p *peers) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, instance := range p.table.Expire(now) {
		delete(p.about, instance)
	}
}

func (p *peers) forgive(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table.Forgive(now)
}

// handling are the instances that handle a namespace.
func (p *peers) handling(namespace string) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := make(map[string]bool)
	for instance, namespaces := range p.about {
		for _, pattern := range namespaces {
			if subjects.Matches(pattern, namespace) {
				found[instance] = true
			}
		}
	}
	return found
}
