package edge

import (
	"strconv"
	"time"

	"partyline/bus"
	"partyline/subjects"
	"partyline/wire/msg"
)

// fearFor holds the events of a socket after this edge was away, and reports whether they are held: somebody owns the socket.
// The route's lock must be held.
func (e *Edge) fearFor(r *route) bool {
	e.owners.mu.Lock()
	defer e.owners.mu.Unlock()
	if r.instance == nil {
		return false
	}
	e.fear(time.Now())
	return true
}

// fear has all sockets claimed anew after this edge was away, for services may have taken it for dead. Until all events of
// owned sockets are held, the clock does not tick, so that none is published meanwhile. Needs owners.mu.
func (e *Edge) fear(now time.Time) {
	if e.owners.estranged {
		return
	}
	e.owners.estranged = true
	e.claimAnew(now)
	e.out.Do(func() {
		e.owners.mu.Lock()
		defer e.owners.mu.Unlock()
		e.owners.clock.Tick(time.Now())
		e.owners.estranged = false
	})
}

// claimAnew asks the owners of all sockets to say once more that they are: they may have ended them, and what comes for
// those would get lost. Needs owners.mu.
func (e *Edge) claimAnew(now time.Time) {
	e.owners.anew = now
	for _, i := range e.owners.instances {
		if i.state != leaving { // else they go to others anyway
			e.askAnew(i)
		}
	}
}

// askAnew asks an instance to say once more that it owns its sockets. It never waits.
func (e *Edge) askAnew(i *instance) {
	e.out.Do(func() {
		routes := e.owners.routesOf(i)
		for _, r := range routes {
			r.hold()
		}
		if len(routes) > 0 {
			e.set.Log.Info("sockets are claimed anew: their owner may have taken this edge for dead", "group", i.group, "instance", i.name,
				"sockets", len(routes))
		}
		e.seek(routes, i.name, true)
	})
}

// handleNotOwner takes an instance's word that it got an event of a socket that it does not own, and reports whether it was one.
// The event is lost and counted: if instances could send it back, whoever may answer a connect could speak for clients. The
// instance is asked whether it wants the socket, and then its group, so that a late word ends no newer claim.
func (e *Edge) handleNotOwner(m *bus.Message, sub *subjects.Subject, s *socket) bool {
	if m.Header.Get(msg.HeaderError) != msg.ErrorNotOwner || !m.Header.Has(msg.HeaderOwner) { // without one, a service refuses with that text
		return false
	}
	if s != nil && (s.Namespace.Token != sub.Namespace || s.Edge.route == nil) {
		return true
	}
	e.stats.eventsFailed.Inc()
	if s == nil { // it has ended meanwhile
		return true
	}
	r, o := s.Edge.route, e.owners
	group, owner, _ := claimOf(m.Header)
	claim := claimNumber(m.Header)
	e.out.Do(func() {
		o.mu.Lock()
		i := r.instance
		means := i != nil && i.state != leaving && i.group == group && i.name == owner && (claim == 0 || claim == r.claims)
		o.mu.Unlock()
		if means {
			r.hold()
			e.seek([]*route{r}, owner, true)
		}
	})
	return true
}

// claimed is the number of the latest claim of a route.
func (o *owners) claimed(r *route) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return r.claims
}

// claimNumber is the number of the claim that an answer makes; 0 for an answer that does not say.
func claimNumber(h bus.Header) uint64 {
	n, err := strconv.ParseUint(h.Get(msg.HeaderClaim), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
