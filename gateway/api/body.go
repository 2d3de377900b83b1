package api

import (
	"cmp"
	jsonv1 "encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"partyline/backend"
	"partyline/gateway/strict"
	"partyline/subjects"
)

// addressed is what the bodies of all commands begin with.
type addressed struct {
	Verb      string              `json:"verb"` // in a batch
	Namespace string              `json:"namespace"`
	To        *to                 `json:"to"`
	Except    strict.List[string] `json:"except"`
}

// to is a target. It has exactly one member.
type to struct {
	All    *bool               `json:"all"`
	Room   *string             `json:"room"`
	Rooms  strict.List[string] `json:"rooms"`
	Socket *string             `json:"socket"`
	User   *string             `json:"user"`
}

var errOtherKind = errors.New("it is another kind of JSON")

// decode reads a body. Unknown and doubled members, what is not UTF-8, and all behind the value are errors, which name
// the place.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	var semantic *json.SemanticError
	var syntax *jsontext.SyntacticError
	at := jsontext.Pointer("")
	if errors.As(err, &semantic) {
		at, err = semantic.JSONPointer, cmp.Or(semantic.Err, errOtherKind)
	}
	if errors.As(err, &syntax) {
		at, err = cmp.Or(syntax.JSONPointer, at), syntax.Err
	}
	return problemOf(badRequest, "body, at %.100q: %v", at, err)
}

// namespace returns a namespace that the key has.
func (q *request) namespace(name string) (*backend.Namespace, error) {
	_, err := subjects.AppendNamespace(nil, name)
	switch {
	case err != nil || strings.Contains(name, "*"):
		return nil, problemOf(badRequest, `namespace: %.100q cannot be one; "/" begins one, and "*" is in none (%v)`, name, err)
	case name == subjects.AdminUI:
		return nil, problemOf(notAllowed, "%s is the Admin UI's, which no key reaches", name)
	case !matches(q.Namespaces, name):
		return nil, problemOf(notAllowed, "this key has no namespace %.100q", name)
	}
	return q.io.Of(name), nil
}

// read decodes the body of a command into a struct, and returns the sockets that its part b names, if the key may name
// them.
func (q *request) read(body []byte, into any, b *addressed) (t backend.Target, err error) {
	if err := decode(body, into); err != nil {
		return t, err
	}
	if b.Verb != "" && !q.isBatch {
		return t, problemOf(badRequest, `unknown member "/verb"`)
	}
	ns, err := q.namespace(b.Namespace)
	if err != nil {
		return t, err
	}
	if t, err = q.sockets(ns, b.To); err != nil || len(b.Except) == 0 {
		return t, err
	}
	rooms := slices.DeleteFunc(slices.Clone(b.Except), subjects.IsSocketID)
	if len(rooms) < len(b.Except) {
		if err := q.allow(maySocket); err != nil {
			return t, err
		}
	}
	return t.Except(b.Except...), q.allowRooms("except", rooms)
}

// sockets returns the target that a command names.
func (q *request) sockets(ns *backend.Namespace, to *to) (t backend.Target, err error) {
	if to == nil {
		return t, problemOf(badRequest, `to is missing: {"all":true}, {"room":…}, {"rooms":[…]}, {"socket":…} or {"user":…}`)
	}
	members := 0
	for _, isGiven := range []bool{to.All != nil, to.Room != nil, to.Rooms != nil, to.Socket != nil, to.User != nil} {
		if isGiven {
			members++
		}
	}
	switch {
	case members != 1:
		return t, problemOf(badRequest, "to has %d members; it must have one of all, room, rooms, socket, user", members)
	case to.All != nil && !*to.All:
		return t, problemOf(badRequest, "to: all must be true")
	case to.All != nil:
		return ns.Target, q.allow(mayAll)
	case to.Socket != nil && !subjects.IsSocketID(*to.Socket):
		return t, problemOf(badRequest, "to: %.64q is not the id of a socket", *to.Socket)
	case to.Socket != nil:
		return ns.To(*to.Socket), q.allow(maySocket)
	case to.User != nil && (q.o.UserRoom == "" || *to.User == ""):
		return t, problemOf(badRequest, "to: user is empty, or this gateway's configuration has no user_room")
	case to.User != nil:
		return ns.To(q.o.UserRoom + *to.User), q.allow(mayUser)
	case to.Room != nil:
		return ns.To(*to.Room), q.allowRooms("to", []string{*to.Room})
	}
	return ns.To(to.Rooms...), q.roomList("to", to.Rooms)
}

// roomList checks a list of rooms that must have some.
func (q *request) roomList(member string, rooms []string) error {
	if len(rooms) == 0 {
		return problemOf(badRequest, "%s: 0 rooms; there must be 1 to %d", member, strict.MostElements)
	}
	return q.allowRooms(member, rooms)
}

// split returns the name and the arguments of the member event.
func split(e []jsontext.Value) (name string, args []any, err error) {
	if len(e) == 0 || e[0].Kind() != '"' {
		return "", nil, problemOf(badRequest, `event must be an array that begins with the event's name: ["message","hi"]`)
	}
	text, err := jsontext.AppendUnquote(nil, e[0])
	if err != nil {
		return "", nil, problemOf(badRequest, "event: %v", err)
	}
	args = make([]any, len(e)-1)
	for i, arg := range e[1:] {
		args[i] = jsonv1.RawMessage(arg)
	}
	return string(text), args, nil
}

// change is a member of a grant: absent, null (what the grant had is taken back), or a value.
type change[T any] struct {
	isGiven, isBack bool
	value           T
}

// UnmarshalJSONFrom reads the member.
func (c *change[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	c.isGiven = true
	c.isBack = d.PeekKind() == 'n'
	return json.UnmarshalDecode(d, &c.value)
}

// grantBody is the member grant.
type grantBody struct {
	User    change[string]              `json:"user"`
	Rooms   change[strict.List[string]] `json:"rooms"`
	Join    change[strict.List[string]] `json:"join"`
	Leave   change[strict.List[string]] `json:"leave"`
	Emit    change[strict.List[string]] `json:"emit"`
	Expires change[int64]               `json:"expires"` // seconds since 1970
}

// grant returns the change that a body is.
func (b *grantBody) grant() backend.Grant {
	g := backend.Grant{User: b.User.value, Rooms: b.Rooms.value, Join: b.Join.value, Leave: b.Leave.value, Emit: b.Emit.value}
	if b.Expires.isGiven && !b.Expires.isBack {
		g.Expires = time.Unix(b.Expires.value, 0)
	}
	for i, isBack := range []bool{b.User.isBack, b.Rooms.isBack, b.Join.isBack, b.Leave.isBack, b.Emit.isBack, b.Expires.isBack} {
		if isBack {
			g.TakeBack |= backend.GrantUser << i
		}
	}
	return g
}
