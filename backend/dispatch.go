package backend

import (
	"context"
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
		s.calls.deliver(so, &Packet{Event: event, Args: args, WantsAck: from.wantsAck, ack: ack, m: m})
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

// ServerSideEmit sends an event to all other services that handle the namespace, in every process: those with
// OnServerSide. Clients and edges never see it. It does not wait; the errors are those of Target.Emit.
func (n *Namespace) ServerSideEmit(event string, args ...any) error {
	m, err := n.serviceEvent(event, args)
	if err != nil {
		return err
	}
	return n.svc.publish(m)
}

// ServiceResponses are the acks of other services to one event.
type ServiceResponses struct {
	Answers []ServiceResponse // in the order in which they came
	Failed  map[string]error  // the instances whose handler failed, by name
	Silent  []string          // the instances of this group that live, handle the namespace, and did not answer
}

// ServiceResponse is the ack of one instance.
type ServiceResponse struct {
	Instance string
	Args     Args
}

// ServerSideEmitWithAck sends an event as ServerSideEmit does, and waits for the acks of all other instances of this
// service's group that handle the namespace; those of other groups are taken while it waits. It waits until the
// context ends, and not longer than Limits.Wait. If an instance fails or is silent, the error is NoAnswer, or the
// context's; the responses are valid with every error. The service must have been started.
func (n *Namespace) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) (ServiceResponses, error) {
	r := ServiceResponses{Failed: make(map[string]error)}
	s := n.svc
	m, err := n.serviceEvent(event, args)
	if err != nil {
		return r, err
	}
	bound, done, err := s.questions.bounded(ctx, s.wait)
	if err != nil {
		return r, err
	}
	defer done()
	r.Silent, err = s.questions.gather(bound, m, &gathering{
		members: func() ([]string, <-chan struct{}) { return s.peers.handling(n.name), nil },
		lives:   s.peers.lives,
		take: func(m *nats.Msg) (string, error) {
			from := m.Header.Get(msg.HeaderFrom)
			if args, err := ackArgs(m); err != nil {
				r.Failed[from] = err
			} else {
				r.Answers = append(r.Answers, ServiceResponse{from, args})
			}
			return from, nil
		},
	})
	switch {
	case err != nil:
		return r, err
	case ctx.Err() != nil:
		return r, ctx.Err()
	case len(r.Silent)+len(r.Failed) > 0:
		return r, failure(NoAnswer, "%d instances answered, %d failed, %d are silent", len(r.Answers), len(r.Failed), len(r.Silent))
	}
	return r, nil
}

// serviceEvent makes the message of an event for services.
func (n *Namespace) serviceEvent(event string, args []any) (*nats.Msg, error) {
	if n.err != nil {
		return nil, n.err
	}
	body, header, err := eventBody(event, args)
	if err != nil {
		return nil, err
	}
	tail, _ := subjects.AppendEvent(nil, event) // checked by eventBody
	m := &nats.Msg{Subject: string(n.svc.prefix.AppendService(nil, n.token, string(tail))), Data: body, Header: header}
	setHeader(m, msg.HeaderFrom, n.svc.Instance())
	return m, nil
}

// handleService puts an event of another service into its lane.
func (s *Service) handleService(ns *Namespace, m *nats.Msg, sub *subjects.Subject) {
	from := m.Header.Get(msg.HeaderFrom)
	event, err := subjects.Event(sub.Event)
	switch {
	case err != nil:
		s.bad(m, "it is not the event of a service")
		return
	case from == s.Instance() || len(ns.rules.service[event]) == 0:
		return
	}
	s.lanes.event(laneKey{ns.token, from}, len(m.Data)+len(m.Subject), func() { s.calls.serverSide(s.ctx, ns, event, m) })
}

// serverSide calls the handlers of another service's event.
func (c *caller) serverSide(ctx context.Context, ns *Namespace, event string, m *nats.Msg) {
	failed := func(err error) {
		c.report(ns, event, "", err)
		if m.Reply == "" {
			return
		}
		// The other service is one of ours, and need not wait.
		header := nats.Header{msg.HeaderError: {headerText(err.Error())}, msg.HeaderFrom: {c.name()}}
		if err := c.reply(m.Reply, header, nil); err != nil {
			c.complaints.Warn("another service could not be answered", "", err)
		}
	}
	args, err := parseArgs(m.Data, m.Header, 1)
	if err != nil {
		failed(err)
		return
	}
	ack := c.ackTo(m.Reply, m.Reply != "", c.name)
	for _, h := range ns.rules.service[event] {
		if err := h.call(ctx, nil, args, ack); err != nil {
			failed(err)
		}
	}
}
