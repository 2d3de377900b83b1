package soak

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Times of the judgement.
const (
	slack    = 30 * time.Second // a message that has not arrived by then is lost
	underWay = 5 * time.Second  // what was sent this long before a connection broke may be lost with it
)

// session is one connection of a client, from its CONNECT on. Its fields are guarded by the ledger's mu, except for
// constant ones.
type session struct {
	name      string // constant, unique in the run
	namespace string // constant
	edge      *place // constant
	id, pid   string // of its socket, constant
	offset    string // of the last event; of the reading goroutine
	end       time.Time
	breaks    []time.Time            // its earlier ends, after which it went on
	isBroken  bool                   // it ended without a farewell
	in        map[string]*membership // by room
	sent      map[string]int         // messages, by room
	calls     map[int]*call          // events whose ack has not come
	asked     int
}

// call is an event that waits for its ack.
type call struct {
	at       time.Time
	acked    func(ack string) // called with the ledger's mu
	isJudged bool             // counted as lost in a fault, but its ack may still come
}

// membership is the stay of a session in a room.
type membership struct {
	session  *session
	from, to time.Time // the join was acked, the leave was sent; zero: not yet
	heard    map[*session]*heard
}

// heard is what arrived of one sender in one membership: all numbers from first to last, except gaps.
type heard struct {
	first, last int
	gaps        map[int]bool
}

func (h *heard) has(n int) bool { return h != nil && h.first <= n && n <= h.last && !h.gaps[n] }

// message is an event to a room whose arrival is not judged yet.
type message struct {
	at     time.Time
	sender *session
	n      int
}

// room is a room of one namespace.
type room struct {
	messages []message // in the order of their times
	members  []*membership
}

// ledger has what was sent and received. It judges messages that are older than slack, and forgets them. So its memory
// does not grow with the run.
type ledger struct {
	mu       sync.Mutex
	rooms    map[string]*room    // guarded by mu, by namespace and name
	sessions map[string]*session // guarded by mu, by name
	sum      counts              // guarded by mu
	examples []string            // guarded by mu: what must not happen
}

// counts are the results. What a fault explains is counted apart.
type counts struct {
	sessions, messages, deliveries, acks, moves int
	recovered, forgotten                        int // sessions that broke off in a namespace with recovery
	lost, lostInFaults                          int
	doubled, reordered, misplaced               int
	acksLost, acksLostInFaults, acksDoubled     int
	ended, endedInFaults                        int // sessions that the edge ended
	refused, refusedInFaults                    int // connects and joins
}

func newLedger() *ledger {
	return &ledger{rooms: make(map[string]*room), sessions: make(map[string]*session)}
}

// wrong keeps an example of what must not happen. mu must be held.
func (l *ledger) wrong(format string, args ...any) {
	if len(l.examples) < 50 {
		l.examples = append(l.examples, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// room returns a room. mu must be held.
func (l *ledger) room(namespace, name string) *room {
	key := namespace + " " + name
	if l.rooms[key] == nil {
		l.rooms[key] = &room{}
	}
	return l.rooms[key]
}

// join begins a membership, which counts from its ack on. mu must be held.
func (l *ledger) join(s *session, name string) *membership {
	m := &membership{session: s, heard: make(map[*session]*heard)}
	s.in[name] = m
	r := l.room(s.namespace, name)
	r.members = append(r.members, m)
	return m
}

// send notes a message, and returns its number. mu must be held.
func (l *ledger) send(s *session, name string) int {
	n := s.sent[name]
	s.sent[name]++
	r := l.room(s.namespace, name)
	r.messages = append(r.messages, message{time.Now(), s, n})
	l.sum.messages++
	return n
}

// receive notes that a message arrived.
func (l *ledger) receive(s *session, name, sender string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, from := s.in[name], l.sessions[sender]
	switch {
	case m == nil:
		l.sum.misplaced++
		l.wrong("%s received message %d of %s to %s, where it is not", s.name, n, sender, name)
		return
	case from == nil:
		l.sum.reordered++
		l.wrong("%s received message %d of %s to %s long after it was sent", s.name, n, sender, name)
		return
	}
	h := m.heard[from]
	switch {
	case h == nil:
		m.heard[from] = &heard{first: n, last: n, gaps: make(map[int]bool)}
	case n > h.last:
		for gap := h.last + 1; gap < n; gap++ {
			h.gaps[gap] = true
		}
		h.last = n
	case h.has(n):
		l.sum.doubled++
		l.wrong("%s received message %d of %s to %s twice", s.name, n, sender, name)
	default:
		l.sum.reordered++
		l.wrong("%s received message %d of %s to %s after message %d", s.name, n, sender, name, h.last)
		delete(h.gaps, n)
		for ; h.first > n; h.first-- {
			h.gaps[h.first-1] = h.first-1 > n
		}
	}
}

// judge judges all messages and calls that are older than an age.
func (l *ledger) judge(age time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for name, r := range l.rooms {
		for len(r.messages) > 0 && now.Sub(r.messages[0].at) >= age {
			l.judgeMessage(name, r, r.messages[0], now.Add(-age))
			r.messages = r.messages[1:]
		}
		r.members = keep(r.members, func(m *membership) bool { return !isOver(m.to, now) })
		for _, m := range r.members {
			for sender := range m.heard {
				if isOver(sender.end, now) {
					delete(m.heard, sender)
				}
			}
		}
	}
	for name, s := range l.sessions {
		for id, c := range s.calls {
			if c.isJudged || now.Sub(c.at) < age {
				continue
			}
			if s.excuses(c.at) {
				l.sum.acksLostInFaults++
				c.isJudged = true
				continue
			}
			delete(s.calls, id)
			l.sum.acksLost++
			l.wrong("%s on %s, which ended at %v, got no ack of event %d, sent at %v", name, s.edge.name, clock(s.end), id, clock(c.at))
		}
		if isOver(s.end, now) {
			delete(l.sessions, name)
		}
	}
}

// judgeMessage judges a message at all members of its room. due is when it had to be there at the latest.
func (l *ledger) judgeMessage(name string, r *room, sent message, due time.Time) {
	for _, m := range r.members {
		if m.from.IsZero() || m.from.After(sent.at) || !m.to.IsZero() && m.to.Before(sent.at) {
			continue // it was not a member
		}
		h := m.heard[sent.sender]
		switch {
		case h.has(sent.n):
			l.sum.deliveries++
		case !m.to.IsZero() && m.to.Sub(sent.at) < slack && (h == nil || h.last < sent.n):
			// It left, while the message may have been on its way.
		case due.Before(sent.at):
		case sent.sender.excuses(sent.at) || m.session.mayMiss(sent.at):
			l.sum.lostInFaults++
		default:
			l.sum.lost++
			l.wrong("%s on %s, in room %s from %v to %v, did not receive message %d of %s on %s, sent at %v: it has %+v", m.session.name,
				m.session.edge.name, name, clock(m.from), clock(m.to), sent.n, sent.sender.name, sent.sender.edge.name, clock(sent.at), h)
		}
	}
}

// missing returns how many messages to sessions that are still connected have not arrived, and no fault explains that.
func (l *ledger) missing() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rooms {
		for _, sent := range r.messages {
			for _, m := range r.members {
				if !m.from.IsZero() && !m.from.After(sent.at) && m.to.IsZero() && !m.heard[sent.sender].has(sent.n) &&
					!sent.sender.excuses(sent.at) && !m.session.mayMiss(sent.at) {
					n++
				}
			}
		}
	}
	for _, s := range l.sessions {
		for _, c := range s.calls {
			if !s.excuses(c.at) {
				n++
			}
		}
	}
	return n
}

// excuses reports whether a fault explains that what the session sent at a time is lost. The ledger's mu must be held.
func (s *session) excuses(at time.Time) bool {
	return s.brokeAfter(at) || s.edge.suffers(at) ||
		slices.ContainsFunc(s.breaks, func(end time.Time) bool { return at.After(end.Add(-underWay)) && at.Before(end) })
}

// mayMiss reports whether a fault explains that the session does not get what was sent at a time. With recovery, nothing
// does while it goes on. The ledger's mu must be held.
func (s *session) mayMiss(at time.Time) bool {
	return s.brokeAfter(at) || s.namespace != kept && s.edge.suffers(at)
}

func (s *session) brokeAfter(at time.Time) bool {
	return s.isBroken && at.After(s.end.Add(-underWay))
}

// goOn continues a session that broke off, with what it is in. The ledger's mu must be held.
func (s *session) goOn() {
	for _, m := range s.in {
		if m.to.Equal(s.end) {
			m.to = time.Time{}
		}
	}
	s.breaks = append(s.breaks, s.end)
	s.end, s.isBroken = time.Time{}, false
}

func keep[T any](all []T, wanted func(T) bool) []T {
	left := all[:0]
	for _, one := range all {
		if wanted(one) {
			left = append(left, one)
		}
	}
	clear(all[len(left):])
	return left
}

// isOver reports whether what ended at a time needs no more judgement.
func isOver(end, now time.Time) bool { return !end.IsZero() && now.Sub(end) > 3*slack }

func clock(t time.Time) string {
	if t.IsZero() {
		return "now"
	}
	return t.Format("15:04:05.000")
}
