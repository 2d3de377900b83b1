package backend

import (
	"bytes"
	"encoding"
	"encoding/base64"
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

// Args are the arguments of an event, an ack or an answer, as they were received. They can be kept, and read from
// several goroutines.
type Args struct {
	elements []json.RawMessage  // attachments stand there as base64
	blobs    []map[int64][]byte // the attachments of each element, by the offset at which their base64 ends; nil for none
}

// Len is how many arguments there are.
func (a Args) Len() int { return len(a.elements) }

// JSON returns an argument as JSON, counted from 0, or nil if there are fewer. Binary data in it is a base64 string,
// as encoding/json writes []byte. The caller must not change the result.
func (a Args) JSON(i int) json.RawMessage {
	if i < 0 || i >= len(a.elements) {
		return nil
	}
	return a.elements[i]
}

// Decode unmarshals the first arguments into the variables that the targets point to, as encoding/json does. Binary
// data, at any depth, becomes []byte. Arguments behind the last target are ignored. The error is an *ArgumentError,
// also if there are fewer arguments than targets. Targets without an argument stay as they are, if their type can be
// nil.
func (a Args) Decode(targets ...any) error {
	for i, target := range targets {
		v := reflect.ValueOf(target)
		if v.Kind() != reflect.Pointer || v.IsNil() {
			return failure(BadArguments, "Decode needs pointers; target %d is %T", i+1, target)
		}
		if err := a.decode(i, v); err != nil {
			return err
		}
	}
	return nil
}

// decode unmarshals one argument into what v points to.
func (a Args) decode(i int, v reflect.Value) error {
	want := v.Type().Elem()
	if i >= len(a.elements) {
		if want.Kind() == reflect.Pointer || want.Kind() == reflect.Interface {
			return nil
		}
		return &ArgumentError{Argument: i + 1, Want: want.String(), Got: "nothing"}
	}
	element, unmarshal := a.elements[i], json.Unmarshal
	if a.blobs != nil && len(a.blobs[i]) > 0 {
		if _, binary := a.blobs[i][int64(len(element))]; binary && want.Kind() == reflect.String {
			return &ArgumentError{Argument: i + 1, Want: want.String(), Got: "binary data"}
		}
		unmarshal = withBlobs(a.blobs[i])
	}
	if err := unmarshal(element, v.Interface()); err != nil {
		return &ArgumentError{Argument: i + 1, Want: want.String(), Got: shortened(element), Err: err}
	}
	return nil
}

// parameter decodes one argument for a parameter of a handler. It is the zero value if there are fewer arguments.
func (a Args) parameter(i int, t reflect.Type) (reflect.Value, error) {
	v := reflect.New(t)
	if i >= len(a.elements) {
		return v.Elem(), nil
	}
	// encoding/json calls the type's own methods with bytes of a client. If one panics, the argument does not fit.
	err := guarded(func() error { return a.decode(i, v) })
	if panicked, ok := err.(*PanicError); ok {
		err = &ArgumentError{Argument: i + 1, Want: t.String(), Got: shortened(a.elements[i]), Err: panicked}
	}
	return v.Elem(), err
}

// withBlobs returns json.Unmarshal for an element with attachments, which become []byte also where the Go type is any.
func withBlobs(blobs map[int64][]byte) func([]byte, any) error {
	anyString := func(d *jsontext.Decoder, pointer any) error {
		v := reflect.ValueOf(pointer).Elem()
		isAny := v.Kind() == reflect.Interface && v.NumMethod() == 0
		if !isAny || v.Elem().Kind() == reflect.Pointer || d.PeekKind() != '"' {
			return errors.ErrUnsupported
		}
		text, err := d.ReadToken()
		if err != nil {
			return err
		}
		if blob, ok := blobs[d.InputOffset()]; ok {
			v.Set(reflect.ValueOf(bytes.Clone(blob)))
		} else {
			v.Set(reflect.ValueOf(text.String()))
		}
		return nil
	}
	options := jsonv2.WithUnmarshalers(jsonv2.JoinUnmarshalers(jsonv2.UnmarshalFromFunc(anyString), numberUnmarshaler))
	return func(text []byte, target any) error { return jsonv2.Unmarshal(text, target, likeEncodingJSON, options) }
}

// numberUnmarshaler reads a json.Number; see numberMarshaler.
var numberUnmarshaler = jsonv2.UnmarshalFunc(func(text []byte, n *json.Number) error { return json.Unmarshal(text, n) })

func shortened(text []byte) string {
	const most = 64
	if len(text) > most {
		return string(bytes.ToValidUTF8(text[:most], nil)) + "…"
	}
	return string(text)
}

// parseArgs splits the body of an event or an ack. skip is how many elements in front are not arguments. Only the
// attachments in the result point into the body.
func parseArgs(body []byte, header nats.Header, skip int) (Args, error) {
	a, err := elementsOf(body, header.Get(msg.HeaderAttachments))
	if err != nil {
		return Args{}, because(BadArguments, err, "body")
	}
	if len(a.elements) < skip {
		return Args{}, failure(BadArguments, "the body is an array of %d elements", len(a.elements))
	}
	a.elements = a.elements[skip:]
	if a.blobs != nil {
		a.blobs = a.blobs[skip:]
	}
	return a, nil
}

// ackArgs are the arguments of an ack, or the error that it has instead.
func ackArgs(m *nats.Msg) (Args, error) {
	if err := answerError(m); err != nil {
		return Args{}, err
	}
	a, err := parseArgs(m.Data, m.Header, 0)
	if err != nil {
		return a, because(NoAnswer, err, "the ack cannot be read")
	}
	return a, nil
}

// elementsOf splits a body into the elements of its array; lengths are those of its attachments. Placeholders become
// the base64 of their attachments, which encoding/json decodes into []byte.
func elementsOf(body []byte, lengths string) (a Args, err error) {
	text, blobs, err := msg.SplitAttachments(nil, lengths, body)
	if err == nil {
		err = msg.CheckArray(text)
	}
	switch {
	case err != nil:
		return a, err
	case bytes.Count(text, []byte{','}) >= mostArguments && hasTooMany(text):
		return a, failure(BadArguments, "more than %d arguments", mostArguments)
	case len(blobs) == 0:
		return a, json.Unmarshal(text, &a.elements)
	}
	if err := msg.CheckPlaceholders(text, len(blobs)); err != nil {
		return a, err
	}
	var tree []any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	_ = d.Decode(&tree) // it is an array
	total, used := 0, 0
	for _, blob := range blobs {
		total += len(blob)
	}
	a.elements, a.blobs = make([]json.RawMessage, len(tree)), make([]map[int64][]byte, len(tree))
	for i, element := range tree {
		ends := make(map[int64][]byte)
		write := jsonv2.MarshalToFunc(func(e *jsontext.Encoder, object map[string]any) error {
			blob, ok := attachmentOf(object, blobs)
			if !ok {
				return errors.ErrUnsupported
			}
			// Clients mention each attachment once. A hostile one could turn a few bytes into gigabytes.
			if used += len(blob); used > 2*total {
				return errors.New("placeholders share attachments too often")
			}
			err := e.WriteToken(jsontext.String(base64.StdEncoding.EncodeToString(blob)))
			ends[e.OutputOffset()] = blob
			return err
		})
		a.elements[i], err = jsonv2.Marshal(element, likeEncodingJSON, jsonv2.WithMarshalers(jsonv2.JoinMarshalers(write, numberMarshaler)))
		if err != nil {
			return a, err
		}
		a.blobs[i] = ends
	}
	return a, nil
}

// mostArguments is how many arguments an event or ack of a client or instance may have: each takes many times the bytes
// of a short one. Browsers fail to pass a few times as many to a handler.
const mostArguments = 10_000

// hasTooMany reports whether an array has more elements than mostArguments.
func hasTooMany(text []byte) bool {
	d := jsontext.NewDecoder(bytes.NewReader(text), likeEncodingJSON)
	_, _ = d.ReadToken()
	for range mostArguments + 1 { // an event begins with its name
		if d.PeekKind() == ']' {
			return false
		}
		_ = d.SkipValue()
	}
	return d.PeekKind() != ']'
}

// attachmentOf returns the attachment for which an object stands. ok is false if the object is no placeholder.
func attachmentOf(object map[string]any, blobs [][]byte) (blob []byte, ok bool) {
	number, ok := object["num"].(json.Number)
	if !ok || object["_placeholder"] != true {
		return nil, false
	}
	n, err := number.Float64()
	if err != nil || n < 0 || int(n) >= len(blobs) {
		return nil, false
	}
	return blobs[int(n)], true
}

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
	a.at, a.calls = 0, 0
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
