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
// Parse looks at the head only. The JSON stays raw, so that it can be passed on byte for byte; whether it is valid, of the
// shape that its type asks for and in agreement with the attachments is for another layer to check.
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

// The errors of Parse. The reference ends the session on what it cannot decode, with the reason "forced close".
var (
	// ErrType is returned for an empty packet and for an unknown type.
	ErrType = errors.New("sio: unknown packet type")
	// ErrAttachments is returned if a binary packet does not say how many attachments follow, or says 0 or more than
	// MaxAttachments.
	ErrAttachments = errors.New("sio: number of attachments missing or out of range")
	// ErrID is returned for an ack id above MaxID, or of more digits than that has.
	ErrID = errors.New("sio: ack id out of range")
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

// Packet is one Socket.IO packet without its attachments, which follow it as binary messages.
type Packet struct {
	Type Type
	// Attachments is the number of binary messages that follow: 1 to MaxAttachments for the two binary types, else 0.
	Attachments int
	// Namespace begins with a slash. After Parse it is a part of the text, valid as long as that is, or a shared "/" if the
	// packet names none: not to be written to in either case. Append takes an empty one for "/".
	Namespace []byte
	// HasID says that there is an ID, the number that an event's sender wants to see again in the ack. Parse finds both with
	// any type, as the reference does.
	HasID bool
	ID    uint64
	// Data is the raw JSON, not checked, nil if there is none. After Parse it is a part of the text, valid as long as that is.
	Data []byte
}

var rootNamespace = []byte("/")

// Parse reads the head of one packet, as far as the JSON. Namespace and Data alias text. The errors are ErrType,
// ErrAttachments and ErrID. It never allocates, and reads no further than the end of the head.
func Parse(text []byte) (Packet, error) {
	if len(text) == 0 || Type(text[0]) < Connect || Type(text[0]) > BinaryAck {
		return Packet{}, ErrType
	}
	p := Packet{Type: Type(text[0]), Namespace: rootNamespace}
	rest := text[1:]

	if isBinary(p.Type) {
		n, digits := leadingNumber(rest, maxAttachmentsDigits)
		if n < 1 || n > MaxAttachments || digits == len(rest) || rest[digits] != '-' {
			return Packet{}, ErrAttachments
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
			return Packet{}, ErrID
		}
		p.HasID, p.ID, rest = true, id, rest[digits:]
	}

	if len(rest) > 0 {
		p.Data = rest[:len(rest):len(rest)]
	}
	return p, nil
}

// Append appends the text of p to dst and returns it. For Parse to read the same again, Namespace must hold no comma, ID be
// at most MaxID, and Data be JSON that is an array, an object or a string, as it is in every packet of the protocol.
func Append(dst []byte, p Packet) []byte {
	dst = appendType(dst, p.Type, p.Attachments)
	if len(p.Namespace) > 1 {
		dst = append(append(dst, p.Namespace...), ',')
	}
	return append(appendID(dst, p.HasID, p.ID), p.Data...)
}

// AppendHead appends all of a packet that stands before the JSON to dst and returns it, for a sender that has no Packet.
// The attachments are left out unless t is a binary type, the namespace if it is "/" or empty.
func AppendHead(dst []byte, t Type, attachments int, namespace string, hasID bool, id uint64) []byte {
	dst = appendType(dst, t, attachments) // not generic code, which would make the callers' buffers escape to the heap
	if len(namespace) > 1 {
		dst = append(append(dst, namespace...), ',')
	}
	return appendID(dst, hasID, id)
}

func appendType(dst []byte, t Type, attachments int) []byte {
	dst = append(dst, byte(t))
	if isBinary(t) {
		dst = append(strconv.AppendInt(dst, int64(attachments), 10), '-')
	}
	return dst
}

func appendID(dst []byte, hasID bool, id uint64) []byte {
	if hasID {
		dst = strconv.AppendUint(dst, id, 10)
	}
	return dst
}

func isBinary(t Type) bool { return t == BinaryEvent || t == BinaryAck }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// leadingNumber reads the decimal digits that text begins with, at most `most` of them (19 or fewer, so that n does not
// overflow), and says how many they are.
func leadingNumber(text []byte, most int) (n uint64, digits int) {
	for digits < len(text) && digits < most && isDigit(text[digits]) {
		n = n*10 + uint64(text[digits]-'0')
		digits++
	}
	return n, digits
}
