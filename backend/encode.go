package backend

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// eventBody makes the body of an event: [name, …args], then the attachments. Their lengths are in header, which is nil
// if there are none.
func eventBody(event string, args []any) (body []byte, header nats.Header, err error) {
	if msg.IsReserved(event) {
		return nil, nil, failure(BadArguments, "event %q: the name is reserved by Socket.IO", event)
	}
	if _, err := subjects.AppendEvent(nil, event); err != nil {
		return nil, nil, because(BadArguments, err, "event %.64q", event)
	}
	if body, header, err = arrayBody(msg.AppendString([]byte{'['}, event), args); err != nil {
		return nil, nil, because(BadArguments, err, "event %q", event)
	}
	return body, header, nil
}

// ackBody makes the body of an ack, an array of its arguments.
func ackBody(args []any) (body []byte, header nats.Header, err error) {
	if body, header, err = arrayBody([]byte{'['}, args); err != nil {
		return nil, nil, because(BadArguments, err, "ack")
	}
	return body, header, nil
}

// arrayBody appends arguments to an array whose beginning is text.
func arrayBody(text []byte, args []any) (body []byte, header nats.Header, err error) {
	found := finders.Get().(*attachments)
	defer found.free()
	for _, arg := range args {
		if len(text) > 1 {
			text = append(text, ',')
		}
		if text, err = found.append(text, arg); err != nil {
			return nil, nil, err
		}
	}
	text = append(text, ']')
	if len(found.data) == 0 {
		return text, nil, nil
	}
	if len(found.data) > msg.MaxAttachments {
		return nil, nil, failure(BadArguments, "%d binary attachments; the limit is %d", len(found.data), msg.MaxAttachments)
	}
	body, lengths := msg.PackAttachments(text, found.data)
	return body, nats.Header{msg.HeaderAttachments: {lengths}}, nil
}

// appendJSON appends a value as JSON.stringify writes it, without escapes for HTML.
func appendJSON(text []byte, value any) ([]byte, error) {
	out := bytes.NewBuffer(text)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte{'\n'}), nil
}

// attachments collects the []byte of arguments, at any depth, in the order of their placeholders.
type attachments struct {
	options jsonv2.Options // with find as a marshaler
	data    [][]byte
	err     error // what find returned; package jsonv2 wraps it in words of its own

	at, calls int64 // how often find was called since the output grew to at
}

// finders pools attachments, because their options cache what they learn of each type.
var finders = sync.Pool{New: func() any {
	a := &attachments{}
	a.options = jsonv2.JoinOptions(likeEncodingJSON, jsonv2.WithMarshalers(jsonv2.JoinMarshalers(
		jsonv2.MarshalToFunc(a.find), numberMarshaler)))
	return a
}}

// free returns a to finders.
func (a *attachments) free() {
	clear(a.data)
	a.data, a.err, a.at, a.calls = a.data[:0], nil, 0, 0
	finders.Put(a)
}

// maxDepth is how deep an argument may be nested. A deeper one is taken for a cycle.
const maxDepth = 1000

// likeEncodingJSON makes jsonv2 write and read as encoding/json does. jsonv2 is used where values may have []byte
// inside, because encoding/json has no hook for them.
var likeEncodingJSON = jsonv2.JoinOptions(jsonv1.DefaultOptionsV1(), jsontext.EscapeForHTML(false))

// append appends an argument, with placeholders for its []byte.
func (a *attachments) append(text []byte, arg any) ([]byte, error) {
	if kind := reflect.ValueOf(arg).Kind(); kind < reflect.Array || kind == reflect.String {
		return appendJSON(text, arg) // holds no []byte
	}
	out := bytes.NewBuffer(text)
	err := jsonv2.MarshalWrite(out, arg, a.options)
	if a.err != nil {
		err = a.err
	}
	return out.Bytes(), err
}

// numberMarshaler writes a json.Number. jsonv2 has its own type for that, unless it is the one of the standard
// library.
var numberMarshaler = jsonv2.MarshalFunc(func(n json.Number) ([]byte, error) { return json.Marshal(n) })

// find is called with a pointer to each value of an argument. It writes a placeholder if the value is a []byte.
func (a *attachments) find(e *jsontext.Encoder, pointer any) error {
	// A cycle of pointers alone adds neither depth nor output. jsonv2 would follow it until the stack overflows.
	if at := e.OutputOffset(); at != a.at {
		a.at, a.calls = at, 0
	}
	if a.calls++; a.calls > maxDepth || e.StackDepth() > maxDepth {
		a.err = failure(BadArguments, "an argument is nested more than %d levels deep, or in a circle", maxDepth)
		return a.err
	}
	v := reflect.ValueOf(pointer).Elem()
	if !isBytes(v.Type()) || v.IsNil() {
		return errors.ErrUnsupported
	}
	a.data = append(a.data, v.Bytes())
	return e.WriteValue(fmt.Appendf(nil, `{"_placeholder":true,"num":%d}`, len(a.data)-1))
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// isBytes reports whether encoding/json writes a type as base64. It does not for json.RawMessage.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !marshalsItself(t) && !marshalsItself(t.Elem())
}

func marshalsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t) // has the methods of t, too
	return p.Implements(jsonMarshaler) || p.Implements(textMarshaler)
}
