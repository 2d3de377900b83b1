package backend

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// handle takes a message of the service's subscriptions, on the goroutines of nats.go. It never waits.
func (s *Service) handle(m *nats.Msg) {
	sub, ok := s.prefix.Parse(m.Subject)
	if !ok {
		return
	}
	ns, ok := s.namespace(sub.Namespace)
	if !ok {
		return // a pattern's wildcard hears every namespace
	}
	switch sub.Kind {
	case subjects.KindOn:
		s.handleOn(ns, m, &sub)
	case subjects.KindOwn:
		s.handleOwn(ns, m, &sub)
	case subjects.KindService:
		s.handleService(ns, m, &sub)
	}
}

// handleOn takes what an edge tells, or asks, all services.
func (s *Service) handleOn(ns *Namespace, m *nats.Msg, sub *subjects.Subject) {
	if sub.Event == subjects.Ready {
		return // an edge tries whether it may publish here
	}
	from, ok := s.sender(m, sub.Namespace)
	if !ok {
		s.bad(m, "its reply subject names no socket of the namespace")
		return
	}
	switch sub.Event {
	case "connect":
		s.handleConnect(ns, m, from)
	case "disconnect":
		if !ns.rules.owned {
			s.lanes.always(laneKey{ns.token, from.socket}, func() { s.disconnected(ns, m, from) })
		}
	default:
		s.handleEvent(ns, m, sub, from)
	}
}

// handleOwn takes what an edge sends to a group, or to the owner of a socket.
func (s *Service) handleOwn(ns *Namespace, m *nats.Msg, sub *subjects.Subject) {
	if sub.Event == msg.EventDisconnecting {
		s.leave.marker(sub.Namespace, m.Data)
		return
	}
	if sub.Event == "connect" && m.Reply == "" {
		s.owners.notice(m.Data)
		return
	}
	from, ok := s.sender(m, sub.Namespace)
	if !ok {
		s.bad(m, "its reply subject names no socket of the namespace")
		return
	}
	switch sub.Event {
	case "connect":
		s.lanes.always(laneKey{ns.token, from.socket}, func() { s.takeOver(ns, m, sub.Owner, from) })
	case "disconnect":
		s.lanes.always(laneKey{ns.token, from.socket}, func() { s.disconnected(ns, m, from) })
	default:
		s.handleEvent(ns, m, sub, from)
	}
}

// sender is the socket that a message comes from, as its reply subject says.
type sender struct {
	socket   string
	connect  bool // the reply subject is that of a connect request
	wantsAck bool // the reply subject is that of an ack
}

func (s *Service) sender(m *nats.Msg, namespace string) (sender, bool) {
	reply, ok := s.prefix.Parse(m.Reply)
	if !ok || reply.Socket == "" || reply.Namespace != namespace {
		return sender{}, false
	}
	isAck := reply.Kind == subjects.KindAck
	return sender{reply.Socket, isAck && reply.Ack == subjects.AckConnect, isAck && reply.Ack != subjects.AckConnect}, true
}

// bad counts a message that no edge would send.
func (s *Service) bad(m *nats.Msg, why string) {
	s.stats.badMessages.Add(1)
	s.log.Debug("dropped a message", "subject", m.Subject, "why", why)
}

// handleEvent puts an event of a client in its socket's lane.
func (s *Service) handleEvent(ns *Namespace, m *nats.Msg, sub *subjects.Subject, from sender) {
	event, err := subjects.Event(sub.Event)
	if err != nil || from.connect {
		s.bad(m, "it is not the event of a client")
		return
	}
	s.lanes.event(laneKey{ns.token, from.socket}, len(m.Data)+len(m.Subject)+len(m.Reply), func() {
		s.stats.events.Add(1)
		so, ok := s.socketOf(ns, m, sub, from)
		if !ok {
			return
		}
		ack := s.ackTo(m.Reply, from.wantsAck)
		args, err := parseArgs(m.Data, m.Header, 1)
		if err != nil {
			s.report(ns, event, from.socket, err)
			s.ackError(ack, "the event cannot be read")
			return
		}
		s.deliver(so, &Packet{Event: event, Args: args, WantsAck: from.wantsAck, ack: ack})
	})
}

// socketOf is the Socket for an event: the owner's one, or a new one.
func (s *Service) socketOf(ns *Namespace, m *nats.Msg, sub *subjects.Subject, from sender) (*Socket, bool) {
	if sub.Kind != subjects.KindOwn || sub.Owner == s.group {
		return &Socket{ns: ns, id: from.socket, user: m.Header.Get(msg.HeaderUser)}, true
	}
	so := s.owners.find(from.socket)
	if so == nil || so.own.instance != sub.Owner || sub.Owner != s.Instance() {
		s.bad(m, "this instance does not own the socket")
		s.sayNotOwner(sub.Namespace, sub.Owner, from.socket)
		return nil, false
	}
	if s.fenced() {
		s.sayNotOwner(sub.Namespace, sub.Owner, from.socket)
		return nil, false
	}
	return so, true
}

// deliver gives an event to the catch-all handlers, the middleware and the handlers, in the order of the reference.
func (s *Service) deliver(so *Socket, p *Packet) {
	ns := so.ns
	own := so.handlers()
	for _, any := range append(ns.rules.any[:len(ns.rules.any):len(ns.rules.any)], own.any...) {
		if err := guarded(func() error { any(so, p.Event, p.Args); return nil }); err != nil {
			s.report(ns, p.Event, so.id, err)
		}
	}
	for _, middleware := range append(ns.rules.packets[:len(ns.rules.packets):len(ns.rules.packets)], own.packets...) {
		if err := guarded(func() error { return middleware(so, p) }); err != nil {
			s.report(ns, p.Event, so.id, err)
			return
		}
	}
	handlers := ns.rules.events[p.Event]
	handlers = append(handlers[:len(handlers):len(handlers)], so.take(p.Event)...)
	if len(handlers)+len(ns.rules.any)+len(own.any) == 0 {
		s.stats.unhandled.Add(1)
	}
	s.callAll(handlers, so, p)
}

// callAll calls the handlers of an event. If one does not fit its arguments, and no other one answers, the client's ack says
// so: a client that waits for ever cannot tell a wrong argument from a service that is away.
func (s *Service) callAll(handlers []*handler, so *Socket, p *Packet) {
	var unfit *ArgumentError
	promised := false // a handler has the Ack, and may call it later
	for _, h := range handlers {
		// As late as can be: a process may be stopped anywhere, and many events may have come so far and wait for a lock.
		if so.own != nil && s.fenced() {
			s.sayNotOwner(so.ns.token, so.own.instance, so.id)
			return
		}
		var bad *ArgumentError
		err := h.call(so.Context(), so, p.Args, p.ack)
		if err != nil {
			s.report(so.ns, p.Event, so.id, err)
		}
		if errors.As(err, &bad) {
			unfit = bad
		} else if h.wantsAck {
			promised = true
		}
	}
	if unfit != nil && !promised {
		s.ackError(p.ack, fmt.Sprintf("argument %d does not fit", unfit.Argument))
	}
}

// ackError answers an event that no handler could be called for. The text is for clients, so it names no type of this program.
func (s *Service) ackError(ack Ack, text string) {
	if s.set.silent {
		return
	}
	if err := ack(map[string]string{"error": text}); err != nil && !errors.Is(err, Answered) {
		s.log.Debug("the error could not be sent as an ack", "error", err)
	}
}

// disconnected ends a socket: its client has gone, or another instance owns it now.
func (s *Service) disconnected(ns *Namespace, m *nats.Msg, from sender) {
	var notice msg.Ended
	if msg.ParseNotice(m.Data, &notice) != nil {
		s.bad(m, "its body is no disconnect notice")
		return
	}
	if ns.rules.owned {
		so := s.owners.find(from.socket)
		switch {
		case so == nil:
		case notice.Claim != 0 && notice.Claim < so.own.claim: // about an older claim
		case notice.Reason == msg.ReasonNotYours || notice.Reason == msg.ReasonOwnerChanged:
			s.release(so, notice.Reason)
		default:
			s.end(so, notice.Reason, notice.Rooms)
		}
		return
	}
	so := &Socket{ns: ns, id: from.socket, user: m.Header.Get(msg.HeaderUser), gone: true, left: notice.Rooms}
	s.runAll(ns.rules.disconnect, so, notice.Reason)
}

// runAll calls disconnect or handover handlers.
func (s *Service) runAll(list []func(*Socket, string), so *Socket, reason string) {
	for _, handler := range list {
		if err := guarded(func() error { handler(so, reason); return nil }); err != nil {
			s.report(so.ns, "disconnect", so.id, err)
		}
	}
}
