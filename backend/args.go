package backend

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"reflect"

	"github.com/nats-io/nats.go"

	"partyline/wire/msg"
)

// Args are the arguments of an event, an ack or an answer, as they came. They can be kept and read from several
// goroutines.
type Args struct {
	elements []json.RawMessage // []byte arguments stand there as base64
	binary   []bool            // which elements are nothing but a []byte; nil if none of the arguments has one inside
	blobs    map[string][]byte // all []byte inside, by their base64
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
	if a.binary != nil && a.binary[i] && want.Kind() == reflect.String {
		return &ArgumentError{Argument: i + 1, Want: want.String(), Got: "binary data"}
	}
	if err := json.Unmarshal(a.elements[i], v.Interface()); err != nil {
		return &ArgumentError{Argument: i + 1, Want: want.String(), Got: shortened(a.elements[i]), Err: err}
	}
	if a.blobs != nil {
		a.restore(v.Elem())
	}
	return nil
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
		if err := a.fill(&text, blobs, skip); err != nil {
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
	return a, nil
}

// fill writes the attachments as base64 in the place of their placeholders, so that encoding/json decodes them into
// []byte wherever they stand.
func (a *Args) fill(text *[]byte, blobs [][]byte, skip int) error {
	if err := msg.CheckPlaceholders(*text, len(blobs)); err != nil {
		return err
	}
	var tree []any
	d := json.NewDecoder(bytes.NewReader(*text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return err
	}
	a.blobs = make(map[string][]byte, len(blobs))
	for _, blob := range blobs {
		a.blobs[base64.StdEncoding.EncodeToString(blob)] = blob
	}
	for i := range tree {
		tree[i] = filled(tree[i], blobs)
		if i >= skip {
			_, isBlob := tree[i].([]byte)
			a.binary = append(a.binary, isBlob)
		}
	}
	var err error
	*text, err = appendJSON(nil, tree)
	return err
}

// filled returns a decoded value with []byte in the place of placeholders. It changes maps and slices in place.
func filled(value any, blobs [][]byte) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = filled(v[i], blobs)
		}
	case map[string]any:
		if v["_placeholder"] == true {
			if number, ok := v["num"].(json.Number); ok {
				n, err := number.Float64()
				if i := int(n); err == nil && i >= 0 && i < len(blobs) {
					return append([]byte{}, blobs[i]...)
				}
			}
		}
		for key := range v {
			v[key] = filled(v[key], blobs)
		}
	}
	return value
}

// restore puts []byte in the place of base64 where the Go type is any, which encoding/json fills with a string.
func (a Args) restore(v reflect.Value) {
	if !mayHoldBytes(v.Type()) || isBytes(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return
		}
		if text, ok := v.Interface().(string); ok {
			if blob, ok := a.blobs[text]; ok && v.Type().NumMethod() == 0 {
				v.Set(reflect.ValueOf(append([]byte{}, blob...)))
			}
			return
		}
		inner := reflect.New(v.Elem().Type()).Elem()
		inner.Set(v.Elem())
		a.restore(inner)
		v.Set(inner)
	case reflect.Pointer:
		if !v.IsNil() {
			a.restore(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			a.restore(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			inner := reflect.New(v.Type().Elem()).Elem()
			inner.Set(v.MapIndex(key))
			a.restore(inner)
			v.SetMapIndex(key, inner)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Field(i); field.CanSet() {
				a.restore(field)
			}
		}
	}
}
