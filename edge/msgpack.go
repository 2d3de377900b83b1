package edge

import (
	"errors"
	"sync"

	"partyline/wire/msg"
	"partyline/wire/msgpack"
)

// dialect is how a client writes its packets, which is for its first message to show: with socket.io-msgpack-parser each
// packet is one binary message, with the default parser the first one, CONNECT, is text.
type dialect uint8

const (
	unheard       dialect = iota // the client has said nothing, and nothing is sent to it
	speaksJSON                   // the default parser
	speaksMsgpack                // socket.io-msgpack-parser
	dialects
)

// hears is the client's dialect; at the first message, it learns it.
func (c *connection) hears(binary bool) dialect {
	if c.dialect == unheard {
		c.dialect = speaksJSON
		if binary {
			c.dialect = speaksMsgpack
		}
	}
	return c.dialect
}

// errTextPacked ends a session of the msgpack parser, which ends on text in the reference, too.
var errTextPacked = errors.New("text from a client that began with msgpack")

// unpack takes one message of a client that speaks msgpack, and goes on as if a JSON client had sent it.
func (c *connection) unpack(message []byte, binary bool) {
	if !binary {
		c.invalid(errTextPacked)
		return
	}
	buffer := takeBuffer()
	p, attachments, err := msgpack.Parse(*buffer, message, c.edge.set.MaxPayload())
	defer giveBack(buffer, p.Data)
	if errors.Is(err, msgpack.ErrTooLarge) {
		err = errEventTooBig
	}
	if err == nil && len(attachments) > 0 { // the client may have written placeholders of its own
		err = msg.CheckPlaceholders(p.Data, len(attachments))
	}
	if err != nil {
		c.invalid(err)
		return
	}
	c.packet(p, attachments)
}

// buffers are for a packet's other form, which is needed for a moment only.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

// takeBuffer takes an empty buffer from the pool.
func takeBuffer() *[]byte { return buffers.Get().(*[]byte) }

// giveBack puts a buffer back, or what it has grown to.
func giveBack(buffer *[]byte, grown []byte) {
	if cap(grown) > cap(*buffer) && cap(grown) <= 64<<10 { // a pool of megabytes would stay
		*buffer = grown[:0]
	}
	buffers.Put(buffer)
}
