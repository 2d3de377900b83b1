package edge

import (
	"errors"
	"slices"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/edge/registry"
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
	msg.Grant
	isMade bool        // by a service or token; false: what the socket had is still so
	has    msg.Members // of the grant
	group  string      // that handles the socket's events; "": all services do
	no     msg.Refusal
	close  bool  // it is a refusal that closes the transport instead
	err    error // why it is a refusal, although it was none
}

// shownBy is the decision of a socket's token, or that none was made.
func shownBy(s *socket) *decision {
	return &decision{Grant: s.Edge.shown(), isMade: s.Edge.granted.Load() != nil}
}

// readDecision reads an answer to a connect request. ok is false for a message that is none.
func readDecision(m *bus.Message, c *complaints) (d decision, ok bool) {
	d.Number, d.From = msg.Assignment(m.Header.Get(msg.HeaderAssignment)), tokenHeader(m.Header, msg.HeaderFrom)
	refusal, pending := m.Header.Get(msg.HeaderError), m.Header.Get(msg.HeaderPending)
	switch {
	case m.NoResponders():
		d.Kind = owner.NoResponders
	case pending != "":
		d.Kind, d.From = owner.Pending, tokenHeader(m.Header, msg.HeaderPending)
		if d.From == "" {
			c.drop(m, dropBadBody, errDecider)
			return d, false
		}
	case refusal == msg.ErrorAgain:
		d.Kind = owner.AskAgain
	case refusal == msg.ErrorNotMine && d.Number != 0:
		d.Kind = owner.NotMine
	case m.Header.Has(msg.HeaderError):
		d.Kind, d.close = owner.Refusal, m.Header.Has(msg.HeaderClose) && msg.IsYes(m.Header.Get(msg.HeaderClose))
		var err error
		if d.no, err = msg.ParseRefusal(refusal, m.Data); err != nil {
			c.about(m.Subject, "a service refused a socket with a body that is none of a refusal", err)
		}
	default:
		d.isMade = true
		d.Grant, d.has, d.err = msg.ParseAdmission(m.Data)
		if d.group = tokenHeader(m.Header, msg.HeaderGroup); d.err == nil && d.group == "" && m.Header.Has(msg.HeaderGroup) {
			d.err = errGroup
		}
		if d.err != nil {
			d.Kind, d.no.Message = owner.Refusal, refusalWords[refusedAnswer]
		}
	}
	return d, true
}

// handleDecision takes the answer to a connect request. s is nil if the socket has ended.
func (e *Edge) handleDecision(m *bus.Message, sub *subjects.Subject, s *socket) {
	if o := e.owners.Ended(sub.Socket); s == nil && o != nil && o.Client.(ownedSocket).socket.Namespace.Token == sub.Namespace {
		s = o.Client.(ownedSocket).socket // its last events wait for an owner
	}
	if s == nil && m.NoResponders() {
		e.stats.noResponders.Inc() // who asked has gone meanwhile
		return
	}
	if m.Header.Has(msg.HeaderOwner) {
		e.stats.dropped[dropBadBody].Inc()
		e.complaints.about(e.complaints.connectSubject(sub.Namespace), "an answer with "+msg.HeaderOwner+" does not count", errOwner)
		return
	}
	var o *owner.Socket
	repeated := false
	if s != nil {
		c := s.Edge.conn
		c.mu.Lock()
		o, repeated = s.Edge.owner, s.Edge.repeated
		c.mu.Unlock()
	}
	d, ok := readDecision(m, e.complaints)
	switch {
	case !ok:
		return
	case o != nil && errors.Is(d.err, msg.ErrNotArray) && e.owners.Waits(o):
		e.complaints.drop(m, dropBadBody, d.err) // the PubAck of a stream that records events: nobody's decision
		return
	case o == nil:
		e.answeredLate(m, sub, s, &d, repeated)
		return
	}
	switch out := e.owners.Answer(o, d.Answer); out.Verdict {
	case owner.Late:
		e.answeredLate(m, sub, s, &d, out.Repeated)
	case owner.Refused:
		e.refused(m, s, &d)
	case owner.Admitted, owner.Owned:
		isAdmitted := e.admit(s, &d, out)
		e.owners.Release(o)
		e.answers.admission(m, isAdmitted)
	case owner.Taken, owner.Assigned:
		e.takenOver(s, &d, out.Verdict)
		e.owners.Release(o)
		e.answers.admission(m, true)
	}
}

// answeredLate drops an answer that no request waits for. An admission of a socket that is not its own, or has gone,
// is answered to its service: a group, because the notice for all services came before, and on a subject that a service
// for many namespaces does not subscribe to.
func (e *Edge) answeredLate(m *bus.Message, sub *subjects.Subject, s *socket, d *decision, repeated bool) {
	if d.Kind != owner.Admission && d.Kind != owner.Refusal {
		return // no decision, and none is needed
	}
	if repeated { // several may have answered
		e.stats.dropped[dropLateAnswer].Inc()
		e.stats.discardedBytes.Add(len(m.Data))
	} else {
		e.complaints.drop(m, dropLateAnswer, nil)
	}
	why := errAdmitted
	if s == nil || s.Life() == registry.Gone {
		why = errUnknownSocket
	}
	late, of := *m, *sub
	tell := func() {
		switch {
		case d.Kind != owner.Admission:
		case d.Number != 0 && d.From != "" && (s == nil || s.Edge.owner == nil): // else package owner has told it
			e.answers.ownerChanged(of.Namespace, of.Socket, d.From, d.Number)
		case s == nil && d.group != "":
			reply := string(e.prefix.AppendToSocket(nil, of.Namespace, subjects.VerbEmit, of.Socket))
			e.answers.tellOwner(of.Namespace, d.group, msg.EventDisconnect, reply, nil, msg.Ended{Reason: engine.TransportClose.String()}.Body(), false)
		}
		e.answers.notAdmitted(&late, why)
	}
	if s != nil {
		tell()
	} else {
		e.logged.unknown(of.Socket, tell)
	}
}

// refused ends a socket that a service has refused, or admitted in a way that cannot be, or closes the transport of
// its session.
func (e *Edge) refused(m *bus.Message, s *socket, d *decision) {
	kind := refusedByService
	if d.err != nil {
		kind = refusedAnswer
		e.complaints.about(m.Subject, "a service answered a connect with something else than an admission", d.err)
		e.answers.notAdmitted(m, errAnswer)
	}
	switch life := s.Life(); {
	case life == registry.Gone: // in a handover for its last events
	case d.close:
		if s.Edge.conn.turnAway(s, d.no.Message) {
			e.stats.connectRefused[kind].Inc()
			e.complaints.refused(s.Namespace.Name, d.no.Message, kind, s.Edge.conn.session.Address())
		}
		e.disconnect([]*socket{s}, msg.CloseTransport)
	case life >= registry.Subscribing: // in a handover
		e.disconnect([]*socket{s}, msg.EndSocket)
	default:
		s.Edge.conn.reject(s, d.no.Message, d.no.Data, kind)
	}
}

// takenOver gives a socket the rooms and data of its new owner's admission. It never waits.
func (e *Edge) takenOver(s *socket, d *decision, verdict owner.Verdict) {
	if r := s.Edge.recovered; r != nil {
		r.isOwned.Store(true)
	}
	d.isMade = false                     // of a handover: what it does not name stays
	if s.Life() < registry.Subscribing { // it was taken over from another edge, and its owner was asked first
		e.admit(s, d, ownedBefore)
		return
	}
	rooms, err := subjects.RoomTokens(d.Rooms)
	if err == nil {
		_, err = e.rewinds.join(s, rooms, byRule)
	}
	kept := msg.HasRooms | msg.HasUser
	if verdict == owner.Assigned { // it is the first service to say whose socket it is
		kept = msg.HasRooms
	}
	if has := d.has &^ kept; err == nil && has != 0 {
		err = e.grants.replace(s, changed(s, &d.Grant, has), slices.Clone(d.Data))
	}
	if err != nil && !errors.Is(err, registry.ErrGone) {
		e.complaints.about(s.Namespace.Name, "an instance took a socket over into rooms that cannot be", err)
	}
	if k := s.Edge.ticket; k != nil { // a client that comes back gets the owner that its record names
		k.Save(func(bool) {})
	}
}

// timeIsUp ends a wait without a decision. It closes the transport: the official client then comes back by its own
// back-off, which it never does after a CONNECT_ERROR. A session with another live socket goes on, and so does the
// asking.
func timeIsUp(s *socket) {
	c := s.Edge.conn
	e := c.edge
	if s.Edge.rules.Refuses() {
		c.reject(s, refusalWords[refusedTimeout], nil, refusedTimeout)
		return
	}
	c.mu.Lock()
	isAsking, goesOn := s.Edge.asking, s.Edge.asking && c.isUsed()
	s.Edge.overdue = goesOn
	c.mu.Unlock()
	switch {
	case goesOn:
		e.owners.WaitOn(s.Edge.owner)
	case isAsking:
		e.stats.givenUp.Inc()
		e.complaints.about(e.complaints.connectSubject(s.Namespace.Token), "closing transports of clients that wait to be admitted", errUndecided)
		c.session.Close(engine.ForcedServerClose)
	}
}

// endOverdue ends the wait of the sockets that have waited too long, when the session's last live one has gone. It
// never waits.
func (c *connection) endOverdue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.isUsed() {
		return
	}
	for _, s := range c.all() {
		if s.Edge.asking && s.Edge.overdue {
			c.edge.owners.WaitNoLonger(s.Edge.owner)
		}
	}
}
