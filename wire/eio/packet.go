// Package eio reads and writes the packets of Engine.IO v4, the layer that carries Socket.IO over WebSocket and HTTP
// long-polling.
//
// A packet is one byte for its type and then its data. How it travels depends on the transport:
//
//	WebSocket  text frame     <type><data>                      Parse, Append
//	           binary frame   <data>                            a binary message, no codec needed
//	polling    payload        <packet> 1E <packet> 1E …         Next, AppendPayload
//	                          <packet> = <type><data> | b<base64 of a binary message>
//
// The first packet of a session is the server's open packet, a Handshake as JSON. A request that the server turns away is
// answered with a Refusal.
//
// The codec looks at types, separators and base64 only: what a message says, and whether it is UTF-8, is for the layer
// above. Nothing here allocates except where the destination has to grow, and in the handshake.
//
// Source: Engine.IO protocol, revision 4 (https://github.com/socketio/engine.io-protocol), and the behaviour of
// engine.io-parser 5.2.
package eio

import (
	"encoding/base64"
	"errors"
)

// ErrPacket is returned for a packet that is empty, is of an unknown type, or is a binary message whose base64 is broken.
// The reference ends the session on it, with the reason "parse error".
var ErrPacket = errors.New("eio: packet is empty, of an unknown type, or not base64")

// Type is the first byte of a packet, as it stands on the wire.
type Type byte

// The packet types of the protocol, section "Packet types".
const (
	Open    Type = '0' // server to client: the Handshake
	Close   Type = '1' // either way: this transport can be closed
	Ping    Type = '2' // server to client; with "probe", client to server, in an upgrade
	Pong    Type = '3' // client to server; with "probe", server to client, in an upgrade
	Message Type = '4' // either way: a Socket.IO packet, or one of its attachments
	Upgrade Type = '5' // client to server: the upgrade is complete
	Noop    Type = '6' // server to client: ends a poll that hangs during an upgrade
)

// binaryMark stands in place of a type before a binary message that travels as text.
const binaryMark = 'b'

// Packet is one Engine.IO packet.
type Packet struct {
	// Type is one of the seven constants; Message for a binary message.
	Type Type
	// Binary marks a binary message: a whole WebSocket binary frame, or 'b' and base64 in text.
	Binary bool
	// Data is what follows the type, the decoded bytes for a binary message. It may be empty. After Parse and Next it is a
	// part of their argument, and valid as long as that is.
	Data []byte
}

// Parse reads one text frame. Data aliases frame; base64 is decoded in place, so frame is overwritten, also when that
// fails. The only error is ErrPacket.
func Parse(frame []byte) (Packet, error) {
	if len(frame) == 0 {
		return Packet{}, ErrPacket
	}
	data := frame[1:len(frame):len(frame)]
	switch t := Type(frame[0]); {
	case t >= Open && t <= Noop:
		return Packet{Type: t, Data: data}, nil
	case t == binaryMark:
		decoded, ok := decodeBase64(data)
		if !ok {
			return Packet{}, ErrPacket
		}
		return Packet{Type: Message, Binary: true, Data: decoded}, nil
	}
	return Packet{}, ErrPacket
}

// Append appends the text form of p to dst and returns it: the type and the data, or 'b' and padded base64 for a binary
// message. On a WebSocket a binary message is the Data alone, in a binary frame.
func Append(dst []byte, p Packet) []byte {
	if p.Binary {
		return base64.StdEncoding.AppendEncode(append(dst, binaryMark), p.Data)
	}
	return append(append(dst, byte(p.Type)), p.Data...)
}
