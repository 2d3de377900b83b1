package engine

import (
	"encoding/base64"
	"encoding/binary"
	"sync"

	"partyline/wire/eio"
)

// WebSocket frame heads that a server sends (RFC 6455, section 5.2): final frames, never masked.
const (
	wsText   = 0x81
	wsBinary = 0x82
	wsClose  = 0x88
	wsPong   = 0x8A
)

// Frame is one Engine.IO packet, or a message with the binary packets that belong to it, encoded once and shared by all
// sessions that get it. It is one unit in a queue: nothing comes between a message and its attachments.
//
// The WebSocket form is made here rather than by gorilla/websocket because it is written many times: a prepared message
// of gorilla costs a scratch connection with a 4 KiB buffer each, and could not be joined with others into one write.
type Frame struct {
	ws          []byte    // WebSocket frames, one behind the other; static
	text        []byte    // the first packet in its text form, a part of ws; static; nil for WebSocket control frames, empty if all is binary
	attachments [][]byte  // static
	volatile    bool      // static
	plain       bool      // static: never compress
	packets     int       // static: how many count in a queue; 0 for control frames
	parts       []*Frame  // static: of which a joined frame consists; nil for others
	once        sync.Once // guards polling
	polling     []byte    // the packets as a polling payload, made when the first polling session needs it
}

// Options of a message.
type Options struct {
	Volatile      bool // may be dropped when the session is not idle
	NoCompression bool // keep a polling reply uncompressed
}

// NewMessage makes a message out of the Socket.IO packet head+body and its attachments. head and body are copied; the
// attachments are not and must not change as long as the frame lives.
func NewMessage(head, body []byte, attachments [][]byte, o Options) *Frame {
	f := &Frame{attachments: attachments, volatile: o.Volatile, plain: o.NoCompression, packets: 1}
	text := 1 + len(head) + len(body)
	size := wsHeadSize(text) + text
	for _, a := range attachments {
		size += wsHeadSize(len(a)) + len(a)
	}
	b := appendWSHead(make([]byte, 0, size), wsText, text)
	start := len(b)
	b = append(b, byte(eio.Message))
	b = append(b, head...)
	b = append(b, body...)
	end := len(b)
	for _, a := range attachments {
		b = append(appendWSHead(b, wsBinary, len(a)), a...)
	}
	f.ws, f.text = b, b[start:end:end]
	return f
}

// NewBinaryMessage makes a message that is one binary packet. data is copied.
func NewBinaryMessage(data []byte, o Options) *Frame {
	b := appendWSHead(make([]byte, 0, wsHeadSize(len(data))+len(data)), wsBinary, len(data))
	start := len(b)
	b = append(b, data...)
	return &Frame{
		ws: b, text: b[:0], attachments: [][]byte{b[start:]}, volatile: o.Volatile, plain: o.NoCompression, packets: 1,
	}
}

// Join makes one frame of several messages, of which none may be volatile: a room that is sent them one behind the other
// costs each of its members one place in a queue and one write. Sixteen joined messages take a delivery a thirteenth of
// the time of one (BenchmarkDelivery).
func Join(parts []*Frame) *Frame {
	if len(parts) == 1 {
		return parts[0]
	}
	f, size := &Frame{parts: parts, plain: true}, 0
	for _, p := range parts {
		size += len(p.ws)
		f.packets += p.packets
		f.plain = f.plain && p.plain
	}
	f.ws = make([]byte, 0, size)
	for _, p := range parts {
		f.ws = append(f.ws, p.ws...)
	}
	return f
}

// newPacket makes a frame of any other Engine.IO packet from its text form.
func newPacket(text string) *Frame {
	b := appendWSHead(make([]byte, 0, 4+len(text)), wsText, len(text))
	start := len(b)
	b = append(b, text...)
	return &Frame{ws: b, text: b[start:], packets: 1}
}

// Size is what the frame counts in a queue, in bytes.
func (f *Frame) Size() int { return len(f.ws) }

// Messages is how many messages the frame is.
func (f *Frame) Messages() int { return f.packets }

// payload is the frame as packets of a polling reply.
func (f *Frame) payload() []byte {
	if len(f.attachments) == 0 && f.parts == nil {
		return f.text
	}
	f.once.Do(func() {
		for i, p := range f.parts {
			if i > 0 {
				f.polling = append(f.polling, eio.Separator)
			}
			f.polling = append(f.polling, p.payload()...)
		}
		if f.parts != nil {
			return
		}
		size := len(f.text)
		for _, a := range f.attachments {
			size += 2 + base64.StdEncoding.EncodedLen(len(a))
		}
		b := append(make([]byte, 0, size), f.text...)
		for _, a := range f.attachments {
			if len(b) > 0 {
				b = append(b, eio.Separator)
			}
			b = eio.Append(b, eio.Packet{Type: eio.Message, Binary: true, Data: a})
		}
		f.polling = b
	})
	return f.polling
}

// Frames without content are the same for everyone.
var (
	pingFrame  = newPacket("2")
	noopFrame  = newPacket("6")
	probeFrame = newPacket("3probe")
	closeFrame = &Frame{ws: []byte{wsClose, 0}}
)

func wsHeadSize(n int) int {
	switch {
	case n < 126:
		return 2
	case n < 1<<16:
		return 4
	}
	return 10
}

func appendWSHead(dst []byte, first byte, n int) []byte {
	switch {
	case n < 126:
		return append(dst, first, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
}

// controlFrame makes a WebSocket control frame; payload has at most 125 bytes.
func controlFrame(first byte, payload string) *Frame {
	return &Frame{ws: append(appendWSHead(nil, first, len(payload)), payload...)}
}
