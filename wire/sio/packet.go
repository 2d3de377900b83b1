// Package sio reads and writes the text of Socket.IO v5 packets, the content of Engine.IO messages.
//
//	<type>[<attachments>-][<namespace>,][<id>][<JSON>]
//
//	0{"token":"x"}                                   connect to / with auth
//	2["message","hello"]                             event in /
//	2/chat,12["message","hello"]                     event in /chat, wants ack 12
//	3/chat,12["ok"]                                  that ack
//	51-["file",{"_placeholder":true,"num":0}]        event in /, one binary message follows
//
// Parse reads the head only. The JSON stays raw, so that it can be passed on byte for byte. Another layer checks that
// it is valid, has the shape that its type requires, and agrees with the attachments.
//
// Source: Socket.IO protocol, revision 5 (https://github.com/socketio/socket.io-protocol), and the behaviour of
// socket.io-parser 4.2. Stricter than that: attachments and ids are plain decimal digits, where the reference takes
// whatever JavaScript converts to a number (" ", "1e0", "0x1"), and ids end where JavaScript's exact integers do.
package sio

import (
	"bytes"
	"errors"
	"strconv"
)

// The errors of Parse. As in the reference, a session ends on them with the reason "forced close".
var (
	errType        = errors.New("sio: unknown packet type")
	errAttachments = errors.New("sio: number of attachments missing or out of range")
	errID          = errors.New("sio: ack id out of range")
)

const (
	// MaxAttachments is the largest number of binary attachments of one packet, the reference's default.
	MaxAttachments = 10
	// MaxID is the largest ack id, the last integer that JavaScript represents exactly.
	MaxID = 1<<53 - 1

	maxAttachmentsDigits = 2
	maxIDDigits          = 16
)

// Type is the first byte of a packet, as it stands on the wire.
type Type byte

// The packet types of the protocol, section "Packet types".
const (
	Connect      Type = '0' // client: join a namespace, with auth; server: admitted, with the socket's id
	Disconnect   Type = '1' // either way: leave a namespace; never has data
	Event        Type = '2' // either way: an array whose first element is the event's name
	Ack          Type = '3' // either way: an array, the arguments of an ack
	ConnectError Type = '4' // server: not admitted, with the reason
	BinaryEvent  Type = '5' // Event, with attachments
	BinaryAck    Type = '6' // Ack, with attachments
)

// Binary returns the type that an event or ack has with attachments. Other types stay as they are.
func (t Type) Binary() Type {
	if t == Event || t == Ack {
		return t + (BinaryEvent - Event)
	}
	return t
}

// Packet is one Socket.IO packet without its attachments, which follow it as binary messages. Its slices are parts of
// the text that Parse read, and valid as long as that is.
type Packet struct {
	Type        Type
	Attachments int    // binary messages that follow: 1 to MaxAttachments for the two binary types, else 0
	Namespace   []byte // begins with a slash; it may be a shared "/" and must not be changed
	HasID       bool   // Parse finds an id with any type, as the reference does
	ID          uint64 // the sender of an event expects it in the ack
	Data        []byte // the JSON, not checked; nil for none
}

var rootNamespace = []byte("/")

// Parse reads the head of one packet, up to the JSON. It returns an error for an unknown type, for a binary packet
// with none or more than MaxAttachments attachments, and for an id above MaxID. It does not allocate.
func Parse(text []byte) (Packet, error) {
	if len(text) == 0 || Type(text[0]) < Connect || Type(text[0]) > BinaryAck {
		return Packet{}, errType
	}
	p := Packet{Type: Type(text[0]), Namespace: rootNamespace}
	rest := text[1:]

	if isBinary(p.Type) {
		n, digits := leadingNumber(rest, maxAttachmentsDigits)
		if n < 1 || n > MaxAttachments || digits == len(rest) || rest[digits] != '-' {
			return Packet{}, errAttachments
		}
		p.Attachments, rest = int(n), rest[digits+1:]
	}

	if len(rest) > 0 && rest[0] == '/' {
		// As in the reference, a namespace without a comma takes the whole rest.
		end := bytes.IndexByte(rest, ',')
		if end < 0 {
			end = len(rest)
		}
		p.Namespace = rest[:end:end]
		rest = rest[min(end+1, len(rest)):]
	}

	if id, digits := leadingNumber(rest, maxIDDigits); digits > 0 {
		if id > MaxID || digits < len(rest) && isDigit(rest[digits]) {
			return Packet{}, errID
		}
		p.HasID, p.ID, rest = true, id, rest[digits:]
	}

	if len(rest) > 0 {
		p.Data = rest[:len(rest):len(rest)]
	}
	return p, nil
}

// AppendHead appends everything of a packet that precedes the JSON. The number of attachments is left out unless t is
// a binary type, the namespace if it is "/" or empty.
func AppendHead(dst []byte, t Type, attachments int, namespace string, hasID bool, id uint64) []byte {
	dst = append(dst, byte(t))
	if isBinary(t) {
		dst = append(strconv.AppendInt(dst, int64(attachments), 10), '-')
	}
	if len(namespace) > 1 {
		dst = append(append(dst, namespace...), ',')
	}
	if hasID {
		dst = strconv.AppendUint(dst, id, 10)
	}
	return dst
}

func isBinary(t Type) bool { return t == BinaryEvent || t == BinaryAck }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// leadingNumber reads the decimal digits at the start of text, at most `most` of them (19 or fewer, so that n does not
// overflow), and returns their value and number.
func leadingNumber(text []byte, most int) (n uint64, digits int) {
	for digits < len(text) && digits < most && isDigit(text[digits]) {
		n = n*10 + uint64(text[digits]-'0')
		digits++
	}
	return n, digits
}
