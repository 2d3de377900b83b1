package msgpack

import (
	"encoding/binary"
	"math"
)

// kind is the type of a value, independent of its length and form in msgpack.
type kind uint8

const (
	kindUndefined kind = iota // an extension of notepack.io
	kindNil
	kindFalse
	kindTrue
	kindInt    // n
	kindUint   // n, an unsigned integer that does not fit into an int64
	kindFloat  // f
	kindDate   // f: milliseconds since 1970
	kindString // bytes, not yet known to be UTF-8
	kindBinary // bytes
	kindExt    // n: the type, bytes
	kindArray  // n: how many elements follow
	kindMap    // n: how many keys with their values follow
)

// token is a value, or the beginning of an array or a map.
type token struct {
	kind  kind
	n     int64
	f     float64
	bytes []byte // part of the message
}

// isKey reports whether a value can be the name of a member. JavaScript converts other values to strings as well, but
// to none that their author can have meant.
func (t token) isKey() bool { return t.kind <= kindFloat || t.kind == kindString }

// reader walks a message.
type reader struct {
	data []byte
	at   int
}

// The first bytes of values (msgpack specification, "Formats"). Between bin8 and map32 the bytes of a kind follow
// each other, in the order of their lengths.
const (
	fixMap      = 0x80
	fixArray    = 0x90
	fixString   = 0xa0
	nilByte     = 0xc0
	neverUsed   = 0xc1
	falseByte   = 0xc2
	trueByte    = 0xc3
	bin8        = 0xc4
	ext8        = 0xc7
	ext32       = 0xc9
	float32Byte = 0xca
	float64Byte = 0xcb
	uint8Byte   = 0xcc
	int8Byte    = 0xd0
	fixExt1     = 0xd4
	fixExt4     = 0xd6
	fixExt8     = 0xd7
	string8     = 0xd9
	array16     = 0xdc
	map16       = 0xde
	negative    = 0xe0
)

// next reads one value. After the beginning of an array or a map it reads the elements, or the keys and values.
func (r *reader) next() (token, error) {
	first, ok := r.number(1)
	if !ok {
		return token{}, errTruncated
	}
	switch c := byte(first); {
	case c < fixMap:
		return token{kind: kindInt, n: int64(c)}, nil
	case c < fixArray:
		return r.container(kindMap, uint64(c&0x0f))
	case c < fixString:
		return r.container(kindArray, uint64(c&0x0f))
	case c < nilByte:
		return r.take(kindString, uint64(c&0x1f))
	case c == nilByte:
		return token{kind: kindNil}, nil
	case c == falseByte:
		return token{kind: kindFalse}, nil
	case c == trueByte:
		return token{kind: kindTrue}, nil
	case c == neverUsed:
		return token{}, errForm
	case c >= negative:
		return token{kind: kindInt, n: int64(int8(c))}, nil
	case c >= float32Byte && c < fixExt1:
		return r.numeric(c)
	case c >= ext8 && c < string8:
		return r.extension(c)
	default:
		return r.measured(c)
	}
}

// measured reads a value whose length follows its first byte.
func (r *reader) measured(c byte) (token, error) {
	what, size := kindBinary, 1<<(c-bin8)
	switch {
	case c >= map16:
		what, size = kindMap, 2<<(c-map16)
	case c >= array16:
		what, size = kindArray, 2<<(c-array16)
	case c >= string8:
		what, size = kindString, 1<<(c-string8)
	}
	n, ok := r.number(size)
	if !ok {
		return token{}, errTruncated
	}
	if what == kindMap || what == kindArray {
		return r.container(what, n)
	}
	return r.take(what, n)
}

// container begins an array or a map. A count that is larger than the rest of the message is an error.
func (r *reader) container(what kind, n uint64) (token, error) {
	atLeast := n
	if what == kindMap {
		atLeast = 2 * n
	}
	if atLeast > uint64(len(r.data)-r.at) {
		return token{}, errTruncated
	}
	return token{kind: what, n: int64(n)}, nil
}

// take reads n bytes.
func (r *reader) take(what kind, n uint64) (token, error) {
	if n > uint64(len(r.data)-r.at) {
		return token{}, errTruncated
	}
	start, end := r.at, r.at+int(n)
	r.at = end
	return token{kind: what, bytes: r.data[start:end:end]}, nil
}

// number reads an unsigned integer of 1, 2, 4 or 8 bytes.
func (r *reader) number(size int) (n uint64, ok bool) {
	if size > len(r.data)-r.at {
		return 0, false
	}
	for _, c := range r.data[r.at : r.at+size] {
		n = n<<8 | uint64(c)
	}
	r.at += size
	return n, true
}

func (r *reader) numeric(c byte) (token, error) {
	var size int
	switch {
	case c >= int8Byte:
		size = 1 << (c - int8Byte)
	case c >= uint8Byte:
		size = 1 << (c - uint8Byte)
	default:
		size = 4 << (c - float32Byte)
	}
	n, ok := r.number(size)
	switch {
	case !ok:
		return token{}, errTruncated
	case c >= int8Byte:
		unused := 64 - 8*size
		return token{kind: kindInt, n: int64(n<<unused) >> unused}, nil
	case c >= uint8Byte && n > math.MaxInt64:
		return token{kind: kindUint, n: int64(n)}, nil
	case c >= uint8Byte:
		return token{kind: kindInt, n: int64(n)}, nil
	case c == float32Byte:
		return token{kind: kindFloat, f: float64(math.Float32frombits(uint32(n)))}, nil
	}
	return token{kind: kindFloat, f: math.Float64frombits(n)}, nil
}

// The types of extensions that mean something.
const (
	extNotepack  = 0  // notepack.io: undefined, a date or an ArrayBuffer, by the form
	extTimestamp = -1 // msgpack specification, "Timestamp extension type"
)

func (r *reader) extension(c byte) (token, error) {
	length, ok := uint64(1)<<(c-fixExt1), true
	if c <= ext32 {
		length, ok = r.number(1 << (c - ext8))
	}
	extType, typed := r.number(1)
	if !ok || !typed {
		return token{}, errTruncated
	}
	t, err := r.take(kindExt, length)
	if err != nil {
		return token{}, err
	}
	t.n = int64(int8(extType))
	switch {
	case t.n == extNotepack && c <= ext32:
		t.kind = kindBinary
	case t.n == extNotepack && c == fixExt1:
		t.kind = kindUndefined
	case t.n == extNotepack && c == fixExt8:
		t.kind, t.f = kindDate, float64(int64(binary.BigEndian.Uint64(t.bytes)))
	case t.n == extTimestamp && (c == fixExt4 || c == fixExt8 || c == ext8 && length == 12):
		t.kind, t.f = kindDate, timestamp(t.bytes)
	}
	return t, nil
}

// timestamp returns the milliseconds of a timestamp in one of its three forms.
func timestamp(b []byte) float64 {
	var seconds, nanoseconds float64
	switch len(b) {
	case 4:
		seconds = float64(binary.BigEndian.Uint32(b))
	case 8:
		n := binary.BigEndian.Uint64(b)
		seconds, nanoseconds = float64(n&(1<<34-1)), float64(n>>34)
	case 12:
		nanoseconds = float64(binary.BigEndian.Uint32(b))
		seconds = float64(int64(binary.BigEndian.Uint64(b[4:])))
	}
	return math.Trunc(seconds*1e3 + nanoseconds/1e6)
}

// skip walks over one value with its contents, and returns its first token.
func (r *reader) skip() (first token, err error) {
	for left := int64(1); left > 0; left-- {
		t, err := r.next()
		if err != nil {
			return t, err
		}
		switch t.kind {
		case kindArray:
			left += t.n
		case kindMap:
			left += 2 * t.n
		}
		if first.kind == kindUndefined {
			first = t
		}
	}
	return first, nil
}
