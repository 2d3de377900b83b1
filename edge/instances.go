package edge

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"partyline/bus"
	"partyline/internal/liveness"
	"partyline/subjects"
	"partyline/wire/msg"
)

// How doubts about an instance end. An instance that lost its connection gives up what it owns before deadAfterDoubt is
// over, so that nobody else owns it by then (docs/subjects.md, Owners).
const (
	attendEvery    = 250 * time.Millisecond // and so often a doubtful instance is pinged
	deadAfterDoubt = time.Second
	// shakyFor is for how long connect requests without an answer are asked again after an instance has died: one that was only
	// stopped is still a member of its queue group, and NATS goes on giving it its share of them.
	shakyFor = 30 * time.Second
	// estrangedAfter is how long an edge may be without NATS, or not run, before it must fear that services took it for dead
	// and its sockets for disconnected: from its last beat before to its hello after may be a beat and a half more.
	estrangedAfter = msg.DeadAfter - 3*msg.BeatEvery/2
)

// The state of an instance as an edge sees it.
type instanceState uint8

const (
	serving  instanceState = iota
	doubtful               // nobody heard a ping; events for it are held
	leaving                // it wants no more; events are held for the next owner
)

// instance is a running copy of a service that owns sockets of this edge. It is known from its first claim on.
type instance struct {
	group, name string                // static
	state       instanceState         // guarded by owners.mu
	routes      map[*route]struct{}   // guarded by owners.mu
	namespaces  map[*namespace]string // guarded by owners.mu: in which it has owned anything, with their tokens
	doubted     time.Time             // guarded by owners.mu: since when it is doubtful
	pinged      time.Time             // guarded by owners.mu
}

// key tells instances apart. The group is part of it because NATS permissions are given by groups: nobody else can beat or
// leave in its name.
func (i *instance) key() string { return i.group + "." + i.name }

// owners is which instance owns what, and whom a new owner is sought for.
type owners struct {
	mu        sync.Mutex
	live      *liveness.Table      // guarded by mu
	instances map[string]*instance // guarded by mu; by key
	searches  map[string]*search   // guarded by mu; by socket id
	shaky     time.Time            // guarded by mu: until then requests are asked again, see shakyFor
	asked     time.Time            // guarded by mu: when that was done last
	anew      time.Time            // guarded by mu: when owners were asked last to claim their sockets anew
	estranged bool                 // guarded by mu: they are about to be asked, because this edge was away

	clock liveness.Clock // ticks while services can hear this edge
}

func newOwners() *owners {
	return &owners{
		live: liveness.New(msg.DeadAfter), instances: make(map[string]*instance), searches: make(map[string]*search),
	}
}

// claim makes an instance the owner of a route. It returns false if that instance is about to leave, or if the claim is not the one
// that the search, nil for none, asks for by now. It takes no lock of a route.
func (o *owners) claim(r *route, group, name string, s *search, number uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s != nil && s.claim != number {
		return false
	}
	i := &instance{group: group, name: name}
	if known := o.instances[i.key()]; known != nil {
		i = known
	} else {
		i.routes, i.namespaces = make(map[*route]struct{}), make(map[*namespace]string)
		o.instances[i.key()] = i
		o.live.Heard(i.key(), time.Now())
	}
	if i.state == leaving {
		return false
	}
	r.claims = max(r.claims, 1)
	r.instance = i
	i.routes[r] = struct{}{}
	i.namespaces[r.socket.Namespace] = r.socket.Namespace.Token
	return true
}

// detach forgets a route whose socket's end has been told.
func (o *owners) detach(r *route) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.instance != nil {
		delete(r.instance.routes, r)
		r.instance = nil
	}
	delete(o.searches, r.socket.ID)
}

func (o *owners) isOwned(r *route) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return r.instance != nil
}

// owner is the name of the instance that owns a route, or "".
func (o *owners) owner(r *route) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r == nil || r.instance == nil {
		return ""
	}
	return r.instance.name
}

// routesOf is what an instance owns now.
func (o *owners) routesOf(i *instance) []*route {
	o.mu.Lock()
	defer o.mu.Unlock()
	routes := make([]*route, 0, len(i.routes))
	for r := range i.routes {
		routes = append(routes, r)
	}
	return routes
}

// handleInstance takes an announcement of an instance.
func (e *Edge) handleInstance(m *bus.Message, sub *subjects.Subject) {
	e.hearDecider(m, sub)
	o := e.owners
	o.mu.Lock()
	i := o.instances[sub.Group+"."+sub.Instance]
	switch sub.Word {
	case subjects.WordHello, subjects.WordBeat:
		if i != nil {
			o.live.Heard(i.key(), time.Now())
			e.trust(i)
		}
	case subjects.WordLeaving:
		if i == nil { // it owns nothing here; it waits for the answer all the same
			i = &instance{group: sub.Group, name: sub.Instance}
		}
		i.state = leaving
		asked := *m
		e.out.Do(func() { e.handOver(i, &asked) })
	case subjects.WordLeft, subjects.WordBye:
		if i != nil {
			o.remove(i)
			e.out.Do(func() { e.orphan(i, false) })
		}
		gone := sub.Instance // not sub itself, which would cost every message an allocation
		e.out.Do(func() { e.pauses.forgetInstance(gone) })
	}
	o.mu.Unlock()
}

// remove needs o.mu.
func (o *owners) remove(i *instance) {
	delete(o.instances, i.key())
	o.live.Remove(i.key())
}

// trust ends a doubt. Needs owners.mu.
func (e *Edge) trust(i *instance) {
	if i.state == doubtful {
		i.state = serving
		e.out.Do(func() {
			if e.owners.clock.Away(time.Now()) >= estrangedAfter {
				return // it is asked whether it has the sockets still
			}
			for _, r := range e.owners.routesOf(i) {
				e.release(r, i.name)
			}
		})
	}
}

// doubt is told that NATS knew of nobody who subscribes to something that was published for a socket: perhaps its owner
// has gone. A ping shows.
func (e *Edge) doubt(s *socket) {
	o := e.owners
	if s == nil || s.Edge.route == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if i, now := s.Edge.route.instance, time.Now(); i != nil && i.state == serving && now.Sub(i.pinged) >= attendEvery {
		i.pinged = now
		e.out.Do(func() { e.ping(i) })
	}
}

// ping asks an instance whether it is there. It runs on the bus's worker.
func (e *Edge) ping(i *instance) {
	subject := e.prefix.InstanceAnnouncement(i.group, i.name, subjects.WordPing)
	// If it cannot be sent, nobody here hears the instance's beats either.
	_ = e.up.Publish([]byte(subject), []byte(e.prefix.Pong(e.set.ID, i.name)), nil, []byte("[]"))
}

// handlePong takes the answer to a ping, or NATS's word that nobody was there to hear it.
func (e *Edge) handlePong(m *bus.Message, sub *subjects.Subject) {
	o := e.owners
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, i := range o.instances {
		switch {
		case i.name != sub.Instance || i.state == leaving:
		case m.Header.Get(msg.HeaderError) == msg.ErrorNotOwner: // it took this edge for dead
			e.askAnew(i)
		case !m.NoResponders():
			e.trust(i)
		case i.state == serving:
			i.state, i.doubted = doubtful, time.Now()
			e.out.Do(func() {
				for _, r := range o.routesOf(i) {
					r.hold()
				}
			})
		}
	}
}

// handOver stops what goes to an instance that leaves, puts an end mark behind it, and answers. It runs on the bus's worker.
func (e *Edge) handOver(i *instance, asked *bus.Message) {
	routes := e.owners.routesOf(i)
	for _, r := range routes {
		r.hold()
	}
	e.owners.mu.Lock()
	marked := []string{}
	for ns, token := range i.namespaces {
		marked = append(marked, ns.Name)
		subject := e.prefix.AppendOwn(nil, token, i.name, msg.EventDisconnecting)
		e.out.Later(bus.Letter{Subject: string(subject), Body: msg.EdgeNotice{Edge: e.set.ID}.Body(msg.EventDisconnecting)})
	}
	e.owners.mu.Unlock()
	slices.Sort(marked)
	e.answers.send(asked, nil, msg.HandedOver{Edge: e.set.ID, Sockets: len(routes), Markers: slices.Compact(marked)}.Body())
}

// orphan looks for new owners of all that an instance owned. One that is dead may live after all, and is told. It runs on
// the bus's worker, after the instance was removed.
func (e *Edge) orphan(i *instance, dead bool) {
	routes := e.owners.routesOf(i)
	for _, r := range routes {
		r.hold()
		if dead {
			e.disown(r.socket.Namespace.Token, i.name, r.socket.ID, msg.ReasonOwnerChanged, e.owners.claimed(r))
		}
	}
	e.giveUpFormer(i, dead)
	if len(routes) > 0 {
		e.set.Log.Info("sockets look for another instance", "group", i.group, "instance", i.name, "dead", dead, "sockets", len(routes))
	}
	e.seek(routes, i.name, false)
}

// Missed says that services may have taken this edge for dead, and with it the sockets that they owned: somebody must own
// them anew. told says that somebody told them so; else the edge may have found out by itself just before. It never waits.
func (e *Edge) Missed(told bool) {
	e.owners.mu.Lock()
	defer e.owners.mu.Unlock()
	if now := time.Now(); told || now.Sub(e.owners.anew) > msg.DeadAfter {
		e.claimAnew(now)
	}
}

// disown tells an instance, or a group, that it does not own a socket. The word ends the claim with that number and those
// before: it may be late, and must not end a newer one. 0 stands for any. It never waits.
func (e *Edge) disown(ns, owner, socketID, reason string, claim uint64) {
	body := msg.Ended{Reason: reason, Claim: claim}.Body()
	subject := e.prefix.AppendOwn(nil, ns, owner, msg.EventDisconnect)
	reply := e.prefix.AppendToSocket(nil, ns, subjects.VerbEmit, socketID)
	e.out.Later(bus.Letter{Subject: string(subject), Reply: string(reply), Body: body})
}

// Attend watches over the instances that own sockets, and over the sockets that wait to be admitted, until ctx ends.
func (e *Edge) Attend(ctx context.Context) {
	ticker := time.NewTicker(attendEvery)
	defer ticker.Stop()
	repeat := time.NewTimer(0)
	defer repeat.Stop()
	var listener liveness.Listener
	began := e.set.Bus.BeganAt()
	e.owners.clock.Tick(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.requests.wake:
			repeat.Reset(e.requests.wait(time.Now()))
			continue
		case <-repeat.C:
			repeat.Reset(e.askAgain())
			continue
		case <-ticker.C:
		}
		now, online := time.Now(), e.set.Bus.Connected()
		deaf := listener.WasDeaf(online, now, msg.BeatEvery)
		before := began
		began = e.set.Bus.BeganAt()
		e.attendRequests(now, deaf)
		if !began.Equal(before) { // requests, or answers to them, may have been lost with the connection before
			e.requests.hurry(repeatReconnected, now, func(r *connectRequest) bool { return !r.asked.After(began) })
		}
		e.owners.mu.Lock()
		switch {
		case !online:
		case e.owners.clock.Away(now) >= estrangedAfter:
			e.fear(now)
		default:
			e.owners.clock.Tick(now)
		}
		if deaf {
			e.owners.live.Forgive(now)
		}
		e.attend(now)
		e.owners.mu.Unlock()
		e.pauses.expire(now)
	}
}

// attend finds what is due. Needs owners.mu.
func (e *Edge) attend(now time.Time) {
	o := e.owners
	var dead []*instance
	for _, key := range o.live.Expire(now) {
		dead = append(dead, o.instances[key])
	}
	for _, i := range o.instances {
		switch {
		case i.state == doubtful && now.Sub(i.doubted) > deadAfterDoubt && !slices.Contains(dead, i):
			dead = append(dead, i)
		case i.state == doubtful:
			e.out.Do(func() { e.ping(i) })
		}
	}
	for _, i := range dead {
		o.remove(i)
		e.stats.instancesDied.Inc()
		e.set.Log.Warn("an instance has died", "group", i.group, "instance", i.name)
		e.out.Do(func() { e.orphan(i, true); e.pauses.forgetInstance(i.name) })
		o.shaky = now.Add(shakyFor)
	}
	if now.Before(o.shaky) && now.Sub(o.asked) >= seekEvery {
		o.asked = now
		e.requests.hurry(repeatGone, now, func(r *connectRequest) bool { return r.isSilent() && now.Sub(r.asked) >= seekEvery })
	}
	e.seekAgain(now)
}

// claimOf is who claims a socket by the headers of an answer, "" for nobody; ok is false for headers that are no claim.
func claimOf(h bus.Header) (group, owner string, ok bool) {
	group, owner = h.Get(msg.HeaderGroup), h.Get(msg.HeaderOwner)
	ok = (group != "" || owner == "") && (group == "" || subjects.IsToken(group)) && (owner == "" || subjects.IsToken(owner))
	return strings.Clone(group), strings.Clone(owner), ok
}
