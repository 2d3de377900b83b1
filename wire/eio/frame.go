package eio

import "partyline/wire/ws"

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

// Options are those of a message.
type Options struct {
	Volatile      bool // may be dropped when the session is not idle
	NoCompression bool // keep a polling reply uncompressed
}

// NewMessage makes a message of the Socket.IO packet head+body and its attachments. All of them are copied.
func NewMessage(head, body []byte, attachments [][]byte, o Options) *Frame {
	f := &Frame{volatile: o.Volatile, plain: o.NoCompression, packets: 1}
	text := 1 + len(head) + len(body)
	size := ws.HeadSize + text
	for _, a := range attachments {
		size += ws.HeadSize + len(a)
	}
	f.ws = append(ws.AppendHead(make([]byte, 0, size), ws.Text, text), byte(Message))
	f.ws = append(append(f.ws, head...), body...)
	for _, a := range attachments {
		f.ws = append(ws.AppendHead(f.ws, ws.Binary, len(a)), a...)
	}
	return f
}

// NewBinaryMessage makes a message that is one binary packet. data is copied.
func NewBinaryMessage(data []byte, o Options) *Frame {
	return &Frame{ws: ws.Append(make([]byte, 0, ws.HeadSize+len(data)), ws.Binary, data), volatile: o.Volatile, plain: o.NoCompression, packets: 1}
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

// NewPacket makes a frame of any other Engine.IO packet from its text form.
func NewPacket(text string) *Frame {
	return &Frame{ws: ws.Append(nil, ws.Text, text), packets: 1}
}

// FrameCost is the memory of a frame without its bytes: the Frame, its places in a queue, which grows by doubling, and
// what the allocator adds. A pong of two bytes costs fifty times its bytes.
const FrameCost = 96

// Size returns what the frame counts in a queue: the memory that it costs, in bytes.
func (f *Frame) Size() int { return FrameCost + len(f.ws) }

// Places returns how many packets the frame counts in a queue.
func (f *Frame) Places() int { return max(1, f.packets) }

// Messages returns how many messages the frame has.
func (f *Frame) Messages() int { return f.packets }

// NewControl makes a WebSocket control frame, with one of the first bytes of package ws; payload has at most 125
// bytes. A client that polls gets none.
func NewControl(first byte, payload string) *Frame {
	return &Frame{ws: ws.Append(nil, first, payload)}
}

// NewRaw makes a frame of bytes that stand in front of WebSocket frames, or are some. The frame keeps them.
func NewRaw(raw []byte) *Frame { return &Frame{ws: raw} }

// WS returns the frame as WebSocket frames. They must not be changed.
func (f *Frame) WS() []byte { return f.ws }

// IsVolatile reports whether the frame may be dropped.
func (f *Frame) IsVolatile() bool { return f.volatile }
