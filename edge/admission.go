package edge

import (
	"errors"
	"slices"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/msg"
)

// Errors of answers to connect requests, for the log.
var (
	errUndecided = errors.New("no service decided within the namespace's connect_timeout; clients come back by themselves")
	errDecider   = errors.New(msg.HeaderPending + " must name an instance: one token")
	errGroup     = errors.New(msg.HeaderGroup + " must be one token")
	errOwner     = errors.New("contract 2.0 has no claims: instances that own sockets say so when they announce themselves (docs/subjects.md, Groups and owners)")
)

// decision is an answer to a connect request.
type decision struct {
	owner.Answer
	msg.Admission
	group string // that handles the socket's events; "": all services do
	text  string // of a refusal
	data  []byte // of a refusal
	err   error  // why it is a refusal, although it was none
}

// readDecision reads an answer to a connect request. ok is false for a message that is none.
func (e *Edge) readDecision(m *bus.Message) (d decision, ok bool) {
	d.Number, d.From = assignment(m.Header), tokenHeader(m.Header, msg.HeaderFrom)
	refusal, pending := m.Header.Get(msg.HeaderError), m.Header.Get(msg.HeaderPending)
	switch {
	case m.NoResponders():
		d.Kind = owner.NoResponders
	case pending != "":
		d.Kind, d.From = owner.Pending, tokenHeader(m.Header, msg.HeaderPending)
		if d.From == "" {
			e.drop(m, dropBadBody, errDecider)
			return d, false
		}
	case refusal == msg.ErrorAgain:
		d.Kind = owner.AskAgain
	case refusal == msg.ErrorNotMine && d.Number != 0:
		d.Kind = owner.NotMine
	case m.Header.Has(msg.HeaderError):
		d.Kind, d.text = owner.Refusal, refusal
		var err error
		if d.data, err = msg.RefusalData(m.Data); err != nil {
			e.complaints.about(m.Subject, "a service refused a socket with a body that is no array of one", err)
		}
	default:
		d.Admission, d.err = msg.ParseAdmission(m.Data)
		if d.group = tokenHeader(m.Header, msg.HeaderGroup); d.err == nil && d.group == "" && m.Header.Has(msg.HeaderGroup) {
			d.err = errGroup
		}
		if d.err != nil {
			d.Kind, d.text = owner.Refusal, refusalWords[refusedAnswer]
		}
	}
	return d, true
}

// handleConnectAnswer takes the answer to a connect request. s is nil if the socket has ended.
func (e *Edge) handleConnectAnswer(m *bus.Message, sub *subjects.Subject, s *socket) {
	if o := e.owners.Ended(sub.Socket); s == nil && o != nil && o.Client.(*socket).ns.token == sub.Namespace {
		s = o.Client.(*socket) // its last events wait for an owner
	}
	if s == nil && m.NoResponders() {
		e.stats.noResponders.Inc() // who asked has gone meanwhile
		return
	}
	if m.Header.Has(msg.HeaderOwner) {
		e.stats.dropped[dropBadBody].Inc()
		e.complaints.about(string(e.prefix.AppendOn(nil, sub.Namespace, msg.EventConnect)), "an answer with "+msg.HeaderOwner+" does not count", errOwner)
		return
	}
	var o *owner.Socket
	if s != nil {
		e.mu.Lock()
		o = s.owner
		e.mu.Unlock()
	}
	d, ok := e.readDecision(m)
	switch {
	case !ok:
		return
	case o != nil && errors.Is(d.err, msg.ErrNotArray) && e.owners.Waits(o):
		e.drop(m, dropBadBody, d.err) // the PubAck of a stream that records events: nobody's decision
		return
	case o == nil:
		e.answeredLate(m, sub, s, &d, s != nil && s.repeated)
		return
	}
	switch out := e.owners.Answer(o, d.Answer); out.Verdict {
	case owner.Late:
		e.answeredLate(m, sub, s, &d, out.Repeated)
	case owner.Refused:
		e.refused(m, s, &d)
	case owner.Admitted, owner.Owned:
		e.admit(s, &d, out)
		e.confirmAdmission(m, s)
		e.owners.Release(o)
	case owner.Taken:
		e.takenOver(s, &d)
		e.confirmAdmission(m, s)
		e.owners.Release(o)
	}
}

// answeredLate drops an answer that no request waits for. An admission of a socket that is not its own, or has gone, is told to
// whoever made it: a group, because the notice for all services came before, and on a subject that a service for many namespaces
// does not subscribe to.
func (e *Edge) answeredLate(m *bus.Message, sub *subjects.Subject, s *socket, d *decision, repeated bool) {
	if d.Kind != owner.Admission && d.Kind != owner.Refusal {
		return // no decision, and none is needed
	}
	if repeated { // several may have answered
		e.stats.dropped[dropLateAnswer].Inc()
		e.stats.discardedBytes.Add(len(m.Data))
	} else {
		e.drop(m, dropLateAnswer, nil)
	}
	why := errAdmitted
	if s == nil || s.state.Load() == gone {
		why = errGone
	}
	switch {
	case d.Kind != owner.Admission:
	case s == nil && d.Number != 0 && d.From != "":
		e.ownerChanged(sub.Namespace, sub.Socket, d.From, d.Number)
	case s == nil && d.group != "":
		reply := string(e.prefix.AppendToSocket(nil, sub.Namespace, subjects.VerbEmit, sub.Socket))
		e.tellOwner(sub.Namespace, d.group, msg.EventDisconnect, reply, nil, msg.Ended{Reason: engine.TransportClose.String()}.Body(), false)
	}
	e.notAdmitted(m, why)
}

// refused ends a socket that a service has refused, or admitted in a way that cannot be.
func (e *Edge) refused(m *bus.Message, s *socket, d *decision) {
	kind := refusedByService
	if d.err != nil {
		kind = refusedAnswer
		e.complaints.about(m.Subject, "a service answered a connect with something else than an admission", d.err)
		e.notAdmitted(m, errAnswer)
	}
	e.mu.Lock()
	admitted := s.admitted
	e.mu.Unlock()
	if admitted { // in a handover
		e.disconnect([]*socket{s}, msg.EndSocket)
		return
	}
	e.reject(s, d.text, d.data, kind)
}

// takenOver gives a socket the rooms and data of its new owner's admission. It never waits.
func (e *Edge) takenOver(s *socket, d *decision) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.state.Load() == gone {
		return
	}
	tokens, err := roomTokens(d.Rooms)
	if err == nil {
		err = e.join(s, tokens)
	}
	if err != nil {
		e.complaints.about(s.ns.name, "an instance took a socket over into rooms that cannot be", err)
	}
	if d.Data != nil {
		s.data = slices.Clone(d.Data)
		e.changed(s)
	}
}

// undecided says that a connect request found no taker, and refuses the socket if the namespace wants that.
func (e *Edge) undecided(s *socket, why owner.Reason, refuse bool) {
	switch {
	case refuse && why != owner.Again:
		e.reject(s, refusalWords[refusedNoService], nil, refusedNoService)
	case why == owner.NoService:
		e.complainUnanswered(s.ns.name, refusedNoService)
	case why == owner.Silence:
		e.complainUnanswered(s.ns.name, refusedTimeout)
	}
}

// timeIsUp ends a wait without a decision. It closes the transport: the official client then comes back by its own back-off,
// which it never does after a CONNECT_ERROR. A session with another live socket goes on, and so does the asking.
func (e *Edge) timeIsUp(s *socket) {
	if s.Refuses() {
		e.reject(s, refusalWords[refusedTimeout], nil, refusedTimeout)
		return
	}
	e.mu.Lock()
	if s.state.Load() == gone || s.admitted {
		e.mu.Unlock()
		return
	}
	goesOn, o := s.conn.isUsed(), s.owner
	s.overdue = goesOn
	e.mu.Unlock()
	if goesOn {
		e.owners.WaitOn(o)
		return
	}
	e.owners.GaveUp()
	subject := string(e.prefix.AppendOn(nil, s.ns.token, msg.EventConnect))
	e.complaints.about(subject, "closing transports of clients that wait to be admitted", errUndecided)
	s.conn.session.Close(engine.ForcedServerClose)
}

// isUsed reports whether the session has a socket that was admitted. Edge.mu must be held.
func (c *connection) isUsed() bool {
	return slices.ContainsFunc(c.sockets, func(s *socket) bool { return s.admitted })
}

// isUndecided reports whether a service is asked about one of the session's sockets. Edge.mu must be held.
func (c *connection) isUndecided() bool {
	return slices.ContainsFunc(c.sockets, func(s *socket) bool {
		return s.owner != nil && !s.admitted && s.state.Load() != gone
	})
}

// unasked looks at the session of a socket that has gone: no service is asked about it any more, or its last live socket has
// gone while others have waited too long. Edge.mu must be held.
func (e *Edge) unasked(s *socket) {
	c := s.conn
	if !s.admitted {
		if s.owner != nil && !c.isUndecided() {
			c.resumeTimer()
		}
		return
	}
	if c.closed || c.isUsed() {
		return
	}
	for _, other := range c.sockets {
		if other.overdue && !other.admitted {
			e.owners.WaitNoLonger(other.owner)
		}
	}
}

// confirmAdmission answers an admission that has a reply subject, as a join is answered: once the socket's subscriptions are
// active, and the client has its CONNECT.
func (e *Edge) confirmAdmission(m *bus.Message, s *socket) {
	if m.Reply == "" {
		return
	}
	e.mu.Lock()
	admitted := s.admitted
	e.mu.Unlock()
	if !admitted { // its rooms cannot be
		e.notAdmitted(m, errAnswer)
		return
	}
	asked := *m
	e.out.AfterSubscribed(func() { e.answer(&asked, nil, e.answerBody(1)) })
}

// notAdmitted answers an admission that has a reply subject and was not accepted. It comes behind the answer to an earlier one
// that was, because a service may repeat itself.
func (e *Edge) notAdmitted(m *bus.Message, why error) {
	if m.Reply == "" || m.NoResponders() || m.Header.Has(msg.HeaderError) {
		return
	}
	asked := *m
	e.out.AfterSubscribed(func() { e.answerError(&asked, why.Error()) })
}
