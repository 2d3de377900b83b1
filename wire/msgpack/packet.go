// Package msgpack translates Socket.IO packets of clients that use the msgpack parser to the packets of JSON clients,
// and back.
//
// Such a client sends each packet as one binary message, a msgpack map:
//
//	{type: 2, nsp: "/chat", id: 7, data: ["file", <bin>]}
//
// Parse returns a sio.Packet. Its Data is the JSON text that a JSON client would have sent, with a placeholder for
// each binary value; the values are the attachments. Append writes the map of such a packet. Services do not see
// which of the two parsers a client uses.
//
// The package is pure. It neither recurses nor trusts a declared length, so hostile input costs no more than its own
// size, and both directions stop at the caller's limit.
//
// Source: the msgpack specification, and the behaviour of socket.io-msgpack-parser 3.0 with notepack.io 2.2, in Node
// and in browsers. The comment of Parse lists the differences.
package msgpack

import (
	"errors"
	"math"
	"unicode/utf8"

	"partyline/wire/sio"
)

// ErrTooLarge is returned for a packet that is larger than the caller's limit in its other form.
var ErrTooLarge = errors.New("msgpack: the packet is too large")

// The other errors. The session of a client whose message Parse refuses ends with "forced close", as after invalid
// JSON.
var (
	errTruncated   = errors.New("msgpack: the message ends too early")
	errTrailing    = errors.New("msgpack: bytes behind the packet")
	errForm        = errors.New("msgpack: invalid value or key")
	errNotUTF8     = errors.New("msgpack: a string is not valid UTF-8")
	errDepth       = errors.New("msgpack: data nested too deeply")
	errAttachments = errors.New("msgpack: too many binary values, or a placeholder of none")
	errPacket      = errors.New("msgpack: the message is no packet")
	errType        = errors.New("msgpack: unknown packet type")
	errNamespace   = errors.New("msgpack: the namespace is missing or no string")
	errID          = errors.New("msgpack: ack id out of range")
	errPayload     = errors.New("msgpack: invalid payload")
	errNotJSON     = errors.New("msgpack: data is not valid JSON") // Append does not find every fault
)

// maxDepth bounds the levels of arrays and objects in the JSON text of a packet. encoding/json reads as many.
const maxDepth = 10_000

// The members of a packet.
const (
	keyType      = "type"
	keyNamespace = "nsp"
	keyID        = "id"
	keyData      = "data"
)

// Parse reads a message that is one packet. Data is appended to dst; Data and the attachments together have at most
// limit bytes. Data is valid JSON in valid UTF-8: an array for an event and an ack, an object or nil for CONNECT, nil
// for DISCONNECT. Namespace and the attachments are parts of message, and valid as long as that is. Namespace need
// not begin with a slash. All placeholders that Parse writes are in order and in range, but the client may have sent
// others. A packet with attachments is a sio.BinaryEvent or sio.BinaryAck.
//
// Values become what JSON.stringify makes of the values that the reference decodes: undefined is omitted from objects
// and null in arrays, dates are ISO strings, numbers that are not finite are null. The last of repeated members
// counts, and members of other names than the packet's are ignored. Differences from the reference:
//
//   - Integers beyond 2^53 keep all their digits.
//   - Timestamps of the msgpack specification are dates, too. (An extension of another type is an array of the type and
//     its bytes, as in the reference.)
//   - Binary values in the data of CONNECT, which has no attachments in JSON either, become JSON of a Node Buffer:
//     {"type":"Buffer","data":[1,2]}.
//   - At most sio.MaxAttachments binary values, ids from 0 to sio.MaxID, and 10,000 levels, as for JSON clients.
//   - Strings must be UTF-8, and keys of maps strings, numbers, booleans, nil or undefined.
//
// The error is ErrTooLarge past limit, and another one for a message that is no such packet. Parse does not allocate
// for packets of a few levels without binary values if dst has room.
func Parse(dst, message []byte, limit int) (sio.Packet, [][]byte, error) {
	m, err := findMembers(message)
	if err != nil {
		return sio.Packet{}, nil, err
	}
	p, err := m.head()
	if err == nil {
		err = checkData(p.Type, m.data.kind)
	}
	if err != nil || m.data.kind == kindUndefined {
		return p, nil, err
	}
	t := transcoder{
		reader: reader{message, m.dataAt}, out: dst, base: len(dst), limit: limit, buffers: p.Type == sio.Connect,
	}
	if err := t.run(); err != nil {
		return sio.Packet{}, nil, err
	}
	p.Data, p.Attachments = t.out[len(dst):], len(t.attachments)
	if p.Attachments > 0 {
		p.Type = p.Type.Binary()
	}
	return p, t.attachments, nil
}

// members are the first tokens of a packet's members: undefined for those that are missing.
type members struct {
	kind, namespace, id, data token
	dataAt                    int // where data begins in the message
}

// findMembers finds the members of a packet. If it returns no error, the whole message is well-formed.
func findMembers(message []byte) (m members, err error) {
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
		at := r.at
		value, err := r.skip()
		if err != nil {
			return m, err
		}
		if key.kind != kindString {
			continue
		}
		switch string(key.bytes) {
		case keyType:
			m.kind = value
		case keyNamespace:
			m.namespace = value
		case keyID:
			m.id = value
		case keyData:
			m.data, m.dataAt = value, at
		}
	}
	if r.at != len(message) {
		return m, errTrailing
	}
	return m, nil
}

// head reads all members but the data (reference: checkPacket).
func (m *members) head() (p sio.Packet, err error) {
	kind, isInteger := m.kind.integer()
	if !isInteger || kind < 0 || kind > int64(sio.ConnectError-sio.Connect) {
		return p, errType
	}
	if m.namespace.kind != kindString {
		return p, errNamespace
	}
	if !utf8.Valid(m.namespace.bytes) {
		return p, errNotUTF8
	}
	p = sio.Packet{Type: sio.Connect + sio.Type(kind), Namespace: m.namespace.bytes}
	if m.id.kind == kindUndefined {
		return p, nil
	}
	n, isInteger := m.id.integer()
	if !isInteger || n < 0 || n > sio.MaxID {
		return p, errID
	}
	p.HasID, p.ID = true, uint64(n)
	return p, nil
}

// checkData checks the kind of data that a packet's type requires (reference: isDataValid). It does not check that an
// event has a name.
func checkData(t sio.Type, data kind) error {
	valid := data == kindArray
	switch t {
	case sio.Connect:
		valid = data == kindUndefined || data == kindMap
	case sio.Disconnect:
		valid = data == kindUndefined
	case sio.ConnectError:
		valid = data == kindString || data == kindMap
	}
	if !valid {
		return errPayload
	}
	return nil
}

// integer returns the value of a number without fraction that fits, in any form.
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
