package msgpack

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"

	"partyline/wire/jsontext"
	"partyline/wire/sio"
)

// Append appends the message that stands for p to dst and returns it, in the shortest form of each value, as notepack.io
// writes them. An object in Data whose member _placeholder is true becomes the attachment that its num names, if there
// are any attachments; without, it is data like any other. Nothing is added that the reference does not send.
//
// Data must be valid JSON in valid UTF-8; of anything else the result is nonsense. Integers of 64 bits stay exact, other
// numbers become doubles as with JSON.parse, and half a surrogate pair becomes U+FFFD. p.Attachments is not looked at.
//
// The errors are ErrTooLarge if the message would have more than limit bytes, which several placeholders of one attachment
// can reach from a small text, ErrAttachments and ErrNotJSON; with an error, dst comes back as it was. The time is linear
// in the sizes of Data and result.
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
	w.out = append(w.out, typeCode(p.Type))
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

// typeCode is a packet's type as a number: binary events are events.
func typeCode(t sio.Type) byte {
	switch t {
	case sio.BinaryEvent:
		t = sio.Event
	case sio.BinaryAck:
		t = sio.Ack
	}
	return byte(t - sio.Connect)
}

// container is what must be known of an array or an object before it is written.
type container struct {
	count       uint32 // elements or members
	object      bool
	placeholder sio.Placeholder
}

// writer translates JSON text in two passes, because msgpack says how many elements follow where JSON says when they end.
type writer struct {
	out         []byte // the message is behind base
	base, limit int
	text        []byte
	attachments [][]byte
	found       []container // all arrays and objects, in the order in which they begin
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
				return ErrNotJSON
			}
			if index, isPlaceholder := top.placeholder.Attachment(); isPlaceholder && index < 0 {
				return ErrAttachments
			}
			open = open[:len(open)-1]
		default:
			if top != nil && !top.object {
				top.count++
			}
			switch {
			case c == '[' || c == '{':
				open = append(open, int32(len(w.found)))
				w.found = append(w.found, container{object: c == '{'})
			case c == '"' && top != nil && top.object:
				if value := jsontext.MemberValue(w.text, end); len(value) > 0 {
					top.count++
					if len(w.attachments) > 0 {
						top.placeholder.Member(w.text[i:end], value, len(w.attachments))
					}
				}
			}
		}
		i = end
	}
	if len(open) > 0 {
		return ErrNotJSON
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
				return ErrNotJSON
			}
			found := w.found[next]
			next++
			if index, isPlaceholder := found.placeholder.Attachment(); isPlaceholder && inside.depth < 0 {
				inside = placeholder{depth: depth, start: len(w.out), num: index}
			}
			depth++
			if found.object {
				w.head(kindMap, int(found.count))
			} else {
				w.head(kindArray, int(found.count))
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

// placeholder is the object that is being written though it stands for an attachment: once it ends, that takes its place.
type placeholder struct {
	depth int // levels around it, -1 while there is none
	start int // where it begins in the output
	num   int
}

func (w *writer) member(key string) { w.out = append(append(w.out, fixString|byte(len(key))), key...) }

// binary writes an attachment. It is not copied to find out that it is too large.
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
			w.out = binary.BigEndian.AppendUint64(append(w.out, uint8Byte+3), n)
			return
		}
	}
	f, _ := strconv.ParseFloat(text, 64) // infinite where it is too large, as in JavaScript
	w.out = binary.BigEndian.AppendUint64(append(w.out, float64Byte), math.Float64bits(f))
}

// head writes the beginning of anything that has a length.
func (w *writer) head(what kind, n int) {
	var short, long byte // the form with the length inside, if there is one, and the one with 16 bits of length
	most := 0            // length in the short form
	switch what {
	case kindString:
		short, long, most = fixString, string8+1, 31
	case kindBinary:
		long, most = bin8+1, -1
	case kindArray:
		short, long, most = fixArray, array16, 15
	case kindMap:
		short, long, most = fixMap, map16, 15
	}
	switch {
	case n <= most:
		w.out = append(w.out, short|byte(n))
	case n <= math.MaxUint8 && (what == kindString || what == kindBinary):
		w.out = append(w.out, long-1, byte(n))
	case n <= math.MaxUint16:
		w.out = binary.BigEndian.AppendUint16(append(w.out, long), uint16(n))
	default:
		w.out = binary.BigEndian.AppendUint32(append(w.out, long+1), uint32(n))
	}
}

func appendInt(dst []byte, n int64) []byte {
	switch {
	case n >= 0 && n < fixMap, n < 0 && n >= -32:
		return append(dst, byte(n))
	case n < 0:
		switch {
		case n >= math.MinInt8:
			return append(dst, int8Byte, byte(n))
		case n >= math.MinInt16:
			return binary.BigEndian.AppendUint16(append(dst, int8Byte+1), uint16(n))
		case n >= math.MinInt32:
			return binary.BigEndian.AppendUint32(append(dst, int8Byte+2), uint32(n))
		}
		return binary.BigEndian.AppendUint64(append(dst, int8Byte+3), uint64(n))
	case n <= math.MaxUint8:
		return append(dst, uint8Byte, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, uint8Byte+1), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, uint8Byte+2), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, uint8Byte+3), uint64(n))
}
