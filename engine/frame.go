package engine

import (
	"encoding/binary"

	"partyline/wire/eio"
)

// WebSocket frame heads that a server sends (RFC 6455, section 5.2): final frames, never masked.
const (
	wsText   = 0x81
	wsBinary = 0x82
	wsClose  = 0x88
	wsPong   = 0x8A
)

// Frame is one Engine.IO packet, or a message with the binary packets that belong to it. It is encoded once and shared
// by all sessions that get it. It is one unit in a queue: no other frame comes between a message and its attachments.
//
// The WebSocket form is made here and not by gorilla/websocket because it is written many times: a prepared message of
// gorilla costs a scratch connection with a 4 KiB buffer each, and could not be joined with others into one write.
type Frame struct {
	ws       []byte // WebSocket frames, one behind the other; static
	volatile bool   // static
	plain    bool   // static: never compress
	packets  int    // static: Engine.IO packets; 0 for control frames of WebSocket
}

// Options of a message.
type Options struct {
	Volatile      bool // may be dropped when the session is not idle
	NoCompression bool // keep a polling reply uncompressed
}

// NewMessage makes a message of the Socket.IO packet head+body and its attachments. All of them are copied.
func NewMessage(head, body []byte, attachments [][]byte, o Options) *Frame {
	f := &Frame{volatile: o.Volatile, plain: o.NoCompression, packets: 1}
	text := 1 + len(head) + len(body)
	size := wsHeadSize + text
	for _, a := range attachments {
		size += wsHeadSize + len(a)
	}
	f.ws = append(appendWSHead(make([]byte, 0, size), wsText, text), byte(eio.Message))
	f.ws = append(append(f.ws, head...), body...)
	for _, a := range attachments {
		f.ws = append(appendWSHead(f.ws, wsBinary, len(a)), a...)
	}
	return f
}

// NewBinaryMessage makes a message that is one binary packet. data is copied.
func NewBinaryMessage(data []byte, o Options) *Frame {
	b := appendWSHead(make([]byte, 0, wsHeadSize+len(data)), wsBinary, len(data))
	return &Frame{ws: append(b, data...), volatile: o.Volatile, plain: o.NoCompression, packets: 1}
}

// Join makes one frame of several messages, none of which may be volatile. It costs each receiver one place in a queue
// and one write. The delivery of a message in a frame of sixteen takes a thirteenth of the time of a single one
// (BenchmarkDelivery).
func Join(parts []*Frame) *Frame {
	if len(parts) == 1 {
		return parts[0]
	}
	f, size := &Frame{plain: true}, 0
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
	b := appendWSHead(make([]byte, 0, wsHeadSize+len(text)), wsText, len(text))
	return &Frame{ws: append(b, text...), packets: 1}
}

// frameCost is the memory of a frame without its bytes: the Frame, its places in a queue, which grows by doubling, and
// what the allocator adds. A pong of two bytes costs fifty times its bytes.
const frameCost = 96

// Size returns what the frame counts in a queue: the memory that it costs, in bytes.
func (f *Frame) Size() int { return frameCost + len(f.ws) }

// places returns how many packets the frame counts in a queue.
func (f *Frame) places() int { return max(1, f.packets) }

// Messages returns how many messages the frame has.
func (f *Frame) Messages() int { return f.packets }

// Frames without content are the same for all sessions.
var (
	pingFrame  = newPacket("2")
	noopFrame  = newPacket("6")
	probeFrame = newPacket("3probe")
	closeFrame = &Frame{ws: []byte{wsClose, 0}}
)

// wsHeadSize is the most that a frame head takes, in bytes.
const wsHeadSize = 10

// wsHead reads a frame head that appendWSHead has written, and returns its size and the size of the content.
func wsHead(ws []byte) (head, size int) {
	switch n := int(ws[1]); n {
	case 126:
		return 4, int(binary.BigEndian.Uint16(ws[2:]))
	case 127:
		return 10, int(binary.BigEndian.Uint64(ws[2:]))
	default:
		return 2, n
	}
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
