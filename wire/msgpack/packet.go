// Package msgpack translates Socket.IO packets of clients that use the msgpack parser into what the rest of an edge
// works with, and back.
//
// Such a client sends each packet as one binary message, a msgpack map:
//
//	{type: 2, nsp: "/chat", id: 7, data: ["file", <bin>]}
//
// Parse makes a sio.Packet of it, whose Data is the JSON text that a JSON client would have sent, with a placeholder for
// each binary value and the values as attachments beside it; Append makes the map of such a packet. Whoever stands behind
// an edge does not see which of the two a client speaks.
//
// The package is pure. It neither recurses nor trusts a declared length, so hostile input costs no more than its own size,
// and both directions stop at a limit of the caller's.
//
// Source: the msgpack specification, and the behaviour of socket.io-msgpack-parser 3.0 with notepack.io 2.2, in Node and in
// browsers. What differs from those is said at Parse.
package msgpack

import (
	"errors"
	"math"
	"unicode/utf8"

	"partyline/wire/sio"
)

// The errors of this package. A session that sent what Parse refuses ends like one that sent broken JSON, "forced close".
var (
	// errTruncated is returned for a message that ends before what it declares.
	errTruncated = errors.New("msgpack: the message ends too early")
	// errTrailing is returned for bytes behind the packet.
	errTrailing = errors.New("msgpack: bytes behind the packet")
	// errForm is returned for a byte that begins no value, and for a map's key that has no name in JSON, such as a map.
	errForm = errors.New("msgpack: invalid value or key")
	// errNotUTF8 is returned for a string that is not valid UTF-8.
	errNotUTF8 = errors.New("msgpack: a string is not valid UTF-8")
	// errDepth is returned for data of more than maxDepth levels.
	errDepth = errors.New("msgpack: data nested too deeply")
	// ErrTooLarge is returned for a packet that is larger than the caller's limit in its other form.
	ErrTooLarge = errors.New("msgpack: the packet is too large")
	// errAttachments is returned by Parse for more than sio.MaxAttachments binary values, and by Append for a placeholder
	// without an attachment.
	errAttachments = errors.New("msgpack: too many binary values, or a placeholder of none")
	// errPacket is returned for a message that is no map.
	errPacket = errors.New("msgpack: the message is no packet")
	// errType is returned for a packet without one of the types 0 to 4.
	errType = errors.New("msgpack: unknown packet type")
	// errNamespace is returned for a packet whose namespace is no string.
	errNamespace = errors.New("msgpack: the namespace is missing or no string")
	// errID is returned for an ack id that is no integer from 0 to sio.MaxID.
	errID = errors.New("msgpack: ack id out of range")
	// errPayload is returned for data of another kind than the type of the packet asks for.
	errPayload = errors.New("msgpack: invalid payload")
	// errNotJSON is returned by Append for Data that cannot be JSON. It does not find all that is not.
	errNotJSON = errors.New("msgpack: data is not valid JSON")
)

// maxDepth is how many levels of arrays and objects the JSON text of a packet may have, as many as encoding/json reads.
const maxDepth = 10_000

// The members of a packet.
const (
	keyType      = "type"
	keyNamespace = "nsp"
	keyID        = "id"
	keyData      = "data"
)

// Parse reads a message that is one packet. Data is the part of the result that was appended to dst; its text and the
// attachments have together at most limit bytes. Data is valid JSON in valid UTF-8, an array for an event and an ack, an
// object or nil for CONNECT, nil for DISCONNECT. Namespace, which need not begin with a slash, and the attachments are
// parts of message and valid as long as that is; all placeholders that Parse writes are in order and in range, but the
// client may have written others itself. A packet with attachments is a sio.BinaryEvent or sio.BinaryAck.
//
// Values become what JSON.stringify makes of what the reference decodes: undefined is left out of objects and null in
// arrays, dates are ISO strings, numbers that are not finite are null. Of a member that comes twice the last counts, and
// members of other names than the packet's are ignored. There are these differences to the reference:
//
//   - Integers beyond 2^53 keep all their digits.
//   - The timestamps of the msgpack specification are dates, too. (An extension of another type is an array of the type
//     and its bytes, as in the reference.)
//   - Binary values in the data of CONNECT, which has no attachments in JSON either, become what Node makes of a Buffer:
//     {"type":"Buffer","data":[1,2]}.
//   - At most sio.MaxAttachments binary values, ids from 0 to sio.MaxID, and maxDepth levels, as for JSON clients.
//   - Strings must be UTF-8, and keys of maps strings, numbers, booleans, nil or undefined.
//
// The errors are those above, up to errPayload. Parse allocates nothing for packets of a few levels without binary values
// if dst has room.
func Parse(dst, message []byte, limit int) (sio.Packet, [][]byte, error) {
	m, err := findMembers(message)
	if err != nil {
		return sio.Packet{}, nil, err
	}
	p, err := m.head(message)
	if err != nil {
		return sio.Packet{}, nil, err
	}
	if m.data < 0 {
		return p, nil, checkData(p.Type, kindUndefined)
	}
	r := reader{message, m.data}
	first, err := r.next()
	if err == nil {
		err = checkData(p.Type, first.kind)
	}
	if err != nil || first.kind == kindUndefined {
		return p, nil, err
	}
	t := transcoder{
		reader: reader{message, m.data}, out: dst, base: len(dst), limit: limit, buffers: p.Type == sio.Connect,
	}
	if err := t.run(); err != nil {
		return sio.Packet{}, nil, err
	}
	p.Data, p.Attachments = t.out[len(dst):], len(t.attachments)
	if p.Attachments > 0 {
		switch p.Type {
		case sio.Event:
			p.Type = sio.BinaryEvent
		case sio.Ack:
			p.Type = sio.BinaryAck
		}
	}
	return p, t.attachments, nil
}

// members is where the values of a packet's members begin in the message, -1 for none.
type members struct{ kind, namespace, id, data int }

// findMembers looks for the members of a packet. What it returns without an error can be walked to its end.
func findMembers(message []byte) (members, error) {
	m := members{-1, -1, -1, -1}
	r := reader{message, 0}
	packet, err := r.next()
	if err != nil {
		return m, err
	}
	if packet.kind != kindMap {
		return m, errPacket
	}
	for range packet.n {
		key, err := r.next()
		if err != nil {
			return m, err
		}
		if !key.isKey() {
			return m, errForm
		}
		if key.kind == kindString {
			switch string(key.bytes) {
			case keyType:
				m.kind = r.at
			case keyNamespace:
				m.namespace = r.at
			case keyID:
				m.id = r.at
			case keyData:
				m.data = r.at
			}
		}
		if err := r.skip(); err != nil {
			return m, err
		}
	}
	if r.at != len(message) {
		return m, errTrailing
	}
	return m, nil
}

// head reads all members but the data (reference: checkPacket).
func (m members) head(message []byte) (p sio.Packet, err error) {
	kind, isInteger := valueAt(message, m.kind).integer()
	if !isInteger || kind < 0 || kind > int64(sio.ConnectError-sio.Connect) {
		return p, errType
	}
	p.Type = sio.Connect + sio.Type(kind)
	namespace := valueAt(message, m.namespace)
	if namespace.kind != kindString {
		return p, errNamespace
	}
	if !utf8.Valid(namespace.bytes) {
		return p, errNotUTF8
	}
	p.Namespace = namespace.bytes
	id := valueAt(message, m.id)
	if id.kind == kindUndefined {
		return p, nil
	}
	n, isInteger := id.integer()
	if !isInteger || n < 0 || n > sio.MaxID {
		return p, errID
	}
	p.HasID, p.ID = true, uint64(n)
	return p, nil
}

// valueAt is the value that begins there, undefined if there is none. It has been walked before.
func valueAt(message []byte, at int) token {
	if at < 0 {
		return token{kind: kindUndefined}
	}
	r := reader{message, at}
	v, err := r.next()
	if err != nil {
		return token{kind: kindUndefined}
	}
	return v
}

// checkData judges data by the packet's type (reference: isDataValid). Whether an event has a name is not seen here.
func checkData(t sio.Type, data kind) error {
	valid := false
	switch t {
	case sio.Connect:
		valid = data == kindUndefined || data == kindMap
	case sio.Disconnect:
		valid = data == kindUndefined
	case sio.ConnectError:
		valid = data == kindString || data == kindMap
	default:
		valid = data == kindArray
	}
	if !valid {
		return errPayload
	}
	return nil
}

// integer is the value of a number without fraction, in whatever form, if it fits.
func (t token) integer() (n int64, ok bool) {
	switch t.kind {
	case kindInt:
		return t.n, true
	case kindFloat:
		n = int64(t.f)
		return n, math.Abs(t.f) < 1<<63 && float64(n) == t.f
	}
	return 0, false
}
