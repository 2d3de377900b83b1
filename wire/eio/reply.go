package eio

import (
	"encoding/base64"
	"io"
	"slices"

	"partyline/wire/ws"
)

var (
	payloadSeparator = []byte{Separator}
	binaryHead       = []byte{binaryMark}
)

// Payload is the reply to a poll, as a polling payload. It is encoded while it is written: a client that reads slowly
// would otherwise cost its queue twice.
type Payload struct {
	Frames []*Frame
	IsLast bool // the close packet ends it
}

// Size returns the size in bytes, and whether the payload may be compressed.
func (p Payload) Size() (size int, compress bool) {
	p.each(func(data []byte, binary bool) {
		if size += len(data) + 1; binary {
			size += 1 + base64.StdEncoding.EncodedLen(len(data)) - len(data)
		}
	})
	compress = slices.ContainsFunc(p.Frames, func(f *Frame) bool { return !f.plain && f.packets > 0 })
	return max(0, size-1), compress // one separator less than packets
}

// each calls packet for each packet, with its content as in a WebSocket message.
func (p Payload) each(packet func(data []byte, binary bool)) {
	for _, f := range p.Frames {
		for frames := f.ws; len(frames) > 0 && f.packets > 0; { // none of them in a control frame of WebSocket
			content, rest := ws.Next(frames)
			packet(content, frames[0] == ws.Binary)
			frames = rest
		}
	}
	if p.IsLast {
		packet([]byte{byte(Close)}, false)
	}
}

// Write encodes the payload. An error of out ends it: the next request, or the heartbeat, shows that a client is gone.
func (p Payload) Write(out io.Writer) {
	var separator []byte
	p.each(func(data []byte, binary bool) {
		_, _ = out.Write(separator)
		separator = payloadSeparator
		if !binary {
			_, _ = out.Write(data)
			return
		}
		_, _ = out.Write(binaryHead)
		encoder := base64.NewEncoder(base64.StdEncoding, out)
		_, _ = encoder.Write(data)
		_ = encoder.Close()
	})
}
