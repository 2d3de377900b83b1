package backend

import (
	"bytes"
	"crypto/rand"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// eventBody makes the body of an event, [name, …args], with the attachments behind the text and their lengths in the
// header, which is nil if there are none.
func eventBody(event string, args []any) (body []byte, header nats.Header, err error) {
	if msg.IsReserved(event) {
		return nil, nil, failure(BadArguments, "event %q: the name is reserved by Socket.IO", event)
	}
	if !utf8.ValidString(event) {
		return nil, nil, failure(BadArguments, "event %q: the name is not valid UTF-8", event)
	}
	if _, err := subjects.AppendEvent(nil, event); err != nil {
		return nil, nil, because(BadArguments, err, "event %.64q", event)
	}
	body, header, err = arrayBody(msg.AppendString([]byte{'['}, event), args)
	if err != nil {
		return nil, nil, because(BadArguments, err, "event %q", event)
	}
	return body, header, nil
}

// ackBody makes the body of an ack, an array of its arguments.
func ackBody(args []any) (body []byte, header nats.Header, err error) {
	body, header, err = arrayBody([]byte{'['}, args)
	if err != nil {
		return nil, nil, because(BadArguments, err, "ack")
	}
	return body, header, nil
}

// arrayBody appends arguments to an array whose beginning is text.
func arrayBody(text []byte, args []any) (body []byte, header nats.Header, err error) {
	var out attachments
	first := len(text) == 1
	for _, arg := range args {
		if !first {
			text = append(text, ',')
		}
		first = false
		if text, err = out.appendJSON(text, arg); err != nil {
			return nil, nil, err
		}
	}
	text = append(text, ']')
	if len(out.found) == 0 {
		return text, nil, nil
	}
	text, sent, err := out.placeholders(text)
	if err != nil || len(sent) == 0 {
		return text, nil, err
	}
	body, lengths := msg.PackAttachments(text, sent)
	return body, nats.Header{msg.HeaderAttachments: {lengths}}, nil
}

// attachments finds the []byte in arguments, at whatever depth, which encoding/json would write as base64. Each is
// replaced, in a copy, by a marker that nobody else can know; what encoding/json made of the marker becomes the
// placeholder. So all rules of encoding/json about fields and tags hold.
type attachments struct {
	found [][]byte
	err   error
}

const (
	markerBytes = 18 + 3 // random ones, then the number: without padding in base64
	markerText  = markerBytes / 3 * 4
	maxDepth    = 1000 // as in encoding/json: what is deeper goes round in circles
)

var markerKey = sync.OnceValue(func() (key [18]byte) {
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	return key
})

// newMarker makes the marker with a number, which encoding/json writes as base64.
func newMarker(number int) []byte {
	key := markerKey()
	return append(key[:], byte(number>>16), byte(number>>8), byte(number))
}

// markerNumber is the number of a marker in base64.
func markerNumber(text string) (int, bool) {
	key := markerKey()
	marker, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(marker) != markerBytes || !bytes.Equal(marker[:len(key)], key[:]) {
		return 0, false
	}
	number := marker[len(key):]
	return int(number[0])<<16 | int(number[1])<<8 | int(number[2]), true
}

// appendJSON appends an argument.
func (a *attachments) appendJSON(text []byte, arg any) ([]byte, error) {
	if arg != nil {
		if v := reflect.ValueOf(arg); mayHoldBytes(v.Type()) {
			arg = a.take(v, 0).Interface()
			if a.err != nil {
				return nil, a.err
			}
		}
	}
	return appendJSON(text, arg)
}

// appendJSON appends a value as JSON.stringify would write it, without escapes for HTML.
func appendJSON(text []byte, value any) ([]byte, error) {
	out := bytes.NewBuffer(text)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte{'\n'}), nil
}

// placeholders puts placeholders in the place of the markers, and returns the attachments in their order.
func (a *attachments) placeholders(text []byte) (out []byte, sent [][]byte, err error) {
	key := markerKey()
	begin := base64.StdEncoding.AppendEncode([]byte{'"'}, key[:])
	for {
		i := bytes.Index(text, begin)
		if i < 0 {
			break
		}
		end := i + 1 + markerText
		number, _ := markerNumber(string(text[i+1 : end]))
		out = append(out, text[:i]...)
		out = append(out, `{"_placeholder":true,"num":`...)
		out = strconv.AppendInt(out, int64(len(sent)), 10)
		out = append(out, '}')
		sent = append(sent, a.found[number])
		text = text[end+1:]
	}
	if len(sent) > msg.MaxAttachments {
		return nil, nil, failure(BadArguments, "%d binary attachments; the limit is %d", len(sent), msg.MaxAttachments)
	}
	return append(out, text...), sent, nil
}

// take returns v with markers in the place of its []byte; v itself stays as it is.
func (a *attachments) take(v reflect.Value, depth int) reflect.Value {
	if !v.IsValid() || a.err != nil || !mayHoldBytes(v.Type()) {
		return v
	}
	if depth > maxDepth {
		a.err = failure(BadArguments, "an argument is nested more than %d levels deep, or in a circle", maxDepth)
		return v
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer, reflect.Slice, reflect.Map:
		if v.IsNil() {
			return v
		}
	}
	switch v.Kind() {
	case reflect.Interface:
		out := reflect.New(v.Type()).Elem()
		out.Set(a.take(v.Elem(), depth+1))
		return out
	case reflect.Pointer:
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(a.take(v.Elem(), depth+1))
		return out
	case reflect.Slice:
		if isBytes(v.Type()) {
			return a.mark(v)
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		a.takeElements(out, v, depth)
		return out
	case reflect.Array:
		out := reflect.New(v.Type()).Elem()
		a.takeElements(out, v, depth)
		return out
	case reflect.Map:
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for entries := v.MapRange(); entries.Next(); {
			out.SetMapIndex(entries.Key(), a.take(entries.Value(), depth+1))
		}
		return out
	}
	return a.takeStruct(v, depth)
}

func (a *attachments) takeElements(out, v reflect.Value, depth int) {
	for i := range v.Len() {
		out.Index(i).Set(a.take(v.Index(i), depth+1))
	}
}

func (a *attachments) takeStruct(v reflect.Value, depth int) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	for i := range out.NumField() {
		field, about := out.Field(i), v.Type().Field(i)
		if about.Anonymous && field.Kind() == reflect.Struct && !about.IsExported() {
			a.takeEmbedded(field, depth)
			continue
		}
		_, options, _ := strings.Cut(about.Tag.Get("json"), ",")
		left := isBytes(about.Type) && field.Len() == 0 && strings.Contains(options, "omitempty")
		if field.CanSet() && !left {
			field.Set(a.take(field, depth+1))
		}
	}
	return out
}

// takeEmbedded replaces the exported fields of an embedded struct whose type is not exported; the struct itself cannot be
// set.
func (a *attachments) takeEmbedded(v reflect.Value, depth int) {
	for i := range v.NumField() {
		if field := v.Field(i); field.CanSet() {
			field.Set(a.take(field, depth+1))
		}
	}
}

// mark replaces one []byte.
func (a *attachments) mark(v reflect.Value) reflect.Value {
	marker := newMarker(len(a.found))
	if a.found = append(a.found, v.Bytes()); len(a.found) >= 1<<24 {
		a.err = failure(BadArguments, "too many binary attachments; the limit is %d", msg.MaxAttachments)
	}
	return reflect.ValueOf(marker).Convert(v.Type())
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// marshalsItself tells of types that encoding/json does not look into, such as json.RawMessage and time.Time.
func marshalsItself(t reflect.Type) bool {
	if t.Implements(jsonMarshaler) || t.Implements(textMarshaler) {
		return true
	}
	p := reflect.PointerTo(t)
	return t.Kind() != reflect.Pointer && (p.Implements(jsonMarshaler) || p.Implements(textMarshaler))
}

// isBytes tells of the types that encoding/json writes as base64.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !marshalsItself(t) && !marshalsItself(t.Elem())
}

var holdsBytes sync.Map // of reflect.Type to bool

// mayHoldBytes tells whether a value of the type can have a []byte inside.
func mayHoldBytes(t reflect.Type) bool {
	if known, ok := holdsBytes.Load(t); ok {
		return known.(bool)
	}
	holds := looksLikeBytes(t, map[reflect.Type]bool{})
	holdsBytes.Store(t, holds)
	return holds
}

func looksLikeBytes(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false // what is found elsewhere counts
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		if marshalsItself(t) {
			return false
		}
	default:
		return false
	}
	if isBytes(t) {
		return true
	}
	if t.Kind() != reflect.Struct {
		return looksLikeBytes(t.Elem(), seen)
	}
	for i := range t.NumField() {
		if looksLikeBytes(t.Field(i).Type, seen) {
			return true
		}
	}
	return false
}
