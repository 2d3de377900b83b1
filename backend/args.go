package backend

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

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
		if mayBeMissing(want) {
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

// mayBeMissing reports whether a missing argument is a value of the type: nil.
func mayBeMissing(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface
}

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
	return parseArgs(m.Data, m.Header, 0)
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
	case len(blobs) == 0:
		return a, json.Unmarshal(text, &a.elements)
	}
	if err := msg.CheckPlaceholders(text, len(blobs)); err != nil {
		return a, err
	}
	var tree []any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return a, err
	}
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
