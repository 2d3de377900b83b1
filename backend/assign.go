package backend

import (
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/wire/msg"
)

// pendingAfter is how long a decision may take before the edge gets Sio-Pending. An edge waits for 2 seconds.
const pendingAfter = time.Second

// assign processes an edge's request that this instance own a socket. It must not block.
func (a *admissions) assign(ns *Namespace, m *nats.Msg, from sender) {
	if !ns.rules.owned {
		a.answer(m, nats.Header{msg.HeaderError: {msg.ErrorNotMine}})
		return
	}
	number := assignment(m)
	c, err := parseConnect(m.Data)
	if err != nil || !from.connect || number == 0 {
		a.bad(m, "it is no connect request with the number of an assignment")
		return
	}
	a.edges.requested(c.holder(from.socket), time.Now()) // the edge lives: its sockets must not end here before its hello comes
	if c.Handover == nil || c.isRecovered() && c.Decides {
		a.handleConnect(ns, m, from)
		return
	}
	done := a.sayPending(m)
	a.lanes.always(laneKey{ns.token, from.socket}, func() {
		a.takeOver(ns, m, c, from.socket, number)
		done()
	})
}

// sayPending answers with Sio-Pending after pendingAfter. The caller calls done when it has decided.
func (a *admissions) sayPending(m *nats.Msg) (done func()) {
	timer := time.AfterFunc(pendingAfter, func() { a.answer(m, nats.Header{msg.HeaderPending: {a.presence.name()}}) })
	return func() { timer.Stop() }
}

// takeOver makes this instance the owner of a socket that was admitted before. It is called in the socket's lane.
func (a *admissions) takeOver(ns *Namespace, m *nats.Msg, c *connectBody, id string, number uint64) {
	if so := a.owners.find(id); so != nil && so.own.accept(number) > number {
		return // an older request, which is late
	}
	a.replace(c, id)
	a.presence.assigning.RLock()
	so := a.owners.find(id)
	if !a.mayOwn() {
		a.presence.assigning.RUnlock()
		a.answer(m, nats.Header{msg.HeaderError: {msg.ErrorAgain}})
		return
	}
	isNew := so == nil
	if isNew {
		so = a.newcomer(ns, c, id)
		so.own.accept(number)
		a.owners.add(so, a.presence.name(), *c.Handover)
	}
	err := a.reply(m.Reply, a.answerHeader(m, nil), []byte("[]"))
	a.presence.assigning.RUnlock()
	switch {
	case err != nil && isNew:
		a.owners.remove(so)
		so.own.end()
		a.report(ns, "connect", so.id, err)
	case isNew:
		a.calls.connected(so)
	}
}

// assignment is the number of an assignment in a connect request; 0 for none.
func assignment(m *nats.Msg) uint64 { return msg.Assignment(m.Header.Get(msg.HeaderAssignment)) }

// answerHeader is the header of an answer to a connect request. If the request is an assignment, it has its number
// and this instance's name.
func (a *admissions) answerHeader(m *nats.Msg, header nats.Header) nats.Header {
	if number := m.Header.Get(msg.HeaderAssignment); number != "" {
		header = maps.Clone(header)
		if header == nil {
			header = nats.Header{}
		}
		header[msg.HeaderAssignment], header[msg.HeaderFrom] = []string{number}, []string{a.presence.name()}
	}
	return header
}

// sayNotOwner notifies the edge of a socket that an event reached an instance that does not own the socket. The event
// is lost. The edge counts it, and assigns the socket again. number is that of the latest assignment; 0 if it is not
// known.
func (s *Service) sayNotOwner(namespace, instance, socket string, number uint64) {
	m := &nats.Msg{
		Subject: string(s.prefix.AppendConnectReply(nil, namespace, socket)),
		Header:  nats.Header{msg.HeaderError: {msg.ErrorNotOwner}, msg.HeaderFrom: {instance}},
	}
	if number != 0 {
		m.Header[msg.HeaderAssignment] = []string{strconv.FormatUint(number, 10)}
	}
	if err := s.publish(m); err != nil {
		s.log.Debug("the report of an event at the wrong instance could not be published", "socket", socket, "error", err)
	}
}
