package owner

import (
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"partyline/wire/msg"
)

// What waits for a socket's next owner, at the most. Past that its session is closed, so that its client begins anew.
const (
	MaxHeld      = 1024
	MaxHeldBytes = 1 << 20
)

// toldNothing is a revision of rooms and data that no socket has.
const toldNothing = math.MaxUint64

// ErrHeldFull is returned by Event when too many events wait for an owner.
var ErrHeldFull = errors.New("too many events wait for an instance that takes the socket over")

// Socket is a socket that services are asked about, or that an instance owns. It outlives its client until its last
// events have found an owner.
type Socket struct {
	Client Client // static

	request  *request  // guarded by Table.mu: nil once decided
	open     bool      // guarded by Table.mu: a request about it was published to all services
	repeated bool      // guarded by Table.mu: a request about it was published more than once
	instance *Instance // guarded by Table.mu: the owner, or, while there is a request, who is asked
	group    string    // guarded by Table.mu: the owner's; "": none yet
	number   uint64    // guarded by Table.mu: of the latest assignment
	accepted uint64    // guarded by Table.mu: of the assignment that made instance the owner
	place    int       // guarded by Table.mu: among Instance.sockets

	mu      sync.Mutex // held while an event is published; the NATS reader never takes it
	to      string     // guarded by mu: the token behind own; "": none, events go to all services
	holding bool       // guarded by mu: events wait in held
	held    []event    // guarded by mu: in order
	bytes   int        // guarded by mu: size of held
	ended   bool       // guarded by mu: the socket's end was published, or is the last in held
	told    uint64     // guarded by mu: the revision of rooms and data that the owner knows
}

// event is an event that waits for the next owner. It owns its bytes.
type event struct {
	name, reply string
	header      map[string][]string
	body        []byte
	end         bool // the socket's end
}

// Event publishes an event of an owned socket, or keeps it. It is called on the client's reader.
func (t *Table) Event(s *Socket, name, reply []byte, header map[string][]string, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// This may be what the kernel kept of a client while the process did not run: its owner may have let go of the
	// socket.
	wasAway := !s.holding && isAway(t)
	if (s.holding || wasAway) && !t.wire.Connected() {
		return ErrOffline // as if it were not held: what is said in an outage is dropped, however long that is
	}
	if wasAway {
		s.holding = fearFor(t, s)
	}
	if !s.holding {
		return t.wire.Event(s, s.to, name, reply, header, body)
	}
	size := len(name) + len(reply) + len(body)
	if len(s.held) >= MaxHeld || s.bytes+size > MaxHeldBytes {
		return ErrHeldFull
	}
	s.bytes += size
	s.Client.Charge(size + heldCost)
	s.held = append(s.held, event{string(name), string(reply), header, slices.Clone(body), false})
	t.stats.held.Inc()
	return nil
}

// hold keeps what comes from now on. Earlier events have been published when it returns. It runs on the worker.
func (s *Socket) hold() {
	s.mu.Lock()
	s.holding = true
	s.mu.Unlock()
}

// heldCost is the memory of a held event without its bytes.
const heldCost = 512

// empty drops what is held, which is charged no longer, and returns how many events it was. mu must be held.
func (s *Socket) empty() (events int) {
	events = len(s.held)
	if events > 0 && s.held[events-1].end { // the socket's end is not charged
		events--
	}
	s.Client.Charge(-s.bytes - events*heldCost)
	s.held, s.bytes = nil, 0
	return events
}

// release sends an owner, or all services if none is left that could be the first, what was held, and all that follows.
// It runs on the worker.
func (t *Table) release(s *Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.mu.Lock()
	i, to := s.instance, ""
	isDecided := s.request == nil && (i == nil && s.group == "" || i != nil && i.state == serving)
	if i != nil {
		to = i.name
	}
	t.mu.Unlock()
	if !isDecided || !s.holding || isAway(t) && fearFor(t, s) {
		return
	}
	s.to, s.holding = to, false
	s.told = t.wire.State(s, s.to, s.told)
	for _, e := range s.held {
		if e.end && s.to != "" {
			t.wire.Ended(s, s.to, e.header, e.body)
		} else if e.end {
			break // services have the notice for all
		} else if err := t.wire.Event(s, s.to, []byte(e.name), []byte(e.reply), e.header, e.body); err != nil {
			t.stats.failed.Inc()
		}
	}
	s.empty()
	if s.ended {
		t.forget(s)
	}
}

// Abandon forgets a socket that will have no owner any more, or that another edge has taken over, and what is held for
// it. Its owner is not told that it has ended. It runs on the worker.
func (t *Table) Abandon(s *Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.stats.failed.Add(s.empty())
	s.ended = true
	t.forget(s)
}

// End tells the instance that was asked about the socket, or owns it, that its client has left, behind its last event.
// It reports whether all services have a notice of the socket. It never waits.
func (t *Table) End(s *Socket, header map[string][]string, body []byte) (open bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch r, i := s.request, s.instance; {
	case r != nil && !r.handover:
		t.drop(r)
		if i != nil && !r.asked.IsZero() {
			t.wire.Do(func() { t.wire.Ended(s, i.name, header, body) })
		}
		s.instance = nil
	case r != nil || i != nil:
		t.wire.Do(func() { t.endOwned(s, header, body) })
		return true
	}
	return s.open || s.accepted > 0 // all have a notice of one that was admitted, and lost its owner
}

func (t *Table) endOwned(s *Socket, header map[string][]string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	if s.holding {
		s.held = append(s.held, event{header: header, body: body, end: true})
		t.mu.Lock()
		t.ended[s.Client.ID()] = s
		t.mu.Unlock()
		return
	}
	t.wire.Ended(s, s.to, header, body)
	t.forget(s)
}

// Of returns the group and the name of the instance that owns a socket, or did last, and the number of its latest
// assignment.
func (t *Table) Of(s *Socket) (group, instance string, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case s.request != nil:
		instance = s.request.from
	case s.instance != nil:
		instance = s.instance.name
	}
	return s.group, instance, s.number
}

// Recover makes the request of a socket that was taken over from another edge: a handover, for which the instance that
// owned it is asked first, if it is there. With decides the client waits for its decision. The caller has Ask called
// on the worker.
func (t *Table) Recover(c Client, instance, group string, number uint64, decides bool) *Socket {
	s := &Socket{Client: c, holding: true, group: group, number: number, told: toldNothing}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.instance = t.instances.find(group, instance)
	if r := t.add(s, true, instance); decides {
		t.limit(r)
	}
	return s
}

// forget drops a socket whose end has been told.
func (t *Table) forget(s *Socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.request != nil {
		t.drop(s.request)
	} else if s.instance != nil {
		s.instance.disown(s)
	}
	s.instance = nil
	delete(t.ended, s.Client.ID())
}

// Ended returns a socket whose client has left while its events wait for an owner, or nil.
func (t *Table) Ended(id string) *Socket {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended[id]
}

// Changed tells the owner that the rooms or data of its socket have changed. It never waits.
func (t *Table) Changed(s *Socket) {
	// An owner that has a room may publish there at once, so the room's subscription must be active.
	t.wire.AfterSubscribed(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.holding && !s.ended {
			s.told = t.wire.State(s, s.to, s.told)
		}
	})
}

// Owns reports whether an instance owns a socket. While another one is sought, it is the one that owned it before.
func (t *Table) Owns(instance string, s *Socket) bool {
	_, owner, _ := t.Of(s)
	return instance != "" && owner == instance
}

// Upgraded tells the owner that the socket's session has another transport. It is called on the client's reader.
func (t *Table) Upgraded(s *Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = toldNothing // until release, if it is held: the request may have been published before
	if !s.holding && !s.ended {
		s.told = t.wire.State(s, s.to, s.told)
	}
}

// reassign has sockets assigned again. What comes meanwhile is held. With again the instance that owned them is asked
// first: it lives, and may own them still. mu must be held.
func (t *Table) reassign(list []*Socket, again bool) {
	if len(list) == 0 {
		return
	}
	for _, s := range list {
		i := s.instance
		i.disown(s)
		t.add(s, true, i.name)
		if !again {
			s.instance = nil
		}
	}
	t.wire.Do(func() {
		for _, s := range list {
			s.hold()
			t.Ask(s)
		}
	})
}

// lastEvents is how long an owner is sought for the last events of a socket whose client has left.
const lastEvents = time.Minute

// isAway reports whether this edge was away, and its sockets' owners have not been asked since.
func isAway(t *Table) bool { return t.Clock.Away(t.set.Now()) >= awayAfter }

// awayAfter is how long an edge may be without NATS, or not run, before it must fear that services took it for dead
// and its sockets for disconnected: from its last beat before to its hello after may be a beat and a half more.
const awayAfter = msg.DeadAfter - 3*msg.BeatEvery/2
