package edge

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"
	"unsafe"

	"partyline/bus"
	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// Listen takes what comes from NATS until ctx ends. It is called once. Everything that comes down is done in bus.Run's turn,
// one thing at a time, whatever goroutine that is on. others may take a message away before the edge sees it; nil: nobody does.
func (e *Edge) Listen(ctx context.Context, others func(*bus.Message) bool) {
	e.bus.Run(ctx, func(m *bus.Message) bool { return others != nil && others(m) || e.handle(m) }, e.flush)
	e.round.Close()
	e.queries.Close()
}

// handle takes one message from NATS, in the turn of Listen. It never waits. What it sends to clients may stay with it until
// flush. It returns false for a copy, which is ignored.
func (e *Edge) handle(m *bus.Message) bool {
	if e.run.goesOn(m) {
		e.handleEvent(m, &e.run.subject)
		return true
	}
	sub, ok := e.prefix.Parse(m.Subject)
	if !ok {
		e.drop(m, dropBadSubject, nil)
		return true
	}
	isEvent := sub.Kind == subjects.KindCommand && !m.NoResponders() &&
		(sub.Verb == subjects.VerbEmit || sub.Verb == subjects.VerbBroadcast && sub.Target != subjects.TargetSocket)
	e.endRun()
	if isEvent {
		e.handleEvent(m, &sub)
		return true
	}
	switch {
	case sub.Kind == subjects.KindAck:
		e.handleAck(m, &sub)
	case sub.Kind == subjects.KindPong:
		e.handlePong(m, &sub)
	case sub.Kind == subjects.KindInstance:
		e.handleInstance(m, &sub)
	case m.NoResponders():
		e.noResponders(&sub)
	case sub.Kind == subjects.KindCommand:
		if e.isCopy(m, &sub) {
			return false
		}
		e.handleCommand(m, &sub)
	}
	return true
}

// flush sends what handle has left, in the same turn.
func (e *Edge) flush() {
	e.endRun()
	e.round.Flush(e.bus.Lagging)
}

// noResponders is told by NATS that nobody subscribes to what was published for a socket, which is its reply subject.
func (e *Edge) noResponders(sub *subjects.Subject) {
	e.stats.noResponders.Inc()
	e.mu.Lock()
	s := e.sockets[sub.Socket]
	e.mu.Unlock()
	e.doubt(s)
}

// handleCommand acts on a verb with a target that is no event's.
func (e *Edge) handleCommand(m *bus.Message, sub *subjects.Subject) {
	switch {
	case sub.Verb == subjects.VerbJoin, sub.Verb == subjects.VerbLeave, sub.Verb == subjects.VerbDisconnect:
		e.handleChange(m, sub)
	case sub.Verb == subjects.VerbAsk:
		e.handleAsk(m, sub)
	case sub.Verb == subjects.VerbFetch, sub.Verb == subjects.VerbData, sub.Verb == subjects.VerbRooms:
		e.handleQuery(m, sub)
	case sub.Target == subjects.TargetSocket && (sub.Verb == subjects.VerbPause || sub.Verb == subjects.VerbResume):
		e.handlePause(m, sub)
	default:
		e.drop(m, dropUnknownVerb, nil)
	}
}

// options reads the headers that say how an event is sent.
func options(h bus.Header) engine.Options {
	if h == nil {
		return engine.Options{}
	}
	return engine.Options{
		Volatile:      h.Has(msg.HeaderVolatile) && isYes(h.Get(msg.HeaderVolatile)),
		NoCompression: h.Has(msg.HeaderCompress) && !isYes(h.Get(msg.HeaderCompress)),
	}
}

func isYes(value string) bool { return value != "false" && value != "0" }

// content takes the body of an event or of an ack apart and checks what would break a client's decoder.
func (e *Edge) content(m *bus.Message, event bool) (text []byte, attachments [][]byte, err error) {
	text = m.Data
	if m.Header.Has(msg.HeaderAttachments) {
		// The frame keeps the list of attachments, so it is made anew.
		if text, attachments, err = msg.SplitAttachments(nil, m.Header.Get(msg.HeaderAttachments), m.Data); err != nil {
			return nil, nil, err
		}
	}
	// Clients would read white space in front of the array as an ack id (socket.io-parser: Number(" ") is 0).
	text = bytes.TrimLeft(text, " \t\r\n")
	if event {
		e.name, err = msg.EventName(e.name[:0], text)
	} else {
		err = msg.CheckArray(text)
	}
	if err == nil && len(attachments) > 0 {
		err = msg.CheckPlaceholders(text, len(attachments))
	}
	return text, attachments, err
}

// receivers is who a message is for. No list: that is nobody here; why is the reason to drop the message then, or
// notDropped.
func (e *Edge) receivers(m *bus.Message, sub *subjects.Subject) (ns *namespace, list []*socket, why int) {
	if sub.Target == subjects.TargetSocket {
		e.mu.Lock()
		s := e.sockets[sub.Socket]
		e.mu.Unlock()
		switch {
		case s == nil:
			return nil, nil, dropUnknownSocket
		case s.ns.token != sub.Namespace:
			// Who may write to one namespace must not reach another through a socket's id.
			return nil, nil, dropWrongNamespace
		}
		return s.ns, []*socket{s}, notDropped
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if ns = e.namespaces[sub.Namespace]; ns == nil {
		return nil, nil, notDropped
	}
	return ns, e.choose(ns, m, sub), notDropped
}

// choose is the sockets of a target all or room, after the headers that widen or narrow it. The list must not be
// changed. Needs mu.
func (e *Edge) choose(ns *namespace, m *bus.Message, sub *subjects.Subject) []*socket {
	var except, rooms []string
	if m.Header != nil {
		except = m.Header[msg.HeaderExcept]
		if sub.Target == subjects.TargetAll {
			rooms = m.Header[msg.HeaderRooms]
		}
	}
	all := &ns.members
	if sub.Target == subjects.TargetRoom {
		r := ns.rooms[sub.Room]
		if r == nil {
			return nil
		}
		all = &r.members
	}
	if except == nil && rooms == nil {
		return all.snapshot()
	}
	e.generation += 2
	excluded, included := e.generation-1, e.generation
	for _, name := range except {
		for _, s := range ns.named(e, name) {
			s.mark = excluded
		}
	}
	var list []*socket
	take := func(candidates []*socket) {
		for _, s := range candidates {
			if s.mark != excluded && s.mark != included {
				s.mark = included
				list = append(list, s)
			}
		}
	}
	if rooms == nil {
		take(all.list)
	}
	for _, name := range rooms {
		take(ns.named(e, name))
	}
	return list
}

// named is the sockets that a name in a header stands for: a room's members, or the one socket of an id. Needs mu.
func (ns *namespace) named(e *Edge, name string) []*socket {
	if subjects.IsSocketID(name) {
		if s := e.sockets[name]; s != nil && s.ns == ns && s.index >= 0 {
			return []*socket{s}
		}
		return nil
	}
	if r := ns.rooms[name]; r != nil {
		return r.members.list
	}
	return nil
}

// sender is the socket that a reply subject names: its address, or the address of one of its acks. nil for none.
func (e *Edge) sender(reply, namespace string) *socket {
	if reply == "" || !e.prefix.Covers(reply) {
		return nil
	}
	sub, ok := e.prefix.Parse(reply)
	if !ok || sub.Socket == "" || sub.Namespace != namespace {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.sockets[sub.Socket]; s != nil && s.ns.token == namespace {
		return s
	}
	return nil
}

// handleAck takes what a service answered: to an event, which becomes the client's ack, or to a connect request.
func (e *Edge) handleAck(m *bus.Message, sub *subjects.Subject) {
	e.mu.Lock()
	s := e.sockets[sub.Socket]
	e.mu.Unlock()
	isConnect := sub.Ack == subjects.AckConnect
	switch {
	case isConnect && e.handleNotOwner(m, sub, s):
	case isConnect && e.handleTakeover(m, sub):
	case m.NoResponders() && (!isConnect || s == nil): // who asked may have gone meanwhile, in good order
		e.noResponders(sub)
	case s == nil && isConnect:
		e.drop(m, dropLateAnswer, nil)
		e.refuseClaim(m, sub, nil)
		e.notAdmitted(m, errGone)
	case s == nil:
		e.drop(m, dropUnknownSocket, nil)
	case s.ns.token != sub.Namespace:
		e.drop(m, dropWrongNamespace, nil)
		if isConnect {
			e.notAdmitted(m, errGone)
		}
	case isConnect:
		e.handleAdmission(m, sub, s)
	default:
		e.deliverAck(m, sub, s)
	}
}

func (e *Edge) deliverAck(m *bus.Message, sub *subjects.Subject, s *socket) {
	text, attachments, err := e.content(m, false)
	if err != nil {
		e.drop(m, dropBadBody, err)
		return
	}
	n, _ := subjects.AckNumber(sub.Ack) // checked by Parse
	p := parcel{
		kind: sio.Ack, namespace: s.ns.name, hasID: true, id: n, body: text, attachments: attachments,
		options: options(m.Header), from: m, sent: &e.stats.acksOut,
	}
	if frame := e.encode(&p, s.conn.dialect); frame != nil {
		e.deliver(s, frame)
	}
}

// handleAdmission takes the answer to a connect request.
func (e *Edge) handleAdmission(m *bus.Message, sub *subjects.Subject, s *socket) {
	e.mu.Lock()
	r, repeated := s.request, s.repeated
	e.mu.Unlock()
	decider := m.Header.Get(msg.HeaderPending)
	isAgain := m.Header.Get(msg.HeaderError) == msg.ErrorAgain
	switch {
	case r == nil && (m.NoResponders() || decider != "" || isAgain && repeated): // no decision, and none is needed
	case r == nil:
		e.dropLate(m, repeated)
		e.refuseClaim(m, sub, s)
		e.notAdmitted(m, errAdmitted)
	case m.NoResponders():
		e.unanswered(s, r, repeatNoService)
	case decider != "":
		if subjects.IsToken(decider) {
			e.requests.decides(r, strings.Clone(decider), time.Now())
		} else {
			e.drop(m, dropBadBody, errDecider)
		}
	case isAgain:
		e.unanswered(s, r, repeatAgain)
	case m.Header.Has(msg.HeaderError):
		data, err := msg.RefusalData(m.Data)
		if err != nil {
			e.complaints.about(m.Subject, "a service refused a socket with a body that is no array of one", err)
		}
		e.reject(s, m.Header.Get(msg.HeaderError), data, refusedByService)
	default:
		a, err := msg.ParseAdmission(m.Data)
		if errors.Is(err, msg.ErrNotArray) {
			e.drop(m, dropBadBody, err) // the PubAck of a stream that records events: nobody's decision
			return
		}
		if err != nil {
			e.complaints.about(m.Subject, "a service answered a connect with something else than an admission", err)
			e.reject(s, refusalWords[refusedAnswer], nil, refusedAnswer)
			e.notAdmitted(m, errAnswer)
			return
		}
		group, owner, ok := claimOf(m.Header)
		if !ok {
			e.complaints.about(m.Subject, "a service claimed a socket with headers that are no claim", errClaim)
			e.reject(s, refusalWords[refusedAnswer], nil, refusedAnswer)
			e.notAdmitted(m, errAnswer)
			return
		}
		e.admit(s, a, group, owner)
		e.confirmAdmission(m, s)
	}
}

// errDecider is logged of an answer that says that an instance is deciding, and does not name it as it must.
var errDecider = errors.New(msg.HeaderPending + " must name an instance: one token")

// dropLate counts an answer to a connect request that is over. If services were asked more than once that is in good order:
// several may have answered.
func (e *Edge) dropLate(m *bus.Message, repeated bool) {
	if !repeated {
		e.drop(m, dropLateAnswer, nil)
		return
	}
	e.stats.dropped[dropLateAnswer].Inc()
	e.stats.discardedBytes.Add(len(m.Data))
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

func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
