package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"partyline/backend"
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
	case !a.isJSON():
		return &failure{result: badAnswer, err: fmt.Errorf("the answer has Content-Type %.100q, not application/json", a.kind)}
	case msg.CheckObject(a.body) != nil:
		return &failure{result: badAnswer, err: errors.New("the answer is no JSON object")}
	case isConnect:
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

// refuse reads a refusal: {"message":…,"data":…}. Without a message, 401 and 403 are one, too. Any other 4xx is no
// decision: a client that is refused never tries again, and a proxy or a wrong path answers so, too.
func (a *answer) refuse() *failure {
	var body struct {
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	hasMessage := a.isJSON() && json.Unmarshal(a.body, &body) == nil && body.Message != ""
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

// Bounds of an answer: what is above would flood NATS and all clients, or fit no message, behind an ack that is sent.
const (
	mostEmits = 1000
	mostNames = 1000 // of one emit
)

// reaction is the answer to an event.
type reaction struct {
	Ack  json.RawMessage `json:"ack"`
	Emit []emit          `json:"emit"`
}

// emit is an event for sockets of the namespace.
type emit struct {
	To struct {
		All    bool     `json:"all"`
		Room   string   `json:"room"`
		Rooms  []string `json:"rooms"`
		Socket string   `json:"socket"`
		User   string   `json:"user"`
	} `json:"to"`
	Except []string          `json:"except"`
	Event  []json.RawMessage `json:"event"`
}

// carryOut sends the ack and the emits of an answer. p is nil for a disconnect. Nothing is sent if a part of the answer
// is wrong.
func (a *answer) carryOut(so *backend.Socket, p *backend.Packet, userRoom string) error {
	if len(a.body) == 0 {
		return nil
	}
	var r reaction
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil && err != io.EOF {
		return &failure{result: badAnswer, err: fmt.Errorf("the answer to an event: %w", err)}
	}
	var ack []json.RawMessage
	switch {
	case r.Ack != nil && json.Unmarshal(r.Ack, &ack) != nil:
		return &failure{result: badAnswer, err: errors.New("ack must be an array of arguments")}
	case msg.CheckPlaceholders(a.body, 0) != nil:
		return &failure{result: badAnswer, err: errors.New("an answer has no binary arguments, so no placeholders of them")}
	case len(r.Emit) > mostEmits:
		return &failure{result: badAnswer, err: fmt.Errorf("emit has %d events; the limit is %d", len(r.Emit), mostEmits)}
	}
	targets, names := make([]backend.Target, len(r.Emit)), make([]string, len(r.Emit))
	for i := range r.Emit {
		var err error
		if targets[i], names[i], err = r.Emit[i].read(so.Namespace(), userRoom); err != nil {
			return &failure{result: badAnswer, err: fmt.Errorf("emit[%d]: %w", i, err)}
		}
	}
	var errs []error
	if r.Ack != nil && p != nil {
		errs = append(errs, p.Ack(anys(ack)...))
	}
	for i, e := range r.Emit {
		errs = append(errs, targets[i].Emit(names[i], anys(e.Event[1:])...))
	}
	return errors.Join(errs...)
}

// read returns the target and the name of the event.
func (e *emit) read(ns *backend.Namespace, userRoom string) (t backend.Target, name string, err error) {
	if len(e.Event) == 0 || json.Unmarshal(e.Event[0], &name) != nil {
		return t, "", errors.New(`event must be an array that begins with a name: ["message","hi"]`)
	}
	members, named := 0, slices.Clone(e.Except)
	t = ns.Target
	for _, member := range []struct {
		isGiven bool
		names   []string
	}{
		{e.To.All, nil}, {e.To.Room != "", []string{e.To.Room}}, {len(e.To.Rooms) > 0, e.To.Rooms},
		{e.To.Socket != "", []string{e.To.Socket}}, {e.To.User != "" && userRoom != "", []string{userRoom + e.To.User}},
	} {
		if member.isGiven {
			members++
			t = t.To(member.names...)
			named = append(named, member.names...)
		}
	}
	for _, name := range named {
		if _, err := subjects.AppendRoom(nil, name); err != nil && !subjects.IsSocketID(name) {
			return t, "", fmt.Errorf("room %.64q: %w", name, err)
		}
	}
	switch {
	case members != 1:
		return t, "", errors.New(`to must have one of all, room, rooms, socket, user: {"room":"a"}`)
	case e.To.Socket != "" && !subjects.IsSocketID(e.To.Socket):
		return t, "", errors.New("to: socket is no socket's id")
	case len(named) > mostNames:
		return t, "", fmt.Errorf("to and except have %d names; the limit is %d", len(named), mostNames)
	}
	if _, err := msg.EventName(nil, slices.Concat([]byte("["), e.Event[0], []byte("]"))); err != nil {
		return t, "", fmt.Errorf("the event's name %.64q: %w", name, err)
	}
	if _, err := subjects.AppendEvent(nil, name); err != nil {
		return t, "", fmt.Errorf("the event's name %.64q: %w", name, err)
	}
	return t.Except(e.Except...), name, nil
}

func anys(values []json.RawMessage) []any {
	list := make([]any, len(values))
	for i, value := range values {
		list[i] = value
	}
	return list
}
