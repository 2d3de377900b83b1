package edge

import (
	"errors"
	"slices"
	"time"

	"partyline/bus"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// seekEvery is how often a group is asked to take a socket over until one of its instances does.
	seekEvery = time.Second
	// lastSearch is how long an owner is sought for the last events of a socket that has ended.
	lastSearch = time.Minute
	// askFormer is for how long a socket's owner is asked to claim it anew before others are.
	askFormer = 3 * time.Second
)

// search is a socket that looks for a new owner.
type search struct {
	route       *route    // static
	group, from string    // static: who is asked, and who owned it
	since       time.Time // static
	asked       time.Time // guarded by owners.mu
	claim       uint64    // guarded by owners.mu: the number of the claim that is asked for; another one for whom else is asked
	anew        bool      // guarded by owners.mu: the former owner is asked, which may be the owner still
}

// own makes an instance the owner of a newcomer; if it is about to leave, another one is asked. It never waits.
func (e *Edge) own(r *route, group, owner string) {
	if e.owners.claim(r, group, owner, nil, 0) {
		return
	}
	now := time.Now()
	e.owners.mu.Lock()
	r.claims = max(r.claims, 1) + 1
	s := &search{route: r, group: group, from: owner, since: now, asked: now, claim: r.claims}
	e.owners.searches[r.socket.ID] = s
	e.owners.mu.Unlock()
	r.holding = true // nobody else knows the route yet
	e.out.Do(func() { e.askTakeover(s) })
}

// seek asks the group of some routes for new owners, or with anew the former one to claim them once more. It runs on the
// bus's worker; the routes are held.
func (e *Edge) seek(routes []*route, from string, anew bool) {
	now := time.Now()
	for _, r := range routes {
		e.owners.mu.Lock()
		if r.instance == nil { // it has ended, and its end was told
			e.owners.mu.Unlock()
			continue
		}
		r.claims++
		s := &search{route: r, group: r.instance.group, from: from, since: now, asked: now, claim: r.claims, anew: anew}
		delete(r.instance.routes, r)
		r.instance = nil
		e.owners.searches[r.socket.ID] = s
		e.owners.mu.Unlock()
		e.askTakeover(s)
	}
}

// giveUpFormer asks the group about those whom an instance that is no more was to claim anew. It runs on the bus's worker.
func (e *Edge) giveUpFormer(i *instance, dead bool) {
	e.owners.mu.Lock()
	var waiting []*search
	for _, s := range e.owners.searches {
		if s.anew && s.group == i.group && s.from == i.name {
			s.asked = time.Now()
			e.giveUpOwner(s, dead)
			waiting = append(waiting, s)
		}
	}
	e.owners.mu.Unlock()
	for _, s := range waiting {
		e.askTakeover(s)
	}
}

// giveUpOwner has the group asked in place of the former owner, which is told that its claim would be too late. Needs owners.mu.
func (e *Edge) giveUpOwner(s *search, tell bool) {
	if tell {
		e.disown(s.route.socket.Namespace.Token, s.from, s.route.socket.ID, msg.ReasonOwnerChanged, s.claim)
	}
	s.anew = false
	s.route.claims++
	s.claim = s.route.claims
}

// seekAgain asks once more for those whom nobody has taken over. Needs owners.mu.
func (e *Edge) seekAgain(now time.Time) {
	for id, s := range e.owners.searches {
		switch {
		case s.route.socket.Life() == registry.Gone && now.Sub(s.since) > lastSearch:
			delete(e.owners.searches, id)
			e.stats.eventsFailed.Inc()
		case now.Sub(s.asked) >= seekEvery:
			s.asked = now
			if s.anew && now.Sub(s.since) >= askFormer {
				e.giveUpOwner(s, true)
			}
			e.out.Do(func() { e.askTakeover(s) })
		}
	}
}

// askTakeover publishes the request. It runs on the bus's worker.
func (e *Edge) askTakeover(s *search) {
	socket := s.route.socket
	state := e.stateOf(socket)
	state.From = s.from
	s.route.mu.Lock()
	s.route.told = state.Rev // if it changes until somebody answers, release tells
	s.route.mu.Unlock()
	to := s.group
	e.owners.mu.Lock()
	if s.anew {
		to = s.from
	}
	state.Claim = s.claim
	e.owners.mu.Unlock()
	body := msg.Connect(socket.Edge.conn.handshake(socket), &state)
	subject := e.prefix.AppendOwn(nil, socket.Namespace.Token, to, msg.EventConnect)
	if err := e.up.Publish(subject, e.prefix.AppendConnectReply(nil, socket.Namespace.Token, socket.ID), nil, body); err != nil {
		e.complaints.about(string(subject), "a takeover could not be asked for, trying again", err)
	}
}

// handleTakeover takes an answer to such a request, and says whether it was one.
func (e *Edge) handleTakeover(m *bus.Message, sub *subjects.Subject) bool {
	e.owners.mu.Lock()
	s := e.owners.searches[sub.Socket]
	var wanted uint64
	if s != nil {
		wanted = s.claim
	}
	e.owners.mu.Unlock()
	if s == nil || s.route.socket.Namespace.Token != sub.Namespace {
		return false
	}
	if m.NoResponders() {
		return true // it is asked again
	}
	group, owner, ok := claimOf(m.Header)
	if refusal := m.Header.Get(msg.HeaderError); refusal != "" {
		if refusal != msg.ErrorAgain {
			e.owners.drop(s)
			e.disconnect([]*socket{s.route.socket}, msg.EndSocket)
		}
		return true
	}
	if claim := claimNumber(m.Header); claim != 0 && claim != wanted {
		// It was asked before somebody else was, and has been told, or is told now, that this claim has ended.
		if ok && owner != "" {
			e.disown(sub.Namespace, owner, sub.Socket, msg.ReasonNotYours, claim)
		}
		e.notAdmitted(m, errAdmitted)
		return true
	}
	a, err := msg.ParseAdmission(m.Data)
	if err != nil || !ok || group == "" {
		e.complaints.about(m.Subject, "an instance answered a takeover with something else than an admission with its group", err)
		return true
	}
	e.takeOver(s, a, group, owner, wanted)
	return true
}

// drop ends a search in vain.
func (o *owners) drop(s *search) {
	o.mu.Lock()
	delete(o.searches, s.route.socket.ID)
	o.mu.Unlock()
}

// takeOver gives a socket to its new owner. It never waits.
func (e *Edge) takeOver(s *search, a msg.Admission, group, owner string, claim uint64) {
	r, to := s.route, group
	if owner != "" {
		if to = owner; !e.owners.claim(r, group, owner, s, claim) {
			return // that one leaves, too, and the group is asked again; or another one is asked since just now
		}
	}
	e.owners.drop(s)
	e.stats.takeovers.Inc()
	rooms, err := registry.RoomTokens(a.Rooms)
	if err == nil {
		_, err = e.reg.Join(r.socket, rooms)
	}
	if err != nil && !errors.Is(err, registry.ErrGone) {
		e.complaints.about(r.socket.Namespace.Name, "an instance took a socket over into rooms that cannot be", err)
	}
	if a.Data != nil && msg.CheckData(a.Data) == nil {
		e.reg.SetData(r.socket, slices.Clone(a.Data))
	}
	e.out.AfterSubscribedOrOffline(func() { e.release(r, to) }) // its rooms must be active before it answers events
}

// refuseClaim tells an instance that its claim came to nothing, if an answer to a connect made one. A group that admits a
// socket which has gone is told of its end: the notice for all services came before, and on a subject that a service for
// many namespaces does not hear.
func (e *Edge) refuseClaim(m *bus.Message, sub *subjects.Subject, s *socket) {
	group, owner, ok := claimOf(m.Header)
	switch {
	case !ok:
	case owner != "" && (s == nil || e.owners.owner(s.Edge.route) != owner):
		e.disown(sub.Namespace, owner, sub.Socket, msg.ReasonNotYours, claimNumber(m.Header))
	case owner == "" && group != "" && s == nil && !m.Header.Has(msg.HeaderError):
		e.disown(sub.Namespace, group, sub.Socket, engine.TransportClose.String(), 0)
	}
}
