package backend

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// notAdmitted is what a client receives when a middleware fails in another way than by a Refusal: the text of its
// error may have what is not for clients.
const notAdmitted = "not admitted"

// admissions decide which sockets may connect, and answer the edges' requests: those of Connect and, for sockets that
// this instance is to own, those of Groups and owners (docs/subjects.md).
type admissions struct {
	*Service
	decisions decisions
}

// connectBody is the second element of the body of connect.
type connectBody struct {
	Handshake
	Handover  *msg.State      `json:"handover"`
	Edge      string          `json:"edge"`      // that holds the socket; "": the one in the socket's id
	Recovered json.RawMessage `json:"recovered"` // msg.Recovered, or with Handover true
	Decides   bool            `json:"decides"`   // with Handover and Recovered: the middleware decides again
}

func parseConnect(body []byte) (*connectBody, error) {
	var c connectBody
	return &c, msg.ParseNotice(body, &c)
}

// isRecovered reports whether the client of a socket that was connected before has come back.
func (c *connectBody) isRecovered() bool {
	return len(c.Recovered) > 0 && (c.Recovered[0] == '{' || string(c.Recovered) == "true")
}

// former is what the socket had before, as far as it was connected before.
func (c *connectBody) former() (had msg.State) {
	switch {
	case c.Handover != nil:
		return *c.Handover
	case c.isRecovered():
		_ = json.Unmarshal(c.Recovered, &had) // what is no such object is nothing
	}
	return had
}

// holder is the edge that holds a socket.
func (c *connectBody) holder(id string) string {
	began, _, _ := subjects.SplitSocketID(id)
	return cmp.Or(c.Edge, began)
}

// newcomer returns the socket of a connect request or notice. It has an ownership if this instance may own it.
func (a *admissions) newcomer(ns *Namespace, c *connectBody, id string) *Socket {
	so := &Socket{ns: ns, id: id, user: c.former().User, handshake: &c.Handshake, recovered: c.isRecovered()}
	if !ns.rules.owned {
		return so
	}
	so.own = a.owners.ownership(c.holder(id))
	// A socket of this instance that has come back to it was not taken over.
	if h := c.Handover; h != nil && h.From != "" && !(so.recovered && h.From == a.presence.name()) {
		so.own.takeover = &Takeover{From: h.From}
	}
	return so
}

// replace ends the socket of a former connection of the client, whose end has not been reported. It is called in the
// socket's lane.
func (a *admissions) replace(c *connectBody, id string) {
	if so := a.owners.find(id); so != nil && so.handshake.Issued != c.Issued {
		a.end(so, "transport close", so.own.state().Rooms)
	}
}

// admit asks the middleware about a newcomer and answers the edge. It is called in the socket's lane.
func (a *admissions) admit(ns *Namespace, m *nats.Msg, from sender, d *decision) {
	if ns.rules.owned && !a.mayOwn() {
		a.decisions.drop(d)
		a.answer(m, nats.Header{msg.HeaderError: {msg.ErrorAgain}})
		return
	}
	c, err := parseConnect(m.Data)
	if err != nil {
		a.decisions.drop(d)
		a.bad(m, "its body is no connect: "+err.Error())
		return
	}
	so := a.newcomer(ns, c, from.socket)
	so.user = cmp.Or(m.Header.Get(msg.HeaderUser), so.user)
	if so.recovered && !from.connect {
		a.calls.connected(so)
		return
	}
	a.replace(c, from.socket)
	had := c.former()
	had.User = so.user
	decided := had
	so.admission, so.granted = &decided, map[string]any{}
	isAdmitted := !from.connect || c.Handover != nil && c.Handover.From == "" && !c.Decides // by the edge itself
	for _, middleware := range ns.rules.admit {
		err := guarded(func() error { return middleware(so) })
		isMine := !errors.Is(err, NotMine)
		switch {
		case err == nil, isAdmitted && (!isMine || errors.Is(err, NotNow)):
			continue
		case isMine && !errors.Is(err, NotNow):
			a.refuse(so, m, from, err, d)
		default:
			a.undecided(m, d, isMine || so.own == nil)
		}
		so.own.end()
		return
	}
	a.settle(so, m, from, d, &had)
}

// undecided answers that this instance has not decided about a socket. isMine: it may later.
func (a *admissions) undecided(m *nats.Msg, d *decision, isMine bool) {
	m, _, _ = a.decisions.asked(d, m)
	a.decisions.drop(d)
	word := msg.ErrorAgain
	if !isMine {
		word = msg.ErrorNotMine
	}
	a.answer(m, nats.Header{msg.HeaderError: {word}})
}

// settle admits the socket, and answers the edge with what has changed since had.
func (a *admissions) settle(so *Socket, m *nats.Msg, from sender, d *decision, had *msg.State) {
	so.mu.Lock()
	state, granted := so.admission, so.granted
	so.admission, so.granted, so.user = nil, nil, state.User
	so.mu.Unlock()
	if !from.connect {
		a.calls.settleOpen(so, state, granted)
		a.calls.connected(so)
		return
	}
	body := admissionOf(state, had, granted)
	var header nats.Header
	if so.own != nil {
		so.own.notice(*state)
	} else if a.presence.namespaces.byToken[so.ns.token] == nil { // a pattern's
		header = nats.Header{msg.HeaderGroup: {a.presence.group}}
	}
	d.rooms = state.Rooms
	a.decisions.make(d, so, header, body, time.Now())
	a.tell(so.ns, m, from, d)
}

// refuse answers that a socket is not admitted. In an open namespace it disconnects the socket.
func (a *admissions) refuse(so *Socket, m *nats.Msg, from sender, why error, d *decision) {
	var refusal *Refusal
	if !errors.As(why, &refusal) {
		a.report(so.ns, "connect", so.id, why)
		refusal = &Refusal{}
	}
	var data []byte
	if refusal.Data != nil {
		var err error
		if data, err = appendJSON(nil, refusal.Data); err != nil {
			a.report(so.ns, "connect", so.id, because(BadArguments, err, "the data of a refusal"))
		}
	}
	if from.connect {
		header, body := refusalAnswer(cmp.Or(refusal.Message, notAdmitted), data)
		if refusal.Close {
			header[msg.HeaderClose] = []string{"true"}
		}
		a.decisions.make(d, nil, header, body, time.Now())
		a.tell(so.ns, m, from, d)
		return
	}
	subject, body := a.prefix.AppendToSocket(nil, so.ns.token, subjects.VerbDisconnect, so.id), "[]"
	if refusal.Close {
		body = `["close"]`
	}
	if err := a.publish(&nats.Msg{Subject: string(subject), Data: []byte(body)}); err != nil {
		a.report(so.ns, "connect", so.id, err)
	}
}

// refusalAnswer returns a refusal as the edge reads it. data is JSON, nil for none. A message that does not fit into
// the header, or that means something else there, is in the body.
func refusalAnswer(message string, data []byte) (header nats.Header, body []byte) {
	short := headerText(message)
	body = append([]byte{'['}, data...)
	if short != message || message == msg.ErrorAgain || message == msg.ErrorNotMine {
		if data == nil {
			body = append(body, "null"...)
		}
		body, short = msg.AppendString(append(body, ','), message), "refused: "+short
	}
	return nats.Header{msg.HeaderError: {short}}, append(body, ']')
}

// headerText returns a text that fits into a header.
func headerText(text string) string {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, text)
	return cmp.Or(strings.TrimSpace(plain), notAdmitted)
}

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
	if c.Handover == nil || c.Handover.From == "" || c.isRecovered() && c.Decides {
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
	header := nats.Header{msg.HeaderError: {msg.ErrorNotOwner}, msg.HeaderFrom: {instance}}
	if number != 0 {
		header[msg.HeaderAssignment] = []string{strconv.FormatUint(number, 10)}
	}
	if err := s.reply(string(s.prefix.AppendConnectReply(nil, namespace, socket)), header, nil); err != nil {
		s.log.Debug("the report of an event at the wrong instance could not be published", "socket", socket, "error", err)
	}
}
