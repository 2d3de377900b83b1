package backend

import (
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// notAdmitted is what a client hears when a middleware fails in another way than by a Refusal: the text of its error
	// may tell what is not for clients.
	notAdmitted = "not admitted"
)

// connectBody is the second element of the body of connect.
type connectBody struct {
	Handshake
	Handover *msg.State `json:"handover"`
}

func parseConnect(body []byte) (*connectBody, error) {
	var c connectBody
	return &c, msg.ParseNotice(body, &c)
}

// admit asks the middleware about a newcomer and answers the edge. It is called in the socket's lane.
func (s *Service) admit(ns *Namespace, m *nats.Msg, from sender, d *decision) {
	if ns.rules.owned && !from.connect {
		s.log.Error("a namespace is open at the edge, so that nobody can own its sockets: configure connect: service", "namespace", ns.name)
		return
	}
	if ns.rules.owned && s.mayNotOwn() {
		s.decisions.drop(d)
		s.answer(m, nats.Header{msg.HeaderError: {msg.ErrorAgain}})
		return
	}
	c, err := parseConnect(m.Data)
	if err != nil {
		s.decisions.drop(d)
		s.bad(m, "its body is no connect: "+err.Error())
		return
	}
	so := &Socket{ns: ns, id: from.socket, handshake: &c.Handshake, admission: &msg.State{}}
	if ns.rules.owned {
		so.own = s.newOwnership()
	}
	for _, middleware := range ns.rules.admit {
		if err := guarded(func() error { return middleware(so) }); err != nil {
			s.refuse(so, m, from, err, d)
			so.endOwnership()
			return
		}
	}
	s.settle(so, m, from, d)
}

// settle makes the socket one that is admitted, and tells the edge.
func (s *Service) settle(so *Socket, m *nats.Msg, from sender, d *decision) {
	so.mu.Lock()
	a := so.admission
	so.admission, so.user = nil, a.User
	so.mu.Unlock()
	if !from.connect {
		s.calls.settleOpen(s.ctx, so, a)
		s.calls.connected(so)
		return
	}
	body := msg.Admission{Rooms: a.Rooms, User: a.User, Data: a.Data}.Body()
	var header nats.Header
	if so.own != nil {
		so.own.notice(*a)
	} else if s.namespaces.byToken[so.ns.token] == nil { // a pattern's
		header = nats.Header{msg.HeaderGroup: {s.group}}
	}
	d.rooms = a.Rooms
	s.decisions.make(d, so, header, body, time.Now())
	s.tell(so.ns, m, d)
}

// own makes an admitted socket this instance's own, and tells the edge. isFree is false if this instance must not own sockets
// now.
func (s *Service) own(so *Socket, m *nats.Msg, d *decision) (isFree bool, err error) {
	// Whoever leaves, or changes its name, waits until this admission is on its way, and comes behind it.
	s.assigning.RLock()
	defer s.assigning.RUnlock()
	if s.mayNotOwn() {
		return false, nil
	}
	so.own.accept(assignment(m))
	s.owners.add(so, s.Instance(), so.own.state())
	if err = s.respond(so.ns, m, d); err != nil {
		s.owners.remove(so)
	}
	return true, err
}

// refuse keeps a socket out.
func (s *Service) refuse(so *Socket, m *nats.Msg, from sender, why error, d *decision) {
	message, data := notAdmitted, []byte("[]")
	var refusal *Refusal
	if errors.As(why, &refusal) {
		message = headerText(refusal.Message)
		if refusal.Data != nil {
			text, err := appendJSON([]byte{'['}, refusal.Data)
			if err != nil {
				s.report(so.ns, "connect", so.id, because(BadArguments, err, "the data of a refusal"))
				text = []byte{'['}
			}
			data = append(text, ']')
		}
	} else {
		s.report(so.ns, "connect", so.id, why)
	}
	if from.connect {
		s.decisions.make(d, nil, nats.Header{msg.HeaderError: {message}}, data, time.Now())
		s.tell(so.ns, m, d)
		return
	}
	subject := s.prefix.AppendToSocket(nil, so.ns.token, subjects.VerbDisconnect, so.id)
	if err := s.publish(&nats.Msg{Subject: string(subject), Data: []byte("[]")}); err != nil {
		s.report(so.ns, "connect", so.id, err)
	}
}

// headerText makes a text one that fits into a header.
func headerText(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, text))
	if text == "" {
		return notAdmitted
	}
	return text
}
