package backend

import (
	"context"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

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
	if t := n.target(); t.err != nil {
		return nil, t.err
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
