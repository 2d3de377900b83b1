package msgpack

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"partyline/wire/jsontext"
	"partyline/wire/sio"
)

// level is an array or a map that is being written.
type level struct {
	left   int64 // elements or members still to come
	member int   // in a map: where in the output its current member begins
	object bool
}

// transcoder writes one value as JSON. Its own stack takes the place of recursion.
type transcoder struct {
	reader
	out         []byte // the text is behind base
	base        int
	limit       int // bytes that text and attachments may have
	attachments [][]byte
	size        int  // bytes of the attachments
	buffers     bool // binary values stay in the text
}

func (t *transcoder) run() error {
	// The levels are no part of the transcoder, whose output the caller keeps: so they cost no allocation.
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
			open = append(open, level{left: v.n})
		case v.kind == kindMap:
			t.out = append(t.out, '{')
			open = append(open, level{left: v.n, object: true})
		case v.kind == kindUndefined && len(open) > 0 && open[len(open)-1].object:
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
			t.close(open[len(open)-1])
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

// close writes the end of a level.
func (t *transcoder) close(l level) {
	if l.object {
		t.out = append(t.out, '}')
	} else {
		t.out = append(t.out, ']')
	}
}

// advance writes what stands before the next value of the innermost level: a comma, and in a map the key.
func (t *transcoder) advance(top *level) error {
	top.left--
	top.member = len(t.out)
	if last := t.out[len(t.out)-1]; last != '[' && last != '{' { // no value ends with those
		t.out = append(t.out, ',')
	}
	if !top.object {
		return nil
	}
	key, err := t.next()
	if err != nil {
		return err
	}
	return t.key(key)
}

// key writes the name of a member, as JavaScript makes a string of it.
func (t *transcoder) key(k token) error {
	if !k.isKey() {
		return ErrForm
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

// scalar writes a value that is no array and no map. inside is how many levels it stands in.
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

// depth judges a number of levels.
func depth(levels int) error {
	if levels > MaxDepth {
		return ErrDepth
	}
	return nil
}

func (t *transcoder) text(b []byte) error {
	if !utf8.Valid(b) {
		return ErrNotUTF8
	}
	t.out = jsontext.AppendString(t.out, b)
	return nil
}

// binary writes a placeholder and keeps the bytes. inside is how many levels it stands in.
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
		return ErrAttachments
	}
	t.out = append(t.out, `{"_placeholder":true,"num":`...)
	t.out = strconv.AppendInt(t.out, int64(len(t.attachments)), 10)
	t.out = append(t.out, '}')
	t.attachments = append(t.attachments, b)
	t.size += len(b)
	return depth(inside + 1)
}

// appendLiteral writes a number, true, false, or null for whatever else there is.
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

// appendFloat writes a number as JavaScript does (ECMAScript, Number::toString; JSON.stringify for those not finite).
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

// maxDate is the last millisecond that JavaScript's dates know.
const maxDate = 8.64e15

// appendDate writes a date as JavaScript does (Date.prototype.toISOString; JSON.stringify for those that are none).
func appendDate(dst []byte, milliseconds float64) []byte {
	if !(math.Abs(milliseconds) <= maxDate) {
		return append(dst, "null"...)
	}
	at := time.UnixMilli(int64(milliseconds)).UTC()
	year := at.Year()
	dst = append(dst, '"')
	digits := 4
	if year < 0 || year > 9999 {
		digits = 6
		sign := byte('+')
		if year < 0 {
			sign, year = '-', -year
		}
		dst = append(dst, sign)
	}
	for power := pow10(digits - 1); power > 0; power /= 10 {
		dst = append(dst, byte('0'+year/power%10))
	}
	return at.AppendFormat(dst, `-01-02T15:04:05.000Z"`)
}

func pow10(n int) int {
	p := 1
	for range n {
		p *= 10
	}
	return p
}
