package msgpack

import (
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"partyline/wire/jsontext"
	"partyline/wire/sio"
)

// level is an array or a map that is being written.
type level struct {
	left   int64 // elements or members that follow
	member int   // in a map: where in the output its current member begins
	end    byte  // its last character
}

func (l *level) isObject() bool { return l.end == '}' }

// transcoder writes one value as JSON. It has a stack instead of recursion.
type transcoder struct {
	reader
	out         []byte // the text is behind base
	base        int
	limit       int // of the bytes of text and attachments
	attachments [][]byte
	size        int  // bytes of the attachments
	buffers     bool // binary values are written into the text
}

func (t *transcoder) run() error {
	// The levels are not a part of the transcoder, whose output the caller keeps: so they are on the stack.
	var first [32]level
	open := first[:0]
	for {
		v, err := t.next()
		if err != nil {
			return err
		}
		switch {
		case v.kind == kindArray:
			t.out = append(t.out, '[')
			open = append(open, level{left: v.n, end: ']'})
		case v.kind == kindMap:
			t.out = append(t.out, '{')
			open = append(open, level{left: v.n, end: '}'})
		case v.kind == kindUndefined && len(open) > 0 && open[len(open)-1].isObject():
			t.out = t.out[:open[len(open)-1].member]
		default:
			err = t.scalar(v, len(open))
		}
		if err == nil {
			err = depth(len(open))
		}
		if err != nil {
			return err
		}
		for len(open) > 0 && open[len(open)-1].left == 0 {
			t.out = append(t.out, open[len(open)-1].end)
			open = open[:len(open)-1]
		}
		if len(t.out)-t.base+t.size > t.limit {
			return ErrTooLarge
		}
		if len(open) == 0 {
			return nil
		}
		if err := t.advance(&open[len(open)-1]); err != nil {
			return err
		}
	}
}

// advance writes what precedes the next value of the innermost level: a comma, and in a map the key.
func (t *transcoder) advance(top *level) error {
	top.left--
	top.member = len(t.out)
	if last := t.out[len(t.out)-1]; last != '[' && last != '{' { // no value ends with those
		t.out = append(t.out, ',')
	}
	if !top.isObject() {
		return nil
	}
	key, err := t.next()
	if err != nil {
		return err
	}
	return t.key(key)
}

// key writes the name of a member: the value converted to a string as in JavaScript.
func (t *transcoder) key(k token) error {
	if !k.isKey() {
		return errForm
	}
	if k.kind == kindString {
		if err := t.text(k.bytes); err != nil {
			return err
		}
		t.out = append(t.out, ':')
		return nil
	}
	t.out = append(t.out, '"')
	switch {
	case k.kind == kindUndefined:
		t.out = append(t.out, "undefined"...)
	case k.kind == kindFloat && math.IsNaN(k.f):
		t.out = append(t.out, "NaN"...)
	case k.kind == kindFloat && math.IsInf(k.f, 0):
		if k.f < 0 {
			t.out = append(t.out, '-')
		}
		t.out = append(t.out, "Infinity"...)
	default:
		t.out = appendLiteral(t.out, k)
	}
	t.out = append(t.out, `":`...)
	return nil
}

// scalar writes a value that is no array and no map. inside is the number of levels around it.
func (t *transcoder) scalar(v token, inside int) (err error) {
	switch v.kind {
	case kindDate:
		t.out = appendDate(t.out, v.f)
	case kindString:
		err = t.text(v.bytes)
	case kindBinary:
		err = t.binary(v.bytes, inside)
	case kindExt:
		t.out = append(strconv.AppendInt(append(t.out, '['), v.n, 10), ',')
		err = t.binary(v.bytes, inside+1)
		t.out = append(t.out, ']')
	default:
		t.out = appendLiteral(t.out, v)
	}
	return err
}

// depth returns an error for too many levels.
func depth(levels int) error {
	if levels > maxDepth {
		return errDepth
	}
	return nil
}

func (t *transcoder) text(b []byte) error {
	if !utf8.Valid(b) {
		return errNotUTF8
	}
	t.out = jsontext.AppendString(t.out, b)
	return nil
}

// binary writes a placeholder and keeps the bytes. inside is the number of levels around it.
func (t *transcoder) binary(b []byte, inside int) error {
	if t.buffers {
		t.out = append(t.out, `{"type":"Buffer","data":[`...)
		for i, c := range b {
			if i > 0 {
				t.out = append(t.out, ',')
			}
			t.out = strconv.AppendUint(t.out, uint64(c), 10)
		}
		t.out = append(t.out, "]}"...)
		return depth(inside + 2)
	}
	if len(t.attachments) == sio.MaxAttachments {
		return errAttachments
	}
	t.out = append(t.out, `{"_placeholder":true,"num":`...)
	t.out = strconv.AppendInt(t.out, int64(len(t.attachments)), 10)
	t.out = append(t.out, '}')
	t.attachments = append(t.attachments, b)
	t.size += len(b)
	return depth(inside + 1)
}

// appendLiteral writes a number, true or false, and null for any other value.
func appendLiteral(dst []byte, v token) []byte {
	switch v.kind {
	case kindTrue:
		return append(dst, "true"...)
	case kindFalse:
		return append(dst, "false"...)
	case kindInt:
		return strconv.AppendInt(dst, v.n, 10)
	case kindUint:
		return strconv.AppendUint(dst, uint64(v.n), 10)
	case kindFloat:
		return appendFloat(dst, v.f)
	}
	return append(dst, "null"...)
}

// appendFloat writes a number as JavaScript does (ECMAScript, Number::toString; JSON.stringify if it is not finite).
func appendFloat(dst []byte, f float64) []byte {
	switch magnitude := math.Abs(f); {
	case math.IsNaN(f), math.IsInf(f, 0):
		return append(dst, "null"...)
	case f == 0:
		return append(dst, '0') // also for -0
	case magnitude >= 1e-6 && magnitude < 1e21:
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	if n := len(dst); dst[n-4] == 'e' && dst[n-2] == '0' { // Go writes e-07, JavaScript e-7
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// maxDate is the last millisecond of JavaScript's dates.
const maxDate = 8.64e15

// appendDate writes a date as JavaScript does (Date.prototype.toISOString; JSON.stringify if it is invalid).
func appendDate(dst []byte, milliseconds float64) []byte {
	if !(math.Abs(milliseconds) <= maxDate) {
		return append(dst, "null"...)
	}
	at := time.UnixMilli(int64(milliseconds)).UTC()
	dst = append(dst, '"')
	if year := at.Year(); year < 0 || year > 9999 {
		return at.AppendFormat(fmt.Appendf(dst, "%+07d", year), `-01-02T15:04:05.000Z"`)
	}
	return at.AppendFormat(dst, `2006-01-02T15:04:05.000Z"`)
}
