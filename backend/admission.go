package backend

import (
	"encoding/json"
	"errors"
	"fmt"
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
	// again asks an edge to ask somebody else, because this instance is about to leave.
	again = "again"
)

// connectBody is the second element of the body of connect.
type connectBody struct {
	Handshake
	Takeover *msg.State `json:"takeover"`
}

func parseConnect(body []byte) (*connectBody, error) {
	var elements []json.RawMessage
	var c connectBody
	if err := json.Unmarshal(body, &elements); err != nil {
		return nil, err
	}
	if len(elements) != 2 {
		return nil, fmt.Errorf("it has %d elements", len(elements))
	}
	return &c, json.Unmarshal(elements[1], &c)
}

// handleConnect puts a newcomer in its lane.
func (s *Service) handleConnect(ns *Namespace, m *nats.Msg, from sender) {
	if !ns.rules.admits() {
		return
	}
	s.lanes.event(laneKey{ns.token, from.socket}, len(m.Data)+len(m.Subject)+len(m.Reply), func() { s.admit(ns, m, from) })
}

// admit asks the middleware about a newcomer and answers the edge.
func (s *Service) admit(ns *Namespace, m *nats.Msg, from sender) {
	if ns.rules.owned && !from.connect {
		s.log.Error("a namespace is open at the edge, so that nobody can own its sockets: configure connect: service", "namespace", ns.name)
		return
	}
	if ns.rules.owned && s.mayNotOwn() {
		s.answerAgain(m)
		return
	}
	if !s.recent.first(from.socket, time.Now()) {
		return // asked again, while the answer was under way
	}
	c, err := parseConnect(m.Data)
	if err != nil {
		s.bad(m, "its body is no connect: "+err.Error())
		return
	}
	so := &Socket{ns: ns, id: from.socket, handshake: &c.Handshake, admission: &admission{}}
	if ns.rules.owned {
		so.own = s.newOwnership()
	}
	for _, middleware := range ns.rules.admit {
		if err := guarded(func() error { return middleware(so) }); err != nil {
			s.refuse(so, m, from, err)
			so.endOwnership()
			return
		}
	}
	if !s.settle(so, m, from) {
		so.endOwnership()
		return
	}
	s.connected(so)
}

// settle makes the socket one that is admitted, and tells the edge.
func (s *Service) settle(so *Socket, m *nats.Msg, from sender) bool {
	so.mu.Lock()
	a := so.admission
	so.admission, so.user = nil, a.user
	so.mu.Unlock()
	if !from.connect {
		return s.settleOpen(so, a)
	}
	body, _ := json.Marshal([]any{admissionBody{Rooms: a.rooms, User: a.user, Data: a.data}}) // strings and valid JSON
	var err error
	switch {
	case so.ns.rules.owned:
		var free bool
		if free, err = s.claim(so, m.Reply, body, a); !free {
			s.recent.drop(so.id)
			s.answerAgain(m)
			return false
		}
	case s.byToken[so.ns.token] == nil: // a pattern's
		err = s.replyToAdmission(so, m.Reply, nats.Header{msg.HeaderGroup: {s.group}}, body, a.rooms)
	default:
		err = s.replyToAdmission(so, m.Reply, nil, body, a.rooms)
	}
	if err != nil {
		s.recent.drop(so.id)
		s.report(so.ns, "connect", so.id, err)
	}
	return err == nil
}

// claim admits a socket as this instance's own. free is false if this instance must not own sockets now.
func (s *Service) claim(so *Socket, to string, body []byte, a *admission) (free bool, err error) {
	// Whoever leaves, or changes its name, waits until this claim is on its way, and comes behind it.
	s.claiming.RLock()
	defer s.claiming.RUnlock()
	if s.mayNotOwn() {
		return false, nil
	}
	s.owners.add(so, s.Instance(), msg.State{Rooms: a.rooms, User: a.user, Data: a.data})
	so.own.claim = 1
	if err = s.replyToAdmission(so, to, s.claimHeader(so, 1), body, a.rooms); err != nil {
		s.owners.remove(so)
	}
	return true, err
}

// admissionBody is the object with which a socket is admitted.
type admissionBody struct {
	Rooms []string        `json:"rooms,omitempty"`
	User  string          `json:"user,omitempty"`
	Data  json.RawMessage `json:"data,omitempty"`
}

// settleOpen does for a socket of an open namespace, which is connected already, what an answer would have done.
func (s *Service) settleOpen(so *Socket, a *admission) bool {
	if a.userSet {
		s.log.Error("SetUser has no effect in a namespace that is open at the edge: configure connect: service", "namespace", so.ns.name)
	}
	var err error
	if len(a.rooms) > 0 {
		err = so.Join(s.ctx, a.rooms...)
	}
	if a.data != nil && err == nil {
		err = so.SetData(s.ctx, a.data)
	}
	if err != nil {
		s.report(so.ns, "connect", so.id, err)
	}
	return true
}

// refuse keeps a socket out.
func (s *Service) refuse(so *Socket, m *nats.Msg, from sender, why error) {
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
	if !from.connect {
		subject := s.prefix.AppendToSocket(nil, so.ns.token, subjects.VerbDisconnect, so.id)
		m = &nats.Msg{Subject: string(subject), Data: []byte("[]")}
	} else {
		m = &nats.Msg{Subject: m.Reply, Data: data, Header: nats.Header{msg.HeaderError: {message}}}
	}
	if err := s.publish(m); err != nil {
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

// connected runs the connection handlers.
func (s *Service) connected(so *Socket) {
	for _, handler := range so.ns.rules.connection {
		if err := guarded(func() error { handler(so); return nil }); err != nil {
			s.report(so.ns, "connect", so.id, err)
		}
	}
}

// answerAgain asks the edge to ask somebody else.
func (s *Service) answerAgain(m *nats.Msg) {
	if err := s.reply(m.Reply, nats.Header{msg.HeaderError: {again}}, nil); err != nil {
		s.log.Warn("an edge could not be told to ask again", "error", err)
	}
}

// ackTo is the Ack of an event.
func (s *Service) ackTo(reply string, wanted bool) Ack {
	return newAck(func(args []any) error {
		if !wanted {
			return nil
		}
		body, header, err := ackBody(args)
		if err != nil {
			return err
		}
		return s.reply(reply, header, body)
	})
}
