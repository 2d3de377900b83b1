package msgpack

import (
	"bytes"
	"math"
	"strconv"

	"partyline/wire/jsontext"
	"partyline/wire/sio"
)

// Append appends the message of p to dst and returns it, in the shortest form of each value, as notepack.io does. If
// there are attachments, an object in Data whose member _placeholder is true becomes the attachment that its num
// names. Without attachments, it is an object like any other.
//
// Data must be valid JSON in valid UTF-8; otherwise the result means nothing. Integers of 64 bits stay exact, other
// numbers become doubles as with JSON.parse, and half a surrogate pair becomes U+FFFD. p.Attachments is ignored.
//
// The error is ErrTooLarge if the message would have more than limit bytes, which several placeholders of one
// attachment can reach from a small text. A placeholder without an attachment is an error too. With an error, dst
// comes back unchanged. The time is linear in the sizes of Data and result.
func Append(dst []byte, p sio.Packet, attachments [][]byte, limit int) ([]byte, error) {
	w := writer{out: dst, base: len(dst), limit: limit, text: p.Data, attachments: attachments}
	members := 2
	if p.HasID {
		members++
	}
	if p.Data != nil {
		members++
	}
	w.out = append(w.out, fixMap|byte(members))
	w.member(keyType)
	t := p.Type - sio.Connect
	if p.Type >= sio.BinaryEvent { // the other encoding has no types of its own for packets with attachments
		t -= sio.BinaryEvent - sio.Event
	}
	w.out = append(w.out, byte(t))
	w.member(keyNamespace)
	w.head(kindString, len(p.Namespace))
	w.out = append(w.out, p.Namespace...)
	if p.HasID {
		w.member(keyID)
		w.out = appendInt(w.out, int64(p.ID))
	}
	if p.Data != nil {
		w.member(keyData)
		var found [32]container
		w.found = found[:0]
		err := w.measure()
		if err == nil {
			err = w.write()
		}
		if err != nil {
			return dst, err
		}
	}
	if len(w.out)-w.base > limit {
		return dst, ErrTooLarge
	}
	return w.out, nil
}

// container is what measure finds out about an array or an object, before it is written.
type container struct {
	values      uint32 // elements, or keys and values
	placeholder sio.Placeholder
}

// writer translates JSON text in two passes: in msgpack the number of elements precedes them.
type writer struct {
	out         []byte // the message is behind base
	base, limit int
	text        []byte
	attachments [][]byte
	found       []container // all arrays and objects, by where they begin
	scratch     []byte
}

// measure is the first pass: it counts elements and finds placeholders.
func (w *writer) measure() error {
	var first [32]int32
	open := first[:0] // indices of found
	for i := 0; i < len(w.text); {
		end := jsontext.SkipToken(w.text, i)
		c := w.text[i]
		var top *container
		if len(open) > 0 {
			top = &w.found[open[len(open)-1]]
		}
		switch c {
		case ',', ':', ' ', '\t', '\n', '\r':
		case ']', '}':
			if top == nil {
				return errNotJSON
			}
			if index, isPlaceholder := top.placeholder.Attachment(); isPlaceholder && index < 0 {
				return errAttachments
			}
			open = open[:len(open)-1]
		default:
			if top != nil {
				top.values++
			}
			switch {
			case c == '[' || c == '{':
				open = append(open, int32(len(w.found)))
				w.found = append(w.found, container{})
			case c == '"' && top != nil && len(w.attachments) > 0:
				if value := jsontext.MemberValue(w.text, end); value != nil {
					top.placeholder.Member(w.text[i:end], value, len(w.attachments))
				}
			}
		}
		i = end
	}
	if len(open) > 0 {
		return errNotJSON
	}
	return nil
}

// write is the second pass.
func (w *writer) write() error {
	next, depth := 0, 0
	inside := placeholder{depth: -1}
	for i := 0; i < len(w.text); {
		end := jsontext.SkipToken(w.text, i)
		switch c := w.text[i]; c {
		case ',', ':', ' ', '\t', '\n', '\r':
		case ']', '}':
			if depth--; depth == inside.depth {
				w.out = w.out[:inside.start]
				if err := w.binary(w.attachments[inside.num]); err != nil {
					return err
				}
				inside.depth = -1
			}
		case '[', '{':
			if next == len(w.found) {
				return errNotJSON
			}
			found := w.found[next]
			next++
			if index, isPlaceholder := found.placeholder.Attachment(); isPlaceholder && inside.depth < 0 {
				inside = placeholder{depth: depth, start: len(w.out), num: index}
			}
			depth++
			if c == '{' {
				w.head(kindMap, int(found.values/2))
			} else {
				w.head(kindArray, int(found.values))
			}
		case '"':
			w.string(w.text[i:end])
		case 't':
			w.out = append(w.out, trueByte)
		case 'f':
			w.out = append(w.out, falseByte)
		case 'n':
			w.out = append(w.out, nilByte)
		default:
			w.number(w.text[i:end])
		}
		if len(w.out)-w.base > w.limit {
			return ErrTooLarge
		}
		i = end
	}
	return nil
}

// placeholder is an object that is written like any other, and replaced by its attachment when it ends.
type placeholder struct {
	depth int // levels around it, -1 while no placeholder is being written
	start int // where it begins in the output
	num   int
}

func (w *writer) member(key string) { w.out = append(append(w.out, fixString|byte(len(key))), key...) }

// binary writes an attachment. It checks the size before it copies.
func (w *writer) binary(b []byte) error {
	if len(w.out)-w.base+len(b) > w.limit {
		return ErrTooLarge
	}
	w.head(kindBinary, len(b))
	w.out = append(w.out, b...)
	return nil
}

// string writes a JSON string, given with its quotes.
func (w *writer) string(quoted []byte) {
	s := quoted[1:max(1, len(quoted)-1)]
	if bytes.IndexByte(s, '\\') >= 0 {
		w.scratch, _ = jsontext.AppendDecoded(w.scratch[:0], quoted)
		s = w.scratch
	}
	w.head(kindString, len(s))
	w.out = append(w.out, s...)
}

// number writes a JSON number: an integer if it is one of 64 bits, else a double.
func (w *writer) number(literal []byte) {
	text := string(literal)
	if text != "-0" {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			w.out = appendInt(w.out, n)
			return
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			w.out = appendBytes(append(w.out, uint8Byte+3), 8, n)
			return
		}
	}
	f, _ := strconv.ParseFloat(text, 64) // infinite where it is too large, as in JavaScript
	w.out = appendBytes(append(w.out, float64Byte), 8, math.Float64bits(f))
}

// head writes the beginning of a value that has a length, in its shortest form.
func (w *writer) head(what kind, n int) {
	var short, long byte // the form with the length inside, and the first of those with the length behind
	most := -1           // length in the short form
	size := 0            // the length has 1<<size bytes
	switch what {
	case kindString:
		short, long, most = fixString, string8, 31
	case kindBinary:
		long = bin8
	case kindArray:
		short, long, most, size = fixArray, array16-1, 15, 1
	case kindMap:
		short, long, most, size = fixMap, map16-1, 15, 1
	}
	if n <= most {
		w.out = append(w.out, short|byte(n))
		return
	}
	for size < 2 && n >= 1<<(8<<size) {
		size++
	}
	w.out = appendBytes(append(w.out, long+byte(size)), 1<<size, uint64(n))
}

// appendInt appends an integer in its shortest form.
func appendInt(dst []byte, n int64) []byte {
	if n >= -32 && n < fixMap {
		return append(dst, byte(n))
	}
	form, size := byte(uint8Byte), 0 // size is that of 1<<size bytes
	for size < 3 && n >= 1<<(8<<size) {
		size++
	}
	if n < 0 {
		form = int8Byte
		for size < 3 && n < -1<<(8<<size-1) {
			size++
		}
	}
	return appendBytes(append(dst, form+byte(size)), 1<<size, uint64(n))
}

// appendBytes appends the last bytes of n, the highest first.
func appendBytes(dst []byte, bytes int, n uint64) []byte {
	for shift := 8*bytes - 8; shift >= 0; shift -= 8 {
		dst = append(dst, byte(n>>shift))
	}
	return dst
}
