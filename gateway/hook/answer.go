package hook

import (
	jsonv1 "encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"partyline/backend"
	"partyline/gateway/strict"
	"partyline/subjects"
	"partyline/wire/msg"
)

// answer is what an endpoint answered: a status of 2xx or 4xx.
type answer struct {
	status int
	kind   string // Content-Type
	body   []byte

	// What check reads in the answer to a connect.
	refusal *backend.Refusal // nil: it admits
	granted msg.Grant
}

// check returns what is wrong with the answer.
func (a *answer) check(isConnect bool) *failure {
	switch {
	case a.status >= 400 && !isConnect:
		return &failure{result: refused, err: fmt.Errorf("the endpoint answers %d", a.status)}
	case a.status >= 400:
		return a.refuse()
	case isConnect && (a.status != http.StatusOK || len(a.body) == 0):
		return &failure{result: badAnswer, err: fmt.Errorf("a connect was answered with %d and %d bytes; 200 and {} admit", a.status, len(a.body))}
	case len(a.body) == 0:
		return nil
	case !a.isJSON():
		return &failure{result: badAnswer, err: fmt.Errorf("the answer has Content-Type %.100q, not application/json", a.kind)}
	}
	if err := a.decode(&map[string]jsontext.Value{}); err != nil {
		return &failure{result: badAnswer, err: err}
	}
	if isConnect {
		var err error
		if a.granted, err = msg.ParseGrant(a.body); err != nil {
			return &failure{result: badAnswer, err: fmt.Errorf("the answer is no grant: %w", err)}
		}
	}
	return nil
}

// isJSON reports whether the answer says that it is JSON.
func (a *answer) isJSON() bool {
	kind, _, err := mime.ParseMediaType(a.kind)
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// decode reads the answer: a JSON object in UTF-8, with no member twice, at any depth. Half a surrogate pair may be in it, as
// in a text that was cut off: clients send them, and endpoints send them back.
func (a *answer) decode(into any, more ...json.Options) error {
	if err := msg.CheckObject(a.body); err != nil {
		return fmt.Errorf("the answer is no JSON object: %w", err)
	}
	if err := json.Unmarshal(a.body, into, append(more, jsontext.AllowInvalidUTF8(true))...); err != nil {
		return fmt.Errorf("the answer: %w", err)
	}
	return nil
}

// refuse reads a refusal: {"message":…,"data":…}. Without a message, 401 and 403 are one, too. Any other 4xx is no
// decision: a client that is refused never tries again, and a proxy or a wrong path answers so, too.
func (a *answer) refuse() *failure {
	var body struct {
		Message string            `json:"message"`
		Data    jsonv1.RawMessage `json:"data"`
	}
	hasMessage := a.isJSON() && a.decode(&body) == nil && body.Message != ""
	if !hasMessage && a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
		return &failure{result: refused, err: fmt.Errorf("the endpoint answers %d without a message, which refuses nothing", a.status)}
	}
	a.refusal = &backend.Refusal{Message: body.Message}
	if len(body.Data) > 0 && hasMessage {
		a.refusal.Data = body.Data
	}
	return nil
}

// grant admits a socket.
func (a *answer) grant(so *backend.Socket) error {
	g := a.granted
	given := backend.Grant{User: g.User, Rooms: g.Rooms, Join: g.Join, Leave: g.Leave, Emit: g.Emit}
	if g.Expires != 0 {
		given.Expires = time.Unix(g.Expires, 0)
	}
	if err := so.SetGrant(so.Context(), given); err != nil || g.Data == nil {
		return err
	}
	return so.SetData(so.Context(), g.Data)
}

// reaction is the answer to an event.
type reaction struct {
	Ack  strict.List[jsonv1.RawMessage] `json:"ack"`
	Emit strict.List[emit]              `json:"emit"` // more would flood NATS and all clients
}

// emit is an event for sockets of the namespace.
type emit struct {
	To     map[string]jsontext.Value      `json:"to"`
	Except strict.List[string]            `json:"except"`
	Event  strict.List[jsonv1.RawMessage] `json:"event"`
}

// carryOut sends the ack and the emits of an answer. p is nil for a disconnect. Nothing is sent if a part of the answer
// is wrong.
func (a *answer) carryOut(so *backend.Socket, p *backend.Packet, userRoom string) error {
	if len(a.body) == 0 {
		return nil
	}
	var r reaction
	if err := a.decode(&r, json.RejectUnknownMembers(true)); err != nil {
		return err
	}
	if err := msg.CheckPlaceholders(a.body, 0); err != nil {
		return errors.New("an answer has no binary arguments, so no placeholders of them")
	}
	sends := make([]func() error, len(r.Emit))
	for i, e := range r.Emit {
		var err error
		if sends[i], err = e.prepare(so.Namespace(), userRoom); err != nil {
			return fmt.Errorf("emit[%d]: %w", i, err)
		}
	}
	if r.Ack != nil && p != nil {
		if err := p.Ack(anys(r.Ack)...); err != nil { // it may be too large
			return err
		}
	}
	errs := make([]error, len(sends))
	for i, send := range sends {
		errs[i] = send()
	}
	return errors.Join(errs...)
}

// prepare returns what sends the event, if it can be sent.
func (e *emit) prepare(ns *backend.Namespace, userRoom string) (send func() error, err error) {
	var name string
	if len(e.Event) == 0 || json.Unmarshal(e.Event[0], &name) != nil {
		return nil, errors.New(`event must be an array that begins with a name: ["message","hi"]`)
	}
	t, n, isOne := ns.Target, len(e.Except), false
	for member, value := range e.To {
		var names strict.List[string]
		switch member {
		case "all":
			isOne = string(value) == "true"
		case "rooms":
			isOne = json.Unmarshal(value, &names) == nil && len(names) > 0
		case "room", "socket", "user":
			var one string
			isOne = value.Kind() == '"' && json.Unmarshal(value, &one) == nil && (member != "socket" || subjects.IsSocketID(one))
			if member == "user" {
				isOne = isOne && userRoom != "" && one != ""
				one = userRoom + one
			}
			names = strict.List[string]{one}
		}
		t, n = t.To(names...), n+len(names)
	}
	switch {
	case len(e.To) != 1 || !isOne:
		return nil, errors.New(`to must have one of all, room, rooms, socket, user: {"room":"a"}`)
	case n > strict.MostElements:
		return nil, fmt.Errorf("to and except have %d names; the limit is %d", n, strict.MostElements)
	}
	return t.Except(e.Except...).Prepare(name, anys(e.Event[1:])...)
}

func anys(values []jsonv1.RawMessage) []any {
	list := make([]any, len(values))
	for i, value := range values {
		list[i] = value
	}
	return list
}
