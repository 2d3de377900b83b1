package edge

import (
	"errors"
	"fmt"
	"maps"

	"partyline/bus"
	"partyline/internal/buffers"
	"partyline/internal/tally"
	"partyline/wire/eio"
	"partyline/wire/msg"
	"partyline/wire/msgpack"
	"partyline/wire/sio"
)

// packet is one packet on its way to clients. It is encoded once for each dialect, for the first client that speaks
// it, and the frame is shared by the others. A packet belongs to one goroutine, and lives no longer than its body.
//
// All frames of the edge are made here, so that no client is sent a dialect that it does not speak.
type packet struct {
	kind        sio.Type // Event and Ack also with attachments
	namespace   string
	hasID       bool
	id          uint64
	body        []byte   // JSON that has been checked, nil for none
	attachments [][]byte // kept by frames; the placeholders in body are within their range
	options     eio.Options
	from        *bus.Message   // what it was made of, for complaints; nil for a packet of the edge's own
	sent        *tally.Counter // counts the packet once it has a frame; nil for none

	frames [dialects]*eio.Frame // nil until a client needs it
	failed [dialects]bool       // it cannot be sent in that dialect
}

// encodeFor encodes a packet for all the dialects of some sockets.
func (p *packet) encodeFor(sockets []*socket, limit int) error {
	for _, s := range sockets {
		if _, err := p.encoded(s.Edge.conn.dialect, limit); err != nil {
			return err
		}
	}
	return nil
}

// encoded is the packet in a dialect; limit is how many bytes a frame may have.
func (p *packet) encoded(d dialect, limit int) (*eio.Frame, error) {
	if p.frames[d] != nil {
		return p.frames[d], nil
	}
	var frame *eio.Frame
	if d == speaksMsgpack {
		var err error
		if frame, err = p.packed(limit); err != nil {
			return nil, err
		}
	} else {
		frame = p.text()
	}
	if frame.Size() > limit {
		return nil, fmt.Errorf("a packet of %d bytes is larger than what may wait for one client, %d bytes", frame.Size(), limit)
	}
	p.frames[d] = frame
	return frame, nil
}

// text makes the frame for JSON clients.
func (p *packet) text() *eio.Frame {
	kind := p.kind
	if len(p.attachments) > 0 {
		kind = kind.Binary()
	}
	var head [64]byte
	return eio.NewMessage(
		sio.AppendHead(head[:0], kind, len(p.attachments), p.namespace, p.hasID, p.id), p.body, p.attachments, p.options)
}

// packed makes the frame for msgpack clients.
func (p *packet) packed(limit int) (*eio.Frame, error) {
	lent := buffers.Room(len(p.body))
	message, err := msgpack.Append((*lent)[:0], sio.Packet{
		Type: p.kind, Namespace: []byte(p.namespace), HasID: p.hasID, ID: p.id, Data: p.body,
	}, p.attachments, limit)
	defer buffers.PutGrown(lent, message)
	if errors.Is(err, msgpack.ErrTooLarge) {
		return nil, fmt.Errorf("as msgpack, a packet is larger than what may wait for one client, %d bytes", limit)
	}
	if err != nil {
		return nil, err
	}
	return eio.NewBinaryMessage(message, p.options), nil
}

// pack returns a packet with its attachments as one body. Without attachments that is the text itself, and the header
// nil.
func pack(text []byte, attachments [][]byte) ([]byte, bus.Header) {
	if len(attachments) == 0 {
		return text, nil
	}
	body, lengths := msg.PackAttachments(text, attachments)
	return body, bus.Header{msg.HeaderAttachments: {lengths}}
}

// withHeader is a copy of a header with one more line, or several of a name.
func withHeader(h bus.Header, name string, values ...string) bus.Header {
	more := make(bus.Header, len(h)+1)
	maps.Copy(more, h)
	more[name] = values
	return more
}
