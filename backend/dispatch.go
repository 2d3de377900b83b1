package backend

import (
	"slices"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// handle processes a message of the service's subscriptions, on the goroutines of nats.go. It must not block.
func (s *Service) handle(m *nats.Msg) {
	sub, ok := s.prefix.Parse(m.Subject)
	if !ok {
		return
	}
	ns := s.namespaces.find(sub.Namespace)
	if ns == nil { // a pattern's wildcard receives what is for every namespace
		if sub.Kind == subjects.KindOwn && sub.Event == msg.EventConnect {
			s.admissions.answer(m, nats.Header{msg.HeaderError: {msg.ErrorNotMine}})
		}
		return
	}
	switch sub.Kind {
	case subjects.KindOn, subjects.KindOwn:
		s.handleSocket(ns, m, &sub)
	case subjects.KindService:
		s.handleService(ns, m, &sub)
	}
}

// handleSocket processes what an edge sends about a socket: to all services, to a group, or to the socket's owner.
func (s *Service) handleSocket(ns *Namespace, m *nats.Msg, sub *subjects.Subject) {
	isOwn := sub.Kind == subjects.KindOwn
	switch {
	case !isOwn && sub.Event == subjects.Ready:
		return // an edge tests whether it may publish here
	case isOwn && sub.Event == msg.EventDisconnecting:
		s.leave.marker(sub.Namespace, m.Data)
		return
	case isOwn && sub.Event == msg.EventConnect && m.Reply == "":
		s.owners.notice(m.Data)
		return
	}
	from, ok := senderOf(s.prefix, m, sub.Namespace)
	switch {
	case !ok:
		s.bad(m, "its reply subject names no socket of the namespace")
	case sub.Event == msg.EventConnect && isOwn:
		s.admissions.assign(ns, m, from)
	case sub.Event == msg.EventConnect:
		s.admissions.handleConnect(ns, m, from)
	case sub.Event != "disconnect":
		s.handleEvent(ns, m, sub, from)
	case isOwn || !ns.rules.owned:
		s.lanes.always(laneKey{ns.token, from.socket}, func() { s.disconnected(ns, m, from) })
	}
}

// sender is the socket in the reply subject of a message.
type sender struct {
	socket   string
	connect  bool // the reply subject is that of a connect request
	wantsAck bool // the reply subject is that of an ack
}

func senderOf(p subjects.Prefix, m *nats.Msg, namespace string) (sender, bool) {
	reply, ok := p.Parse(m.Reply)
	if !ok || reply.Socket == "" || reply.Namespace != namespace {
		return sender{}, false
	}
	isAck := reply.Kind == subjects.KindAck
	return sender{reply.Socket, isAck && reply.Ack == subjects.AckConnect, isAck && reply.Ack != subjects.AckConnect}, true
}

// handleEvent puts an event of a client into its socket's lane.
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
		ack := s.calls.ackTo(m.Reply, from.wantsAck, nil)
		args, err := parseArgs(m.Data, m.Header, 1)
		if err != nil {
			s.report(ns, event, from.socket, err)
			s.calls.ackError(ack, "the event cannot be read")
			return
		}
		s.calls.deliver(so, &Packet{Event: event, Args: args, WantsAck: from.wantsAck, ack: ack})
	})
}

// socketOf returns the Socket for an event: the owner's one, or a new one.
func (s *Service) socketOf(ns *Namespace, m *nats.Msg, sub *subjects.Subject, from sender) (*Socket, bool) {
	if sub.Kind != subjects.KindOwn || sub.Owner == s.group {
		return &Socket{ns: ns, id: from.socket, user: m.Header.Get(msg.HeaderUser)}, true
	}
	so := s.owners.find(from.socket)
	if so == nil || so.own.instance != sub.Owner || sub.Owner != s.Instance() {
		s.bad(m, "this instance does not own the socket")
		s.sayNotOwner(sub.Namespace, sub.Owner, from.socket, 0)
		return nil, false
	}
	return so, !s.disowned(so)
}

// disowned reports whether the edges may have given an owned socket to another instance. Then it tells the socket's
// edge.
func (s *Service) disowned(so *Socket) bool {
	if so.own == nil || !s.fence.isCutOff() {
		return false
	}
	s.sayNotOwner(so.ns.token, so.own.instance, so.id, so.own.accept(0))
	return true
}

// disconnected ends a socket whose client has gone, or which another instance owns now.
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
		case notice.Assignment != 0 && notice.Assignment < so.own.accept(0): // about an older assignment
		case notice.Reason == msg.ReasonOwnerChanged:
			s.release(so, notice.Reason)
		default:
			s.admissions.end(so, notice.Reason, notice.Rooms)
		}
		return
	}
	if notice.Reason == msg.ReasonOwnerChanged {
		return // about an assignment that this instance did not accept
	}
	so := &Socket{ns: ns, id: from.socket, user: m.Header.Get(msg.HeaderUser), gone: true, left: notice.Rooms}
	so.lost = slices.Contains(brokenReasons, notice.Reason)
	s.calls.runAll(ns.rules.disconnect, so, notice.Reason)
}
