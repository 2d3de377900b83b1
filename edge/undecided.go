package edge

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"partyline/bus"
	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/msg"
)

// errUndecided is logged when a session is closed because no service has decided about its socket.
var errUndecided = errors.New("no service decided within the namespace's connect_timeout; clients come back by themselves")

// ask publishes the connect request of a socket, for the first time or again. It runs on the bus's worker, which publishes the
// disconnect notice as well: the notice must not overtake the request.
func (e *Edge) ask(s *socket) {
	c := s.Edge.conn
	c.mu.Lock()
	r := s.Edge.request
	c.mu.Unlock()
	if r == nil {
		return // decided about, or gone
	}
	if !e.set.Bus.Connected() {
		e.unanswered(s, r, repeatOffline)
		return
	}
	why, waits := e.requests.publishing(r, time.Now())
	if !waits {
		return
	}
	e.reg.Decide(s)
	if why == repeatSilence {
		e.complaints.unanswered(s.Namespace.Name, refusedTimeout)
	}
	if why != repeatNot {
		e.requests.repeated[why].Inc()
		c.mu.Lock()
		s.Edge.repeated = true
		c.mu.Unlock()
	}
	subject := e.prefix.AppendOn(nil, s.Namespace.Token, msg.EventConnect)
	body := msg.Connect(s.Edge.conn.handshake(s), nil)
	timeout := strconv.FormatInt(s.Edge.rules.ConnectTimeout.Milliseconds(), 10)
	reply := e.prefix.AppendConnectReply(nil, s.Namespace.Token, s.ID)
	err := e.up.Publish(subject, reply, bus.Header{msg.HeaderTimeout: {timeout}}, body)
	switch {
	case err == nil:
	case errors.Is(err, bus.ErrTooLarge):
		e.reject(s, refusalWords[refusedHandshake], nil, refusedHandshake)
	default:
		e.unanswered(s, r, repeatOffline)
	}
}

// unanswered publishes a request again later that found no taker, or refuses the socket if the namespace wants that.
func (e *Edge) unanswered(s *socket, r *connectRequest, why int) {
	if s.Edge.rules.Refuses() && why != repeatAgain {
		e.reject(s, refusalWords[refusedNoService], nil, refusedNoService)
		return
	}
	if why == repeatNoService {
		e.complaints.unanswered(s.Namespace.Name, refusedNoService)
	}
	e.requests.failed(r, why, time.Now())
}

// askAgain does what is due of the requests that wait, and returns how long nothing is due.
func (e *Edge) askAgain() time.Duration {
	again, over := e.requests.due(time.Now())
	if len(again) > 0 {
		e.out.Do(func() {
			for _, r := range again {
				e.ask(r.socket)
			}
		})
	}
	for _, r := range over {
		e.timeIsUp(r)
	}
	return e.requests.wait(time.Now())
}

// timeIsUp ends a wait without a decision. It closes the transport: the official client then comes back by its own back-off,
// which it never does after a CONNECT_ERROR. A session with another live socket goes on, and so does the asking.
func (e *Edge) timeIsUp(r *connectRequest) {
	s := r.socket
	if s.Edge.rules.Refuses() {
		e.reject(s, refusalWords[refusedTimeout], nil, refusedTimeout)
		return
	}
	c := s.Edge.conn
	c.mu.Lock()
	if s.Edge.request != r {
		c.mu.Unlock()
		return
	}
	goesOn := c.isUsed()
	r.overdue = goesOn
	c.mu.Unlock()
	if goesOn {
		// An instance that has been deciding for so long may have lost its answer.
		e.requests.hurry(repeatSilence, time.Now(), func(other *connectRequest) bool { return other == r && r.decider != "" })
		return
	}
	e.requests.closed.Inc()
	subject := string(e.prefix.AppendOn(nil, s.Namespace.Token, msg.EventConnect))
	e.complaints.about(subject, "closing transports of clients that wait to be admitted", errUndecided)
	c.session.Close(engine.ForcedServerClose)
}

// decided forgets the request of a socket that was admitted, refused, or has gone. Its connection's mu must be held.
func (e *Edge) decided(s *socket) {
	if s.Edge.request == nil {
		return
	}
	e.requests.remove(s.Edge.request)
	s.Edge.request = nil
	s.Edge.conn.idle.resume(s.Life().IsMember())
}

// unused looks again at the sockets of a session that have waited too long, when its last live one has gone. The connection's mu
// must be held.
func (e *Edge) unused(c *connection) {
	if c.closed || c.isUsed() {
		return
	}
	for _, s := range c.all() {
		if r := s.Edge.request; r != nil && r.overdue {
			e.requests.overNow(r, time.Now())
		}
	}
}

// hearDecider takes an announcement of an instance as far as it concerns connect requests. It never waits.
func (e *Edge) hearDecider(m *bus.Message, sub *subjects.Subject) {
	ends := sub.Word == subjects.WordLeft || sub.Word == subjects.WordBye
	if sub.Word == subjects.WordLeaving || !e.requests.heard(sub.Instance, !ends, time.Now()) || sub.Word == subjects.WordBeat {
		return
	}
	word, instance, body := sub.Word, sub.Instance, m.Data
	e.out.Do(func() {
		about, _ := msg.ParseInstanceAnnouncement(body) // of a bad one only the subject counts
		why := repeatGone
		if word == subjects.WordHello {
			why = repeatCame
		}
		e.requests.hurry(why, time.Now(), func(r *connectRequest) bool {
			switch {
			case r.decider != "":
				return r.decider == instance // an answer of it may be lost, or will not come
			case word == subjects.WordBye:
				return false // it has said left before
			case word == subjects.WordLeft:
				return r.isSilent() && r.concerns(about.Namespaces) // what was on its way to it is lost without a word
			}
			return r.concerns(about.Namespaces)
		})
	})
}

// attendRequests looks after the instances that decide. forgive is set if this edge could not hear for a while.
func (e *Edge) attendRequests(now time.Time, forgive bool) {
	if dead := e.requests.expire(now, forgive); len(dead) > 0 {
		e.requests.hurry(repeatGone, now, func(r *connectRequest) bool { return slices.Contains(dead, r.decider) })
	}
}
