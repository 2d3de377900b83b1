package edge

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/edge/registry"
	"partyline/internal/tally"
	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// pauseFor is how long a pause is in force unless it is repeated: an instance that died delays no client for
	// longer.
	pauseFor = 5 * time.Second
	// maxPauses bounds the pauses of one session, which services could otherwise make up.
	maxPauses = 64
	// heldAtOnce is how many packets of a session the bus's worker publishes before it sees to others.
	heldAtOnce = 256
)

// Errors of pauses, as services read them.
var (
	errTooManyPauses = errors.New("too many pauses: the limit of a session is 64")
	errInstance      = errors.New("an instance's name is 1 to 64 characters A-Z a-z 0-9 _ -, and none of all, room and socket")
)

// pauses are the sessions that are paused. It never waits.
type pauses struct {
	*commands
	act func(*connection, *heldPacket) bool // does what a packet asks for that was held

	mu    sync.Mutex         // may be taken while a connection's is held, or a hold's
	holds map[*hold]struct{} // guarded by mu: sessions that are paused, or whose events are not all published yet

	paused              tally.Gauge
	begun, eventsPaused tally.Counter
}

func (p *heldPacket) size() int { return len(p.body) + len(p.name) + len(p.event) }

// heldCost is the memory of a held packet without its bytes.
const heldCost = 512

// keep adds a packet, and stops reading when that fills the hold. It reports false if the hold is over.
func (h *hold) keep(p heldPacket) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return false
	}
	h.packets = append(h.packets, p)
	h.bytes += p.size()
	h.conn.session.Charge(p.size() + heldCost)
	if p.event != "" {
		h.conn.edge.pauses.eventsPaused.Inc()
	}
	if !h.full && (len(h.packets) >= owner.MaxHeld || h.bytes >= owner.MaxHeldBytes) {
		h.full = true
		h.conn.session.StopReading()
	}
	return true
}

// publishSome publishes some of what is held, and leaves the rest for later. It runs on the bus's worker.
func (p *pauses) publishSome(h *hold) {
	if p.publish(h, heldAtOnce, false) {
		p.out.Do(func() { p.publishSome(h) })
	}
}

// publish publishes what is held, at most so many packets, until the session is paused again or an owned socket has no
// more room, and ends the hold when nothing is left. For the last time it drops what is left. It reports whether more
// can be published. It runs on the bus's worker.
func (p *pauses) publish(h *hold, most int, isLast bool) (more bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for more = true; more && most > 0 && len(h.packets) > 0 && !h.paused.Load(); most-- {
		if more = p.act(h.conn, &h.packets[0]); more {
			h.bytes -= h.packets[0].size()
			h.conn.session.Charge(-h.packets[0].size() - heldCost)
			h.packets[0] = heldPacket{}
			h.packets = h.packets[1:]
		}
	}
	if h.full && len(h.packets) <= owner.MaxHeld/2 && h.bytes <= owner.MaxHeldBytes/2 {
		h.full = false
		h.conn.session.ResumeReading()
	}
	if isLast {
		for i := range h.packets {
			if h.packets[i].event != "" {
				p.stats.eventsFailed.Inc()
			}
		}
		h.packets, h.bytes = nil, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !h.over && len(h.packets) == 0 && len(h.pauses) == 0 {
		h.over, h.packets = true, nil
		h.conn.hold.Store(nil)
		delete(p.holds, h)
		p.paused.Add(-1)
	}
	return more && len(h.packets) > 0 && !h.paused.Load()
}

// stop ends the pauses of a session that has ended, and returns what is held, or nil. Its last publish must follow.
func (p *pauses) stop(c *connection) *hold {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := c.hold.Load()
	if h != nil {
		h.pauses = nil
		h.paused.Store(false)
	}
	return h
}

// handle acts on a pause or resume from NATS.
func (p *pauses) handle(m *bus.Message, sub *subjects.Subject) {
	instance, err := msg.Instance(m.Data)
	if err == nil && !subjects.IsToken(instance) {
		err = errInstance
	}
	if err != nil {
		p.reject(m, dropBadBody, err)
		return
	}
	sockets, found := p.find(m, sub)
	switch {
	case !found:
		return
	case sub.Verb == subjects.VerbResume:
		p.endOf(sockets[0].Edge.conn, func(one pause) bool { return one.socket == sockets[0] && one.instance == instance }, false)
	default:
		err = p.begin(sockets[0], instance)
	}
	if err != nil {
		p.fail(m, err)
		return
	}
	p.send(m, nil, p.body(1))
}

// begin pauses the session of a socket for an instance, or does so for longer.
func (p *pauses) begin(s *socket, instance string) error {
	c := s.Edge.conn
	c.mu.Lock() // so that the session does not end meanwhile
	defer c.mu.Unlock()
	if s.Life() == registry.Gone || c.closed {
		return errUnknownSocket
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h := c.hold.Load()
	if h == nil {
		h = &hold{conn: c}
		c.hold.Store(h)
		p.holds[h] = struct{}{}
		p.paused.Add(1)
		p.begun.Inc()
	}
	until := time.Now().Add(pauseFor)
	for i := range h.pauses {
		if h.pauses[i].socket == s && h.pauses[i].instance == instance {
			h.pauses[i].until = until
			return nil
		}
	}
	if len(h.pauses) >= maxPauses {
		return errTooManyPauses
	}
	h.pauses = append(h.pauses, pause{s, instance, until})
	h.paused.Store(true)
	return nil
}

// endOf ends the pauses that are over of one session, and publishes what is held if none is left. With retry it also
// goes on with what could not be published before.
func (p *pauses) endOf(c *connection, isOver func(pause) bool, retry bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := c.hold.Load()
	if h == nil || !retry && len(h.pauses) == 0 {
		return
	}
	if h.pauses = slices.DeleteFunc(h.pauses, isOver); len(h.pauses) == 0 {
		h.paused.Store(false)
		p.out.Do(func() { p.publishSome(h) })
	}
}

// endEverywhere ends the pauses that are over of all sessions, like endOf.
func (p *pauses) endEverywhere(isOver func(pause) bool, retry bool) {
	p.mu.Lock()
	holds := slices.Collect(maps.Keys(p.holds))
	p.mu.Unlock()
	for _, h := range holds {
		p.endOf(h.conn, isOver, retry)
	}
}

// forgetInstance ends the pauses of an instance that has gone.
func (p *pauses) forgetInstance(instance string) {
	p.endEverywhere(func(one pause) bool { return one.instance == instance }, false)
}

// expire ends pauses that were not repeated, and goes on with what could not be published before.
func (p *pauses) expire(now time.Time) {
	p.endEverywhere(func(one pause) bool { return now.After(one.until) }, true)
}

// metrics adds what is counted to a set.
func (p *pauses) metrics(set *tally.Set) {
	set.Gauge(&p.paused, "sessions_paused", "Sessions whose events are held because a service does not keep up.")
	set.Counter(&p.begun, "pauses_total", "Times a session was paused.")
	set.Counter(&p.eventsPaused, "events_paused_total", "Events that were held because their session was paused.")
}
