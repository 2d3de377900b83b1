package edge

import (
	"sync"
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

// buffers are for a packet's other form, which is needed only while it is handled.
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
