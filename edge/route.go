package edge

import (
	"errors"
	"slices"
	"sync"
	"time"

	"partyline/bus"
	"partyline/subjects"
	"partyline/wire/msg"
)

// What waits for a socket's next owner, at the most. Past that its session is closed, so that its client begins anew.
const (
	maxHeld      = 1024
	maxHeldBytes = 1 << 20
)

// errHeldFull is logged when that is too much.
var errHeldFull = errors.New("too many events wait for an instance that takes the socket over")

// route is where the events of a claimed socket go: to a group of instances, or to the one that owns the socket. It
// outlives the socket until its last events have found somebody.
//
// Everything is published with mu held, so that a route that is held has published all that went before. The NATS
// reader never takes mu, because publishing may wait; what must change is left to the bus's worker. The registry's lock and a
// connection's may be taken while mu is held, not the other way.
type route struct {
	socket *socket // static

	instance *instance // guarded by owners.mu: who owns it; nil for none
	claims   uint64    // guarded by owners.mu: number of the latest claim that was asked for; the owner's, if there is one

	mu      sync.Mutex
	to      string      // guarded by mu: the token behind own
	holding bool        // guarded by mu: events wait in held
	held    []heldEvent // guarded by mu: in order
	bytes   int         // guarded by mu: size of held
	ended   bool        // guarded by mu: the socket's end was published or is the last that is held
	told    uint64      // guarded by mu: the revision that the owner knows
}

// heldEvent is an event that waits for the next owner. It owns its bytes.
type heldEvent struct {
	event, reply string
	header       bus.Header
	body         []byte
}

// newRoute makes the route of a socket that a group or one of its instances has claimed.
func newRoute(s *socket, group, owner string) *route {
	if owner == "" {
		owner = group
	}
	return &route{socket: s, to: owner}
}

// sendOwned publishes an event of a claimed socket, or keeps it. It is called on the session's reader.
func (e *Edge) sendOwned(r *route, event, reply []byte, header bus.Header, body []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.holding && e.owners.clock.Away(time.Now()) >= estrangedAfter {
		// This may be what the kernel kept of a client while the process did not run: its owner may have let go of the socket.
		if !e.set.Bus.Connected() {
			return bus.ErrOffline
		}
		r.holding = e.fearFor(r)
	}
	if !r.holding {
		return e.publishOwned(r, asString(event), reply, header, body)
	}
	if !e.set.Bus.Connected() {
		return bus.ErrOffline // as if it were not held: what is said in an outage comes to nothing, however long that is
	}
	size := len(event) + len(reply) + len(body)
	if len(r.held) >= maxHeld || r.bytes+size > maxHeldBytes {
		return errHeldFull
	}
	r.bytes += size
	r.held = append(r.held, heldEvent{string(event), string(reply), header, slices.Clone(body)})
	e.stats.held.Inc()
	return nil
}

// publishOwned needs r.mu.
func (e *Edge) publishOwned(r *route, event string, reply []byte, header bus.Header, body []byte) error {
	subject := e.prefix.AppendOwn(make([]byte, 0, 128), r.socket.Namespace.Token, r.to, event)
	return e.up.Publish(subject, reply, header, body)
}

// hold keeps what comes from now on. What came before has been published when it returns.
func (r *route) hold() {
	r.mu.Lock()
	r.holding = true
	r.mu.Unlock()
}

// release sends what was held, and all that follows, to an owner. It runs on the bus's worker.
func (e *Edge) release(r *route, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
	if !r.holding {
		return
	}
	r.holding = false
	e.publishState(r)
	for _, h := range r.held {
		if h.event == msg.EventDisconnect {
			e.publishEnd(r, h.header, h.body)
		} else if err := e.publishOwned(r, h.event, []byte(h.reply), h.header, h.body); err != nil {
			e.stats.eventsFailed.Inc()
		}
	}
	r.held, r.bytes = nil, 0
	if r.ended {
		e.owners.detach(r)
	}
}

// endRoute tells the owner that the socket has ended, behind its last event. It runs on the bus's worker.
func (e *Edge) endRoute(r *route, header bus.Header, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.ended = true
	if r.holding {
		r.held = append(r.held, heldEvent{event: msg.EventDisconnect, header: header, body: body})
		return
	}
	e.publishEnd(r, header, body)
	e.owners.detach(r)
}

// publishEnd leaves the notice to the worker's letters, which are kept while NATS is away. Needs r.mu.
func (e *Edge) publishEnd(r *route, header bus.Header, body []byte) {
	subject := e.prefix.AppendOwn(nil, r.socket.Namespace.Token, r.to, msg.EventDisconnect)
	e.out.Later(bus.Letter{Subject: string(subject), Reply: string(e.address(nil, r.socket)), Header: header, Body: body, Keep: true})
}

// changed notifies the owner of a socket, if it was claimed, that its rooms or data have changed. The registry's lock may be held.
func (e *Edge) changed(s *socket) {
	r := s.Edge.route
	if r == nil {
		return
	}
	// An owner that knows of a room may publish there at once, so the room's subscription must be active.
	e.out.AfterSubscribedOrOffline(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.holding && !r.ended {
			e.publishState(r)
		}
	})
}

// publishState tells the owner what the edge knows of a socket, if that is news. Needs r.mu.
func (e *Edge) publishState(r *route) {
	if !e.owners.isOwned(r) {
		return
	}
	state := e.stateOf(r.socket)
	if r.told == state.Rev {
		return
	}
	r.told = state.Rev
	state.ID = r.socket.ID
	// Without a connection the instance may miss it; then it misses its beats as well, and others take over.
	_ = e.publishOwned(r, msg.EventConnect, nil, nil, state.Body())
}

// stateOf is what is known of a socket.
func (e *Edge) stateOf(s *socket) msg.State {
	v, _ := e.reg.View(s)
	return msg.State{Rev: v.Rev, Rooms: roomNames(v.Rooms), User: v.User, Data: v.Data}
}

// roomNames is rooms as people write them, from their tokens in subjects.
func roomNames(tokens []string) []string {
	names := make([]string, len(tokens))
	for i, token := range tokens {
		names[i], _ = subjects.Room(token) // our own token
	}
	return names
}
