package edge

import (
	"errors"
	"fmt"
	"math"

	"partyline/bus"
	"partyline/engine"
	"partyline/internal/tally"
	"partyline/wire/msgpack"
	"partyline/wire/sio"
)

// parcel is one packet on its way to clients. It is encoded once for each dialect, when the first client that speaks it
// is met, and the frame is shared by the others. A parcel belongs to one goroutine, and lives no longer than its body.
//
// All frames of the edge are made here, so that nobody is sent a dialect that he does not speak.
type parcel struct {
	kind        sio.Type // Event and Ack also with attachments
	namespace   string
	hasID       bool
	id          uint64
	body        []byte   // JSON that has been checked, nil for none
	attachments [][]byte // kept by frames; the placeholders in body are within their range
	options     engine.Options
	from        *bus.Message   // what it was made of, for complaints; nil for a packet of the edge's own
	sent        *tally.Counter // counts the parcel once it has a frame; nil for none

	forms  [dialects]*engine.Frame // nil until a client needs it
	failed [dialects]bool          // it cannot be sent in that dialect
}

// encode is the parcel of a message in a dialect. A form of it that cannot be sent at all is dropped like any other
// publish that cannot be right, and nil: larger than a session's whole queue, it could reach nobody, however idle, and
// would close every session that it is for.
func (e *Edge) encode(p *parcel, d dialect) *engine.Frame {
	if p.failed[d] {
		return nil
	}
	frame, err := p.encoded(d, e.set.QueueBytes)
	if err != nil {
		if p.failed == ([dialects]bool{}) { // a message counts once
			e.drop(p.from, dropBadBody, err)
		}
		p.failed[d] = true
		return nil
	}
	if p.sent != nil {
		p.sent.Inc()
		p.sent = nil
	}
	return frame
}

// frame is a packet of the edge's own, or with what the edge has checked whole, as its client wants it.
func (c *connection) frame(p *parcel) *engine.Frame {
	frame, err := p.encoded(c.dialect, math.MaxInt)
	if err != nil { // nothing that is valid JSON and has no attachments can come here
		c.edge.log.Error("a packet of the edge's own could not be encoded", "error", err)
		return engine.NewBinaryMessage(nil, engine.Options{})
	}
	return frame
}

// encodeFor encodes a parcel for all the dialects of some sockets.
func (p *parcel) encodeFor(sockets []*socket, limit int) error {
	for _, s := range sockets {
		if _, err := p.encoded(s.conn.dialect, limit); err != nil {
			return err
		}
	}
	return nil
}

// encoded is the parcel in a dialect; limit is how many bytes a frame may have.
func (p *parcel) encoded(d dialect, limit int) (*engine.Frame, error) {
	if p.forms[d] != nil {
		return p.forms[d], nil
	}
	var frame *engine.Frame
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
	p.forms[d] = frame
	return frame, nil
}

// text makes the frame for JSON clients.
func (p *parcel) text() *engine.Frame {
	kind := p.kind
	if len(p.attachments) > 0 {
		kind = kind.Binary()
	}
	var head [64]byte
	return engine.NewMessage(
		sio.AppendHead(head[:0], kind, len(p.attachments), p.namespace, p.hasID, p.id), p.body, p.attachments, p.options)
}

// packed makes the frame for msgpack clients.
func (p *parcel) packed(limit int) (*engine.Frame, error) {
	buffer := takeBuffer()
	message, err := msgpack.Append(*buffer, sio.Packet{
		Type: p.kind, Namespace: []byte(p.namespace), HasID: p.hasID, ID: p.id, Data: p.body,
	}, p.attachments, limit)
	defer giveBack(buffer, message)
	if errors.Is(err, msgpack.ErrTooLarge) {
		return nil, fmt.Errorf("as msgpack, a packet is larger than what may wait for one client, %d bytes", limit)
	}
	if err != nil {
		return nil, err
	}
	return engine.NewBinaryMessage(message, p.options), nil
}
