// Package eio reads and writes the packets of Engine.IO v4, the layer that carries Socket.IO over WebSocket and HTTP
// long-polling.
//
// A packet is one byte for its type and then its data. How it travels depends on the transport:
//
//	WebSocket  text frame     <type><data>                      Parse, Append
//	           binary frame   <data>                            a binary message, no codec needed
//	polling    payload        <packet> 1E <packet> 1E …         Next; Append and Separator
//	                          <packet> = <type><data> | b<base64 of a binary message>
//
// The first packet of a session is the server's open packet, a Handshake as JSON. A request that the server refuses is
// answered with a Refusal. A Frame is what the server sends to many sessions, encoded once for both transports. A
// Payload has frames as the reply to a poll.
//
// The codec checks types, separators and base64 only. It does not interpret messages, nor check that they are UTF-8.
// Nothing here allocates except to grow the destination, in the handshake, and for frames.
//
// Source: Engine.IO protocol, revision 4 (https://github.com/socketio/engine.io-protocol), and the behaviour of
// engine.io-parser 5.2.
package eio

import (
	"bytes"
	"encoding/base64"
	"errors"
)

// errPacket is returned for a packet that is empty, is of an unknown type, or is a binary message whose base64 is
// broken. The reference ends the session on it, with the reason "parse error".
var errPacket = errors.New("eio: packet is empty, of an unknown type, or not base64")

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

// binaryMark stands in place of the type in front of a binary message that is sent as text.
const binaryMark = 'b'

// Packet is one Engine.IO packet.
type Packet struct {
	// Type is one of the seven constants; Message for a binary message.
	Type Type
	// Binary marks a binary message: a whole WebSocket binary frame, or 'b' and base64 in text.
	Binary bool
	// Data is what follows the type, or the decoded bytes of a binary message. It may be empty. After Parse and Next
	// it is a part of their argument, and valid as long as that is.
	Data []byte
}

// Parse reads one text frame. Data aliases frame. Base64 is decoded in place, so frame is overwritten, also if that
// fails. Parse returns an error for an empty frame, an unknown type and invalid base64.
func Parse(frame []byte) (Packet, error) {
	if len(frame) == 0 {
		return Packet{}, errPacket
	}
	data := frame[1:len(frame):len(frame)]
	switch t := Type(frame[0]); {
	case t >= Open && t <= Noop:
		return Packet{Type: t, Data: data}, nil
	case t == binaryMark:
		decoded, ok := decodeBase64(data)
		if !ok {
			return Packet{}, errPacket
		}
		return Packet{Type: Message, Binary: true, Data: decoded}, nil
	}
	return Packet{}, errPacket
}

// Separator stands between the packets of a polling payload (protocol, section "Packet encoding", HTTP long-polling).
// JSON never contains this byte unescaped.
const Separator = 0x1e

// Next reads the first packet of a polling payload and returns what follows its separator. rest is nil after the last
// packet and after an error. An empty payload is an error, as is the empty packet behind a separator at the end. So
// call Next first and look at rest then:
//
//	for more := true; more; more = payload != nil {
//		p, payload, err = eio.Next(payload)
//		…
//	}
//
// Data aliases payload. Base64 is decoded in place, so that packet's part of payload is overwritten. As in the
// reference, the packets in front of a broken one count.
func Next(payload []byte) (p Packet, rest []byte, err error) {
	if end := bytes.IndexByte(payload, Separator); end >= 0 {
		payload, rest = payload[:end], payload[end+1:]
	}
	if p, err = Parse(payload); err != nil {
		return Packet{}, nil, err
	}
	return p, rest, nil
}

// decodeBase64 decodes b in place and returns the decoded part of it. It accepts what an encoder may write: either
// alphabet, padded to a multiple of four or not padded at all, no white space. The unused bits of the last digit are
// ignored.
func decodeBase64(b []byte) (decoded []byte, ok bool) {
	for i, c := range b {
		switch c {
		case '-':
			b[i] = '+'
		case '_':
			b[i] = '/'
		case '\r', '\n': // which encoding/base64 skips
			return nil, false
		}
	}
	if len(b)%4 == 0 {
		b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("=")), []byte("="))
	}
	// By way of a buffer: encoding/base64 does not promise that source and destination may overlap.
	var buffer [192]byte
	for left := b; len(left) > 0; {
		most := min(len(left), base64.RawStdEncoding.EncodedLen(len(buffer)))
		n, err := base64.RawStdEncoding.Decode(buffer[:], left[:most])
		if err != nil {
			return nil, false
		}
		decoded, left = append(b[:len(decoded)], buffer[:n]...), left[most:]
	}
	return decoded[:len(decoded):len(decoded)], true
}
