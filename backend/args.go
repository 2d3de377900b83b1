package backend

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/nats-io/nats.go"

	"partyline/wire/msg"
)

// Args are the arguments of an event, an ack or an answer, as they came. They can be kept and read from several
// goroutines.
type Args struct {
	elements []json.RawMessage // []byte arguments stand there as base64
	marked   []json.RawMessage // the same with markers in the place of []byte; nil if there are none
	blobs    [][]byte          // what the markers stand for
}

// Len is how many arguments there are.
func (a Args) Len() int { return len(a.elements) }

// JSON returns an argument as JSON, nil if there are fewer; they count from 0. A []byte stands there as a base64 string,
// as encoding/json writes it. The caller must not change it.
func (a Args) JSON(i int) json.RawMessage {
	if i < 0 || i >= len(a.elements) {
		return nil
	}
	return a.elements[i]
}

// Decode unmarshals the first arguments into the variables that the targets point to, as encoding/json does, and binary
// arguments, at whatever depth, into []byte. Arguments behind the last target are ignored. The error is an
// *ArgumentError, also if there are fewer arguments than targets; those that may be nil are then left alone.
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
	if _, binary := a.blob(a.marked, i); binary && want.Kind() == reflect.String {
		return &ArgumentError{Argument: i + 1, Want: want.String(), Got: "binary data"}
	}
	if err := json.Unmarshal(a.elements[i], v.Interface()); err != nil {
		return &ArgumentError{Argument: i + 1, Want: want.String(), Got: shortened(a.elements[i]), Err: err}
	}
	if a.marked != nil && mayHoldBytes(want) && !isBytes(want) {
		// Where the Go type is any, encoding/json makes a string of base64. Which strings were none shows the same value
		// with markers.
		shadow := reflect.New(want)
		if json.Unmarshal(a.marked[i], shadow.Interface()) == nil {
			a.restore(v.Elem(), shadow.Elem())
		}
	}
	return nil
}

// parameter is one argument as the parameter of a handler: the zero value if there are fewer.
func (a Args) parameter(i int, t reflect.Type) (reflect.Value, error) {
	v := reflect.New(t)
	if i >= len(a.elements) {
		return v.Elem(), nil
	}
	// encoding/json calls the type's own methods with what a client sent. If one panics, that argument does not fit.
	err := guarded(func() error { return a.decode(i, v) })
	if panicked, ok := err.(*PanicError); ok {
		err = &ArgumentError{Argument: i + 1, Want: t.String(), Got: shortened(a.elements[i]), Err: panicked}
	}
	return v.Elem(), err
}

// blob is the attachment that an element is, if it is nothing else.
func (a Args) blob(marked []json.RawMessage, i int) ([]byte, bool) {
	var text string
	if marked == nil || json.Unmarshal(marked[i], &text) != nil {
		return nil, false
	}
	return a.marker(text)
}

// marker is the attachment that a marker stands for.
func (a Args) marker(text string) ([]byte, bool) {
	number, ok := markerNumber(text)
	if !ok || number >= len(a.blobs) {
		return nil, false
	}
	return a.blobs[number], true
}

// mayBeMissing tells of the types for which a missing argument is a value: nil.
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

// parseArgs takes the body of an event or an ack apart; skip is how many elements in front are not arguments. What it
// returns does not point into the body, but for attachments.
func parseArgs(body []byte, header nats.Header, skip int) (Args, error) {
	var none, a Args
	text, blobs := body, [][]byte(nil)
	if lengths := header.Get(msg.HeaderAttachments); lengths != "" {
		var err error
		if text, blobs, err = msg.SplitAttachments(nil, lengths, body); err != nil {
			return none, because(BadArguments, err, "body")
		}
	}
	if err := msg.CheckArray(text); err != nil {
		return none, because(BadArguments, err, "body")
	}
	if len(blobs) > 0 {
		var err error
		if text, err = a.fill(text, blobs); err != nil {
			return none, because(BadArguments, err, "body")
		}
	}
	if err := json.Unmarshal(text, &a.elements); err != nil {
		return none, because(BadArguments, err, "body")
	}
	if len(a.elements) < skip {
		return none, failure(BadArguments, "the body is an array of %d elements", len(a.elements))
	}
	a.elements = a.elements[skip:]
	if a.marked != nil {
		a.marked = a.marked[skip:]
	}
	return a, nil
}

// fill returns the text with attachments as base64 in the place of their placeholders, so that encoding/json decodes them
// into []byte wherever they stand, and keeps the same text with markers.
func (a *Args) fill(text []byte, blobs [][]byte) (filled []byte, err error) {
	if err := msg.CheckPlaceholders(text, len(blobs)); err != nil {
		return nil, err
	}
	var tree []any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	total, used := 0, 0
	for _, blob := range blobs {
		total += len(blob)
	}
	count := func(n int) any { used += len(blobs[n]); return nil }
	// Clients mention each attachment once. A hostile one could make gigabytes of a few bytes.
	if replaced(tree, len(blobs), count); used > 2*total {
		return nil, failure(BadArguments, "placeholders share attachments too often")
	}
	marked, err := appendJSON(nil, replaced(tree, len(blobs), func(n int) any { return newMarker(n) }))
	if err == nil {
		err = json.Unmarshal(marked, &a.marked)
	}
	if err != nil {
		return nil, err
	}
	a.blobs = blobs
	return appendJSON(nil, replaced(tree, len(blobs), func(n int) any { return blobs[n] })) // base64
}

// replaced is a decoded value with something else in the place of placeholders.
func replaced(value any, blobs int, by func(n int) any) any {
	switch v := value.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = replaced(v[i], blobs, by)
		}
		return out
	case map[string]any:
		if v["_placeholder"] == true {
			if number, ok := v["num"].(json.Number); ok {
				if n, err := number.Float64(); err == nil && n >= 0 && int(n) < blobs {
					return by(int(n))
				}
			}
		}
		out := make(map[string]any, len(v))
		for key := range v {
			out[key] = replaced(v[key], blobs, by)
		}
		return out
	}
	return value
}

// restore puts []byte in the place of base64 in v where its type is any, and shadow, which is else the same, has a
// marker.
func (a Args) restore(v, shadow reflect.Value) {
	if v.Kind() != shadow.Kind() || !mayHoldBytes(v.Type()) || isBytes(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		a.restoreAny(v, shadow)
	case reflect.Pointer:
		if !v.IsNil() && !shadow.IsNil() {
			a.restore(v.Elem(), shadow.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range min(v.Len(), shadow.Len()) {
			a.restore(v.Index(i), shadow.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if beside := shadow.MapIndex(key); beside.IsValid() {
				inner := reflect.New(v.Type().Elem()).Elem()
				inner.Set(v.MapIndex(key))
				a.restore(inner, beside)
				v.SetMapIndex(key, inner)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Field(i); field.CanSet() {
				a.restore(field, shadow.Field(i))
			}
		}
	}
}

func (a Args) restoreAny(v, shadow reflect.Value) {
	if v.IsNil() || shadow.IsNil() || v.Elem().Type() != shadow.Elem().Type() {
		return
	}
	if text, ok := shadow.Interface().(string); ok {
		if blob, ok := a.marker(text); ok && v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(append([]byte{}, blob...)))
		}
		return
	}
	inner := reflect.New(v.Elem().Type()).Elem()
	inner.Set(v.Elem())
	a.restore(inner, shadow.Elem())
	v.Set(inner)
}
