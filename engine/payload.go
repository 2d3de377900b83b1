package engine

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"partyline/internal/accept"
	"partyline/wire/eio"
)

const (
	// gzipFrom is the size in bytes from which a polling reply is compressed (reference: httpCompression.threshold).
	gzipFrom = 1024
	// gzipCost is the memory of a gzip.Writer, in bytes.
	gzipCost = 820 << 10
	// encodeStep is how many bytes of a binary packet are encoded at once; a multiple of 3.
	encodeStep = 1536
)

var (
	gzipWriters    = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	payloadWriters = sync.Pool{New: func() any { return bufio.NewWriter(nil) }}
)

// payload is the reply to a poll. It is encoded while it is written: a client that reads slowly would otherwise cost
// its queue twice.
type payload struct {
	frames []*Frame
	ending bool // the close packet is the last
}

// size returns the size in bytes, and whether the payload may be compressed.
func (p payload) size() (size int, compress bool) {
	p.each(func(data []byte, binary bool) {
		if size += len(data) + 1; binary {
			size += 1 + base64.StdEncoding.EncodedLen(len(data)) - len(data)
		}
	})
	compress = slices.ContainsFunc(p.frames, func(f *Frame) bool { return !f.plain && f.packets > 0 })
	return max(0, size-1), compress // one separator less than packets
}

// each calls packet for each packet, with its content as in a WebSocket message.
func (p payload) each(packet func(data []byte, binary bool)) {
	for _, f := range p.frames {
		for ws := f.ws; len(ws) > 0 && f.packets > 0; { // none of them in a control frame of WebSocket
			head, size := wsHead(ws)
			packet(ws[head:head+size], ws[0] == wsBinary)
			ws = ws[head+size:]
		}
	}
	if p.ending {
		packet([]byte{byte(eio.Close)}, false)
	}
}

// write encodes the payload. An error of out ends it: the next request, or the heartbeat, shows that a client is gone.
func (p payload) write(out io.Writer) {
	w := payloadWriters.Get().(*bufio.Writer)
	w.Reset(out)
	first := true
	p.each(func(data []byte, binary bool) {
		if !first {
			_ = w.WriteByte(eio.Separator)
		}
		if first = false; !binary {
			_, _ = w.Write(data)
			return
		}
		_, _ = w.Write(eio.Append(nil, eio.Packet{Type: eio.Message, Binary: true}))
		for part := range slices.Chunk(data, encodeStep) {
			if w.Available() < base64.StdEncoding.EncodedLen(encodeStep) {
				_ = w.Flush()
			}
			_, _ = w.Write(base64.StdEncoding.AppendEncode(w.AvailableBuffer(), part))
		}
	})
	_ = w.Flush()
	w.Reset(nil)
	payloadWriters.Put(w)
}

// writePayload sends a polling reply and returns its size in bytes before compression. It is compressed if the session
// has the memory for that. s may be nil.
func (s *Session) writePayload(w http.ResponseWriter, r *http.Request, p payload) int {
	size, compress := p.size()
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	if compress && size >= gzipFrom && accept.Gzip(r.Header) && s.tryCharge(gzipCost) {
		h.Set("Content-Encoding", "gzip")
		z := gzipWriters.Get().(*gzip.Writer)
		z.Reset(w)
		p.write(z)
		_ = z.Close()
		gzipWriters.Put(z)
		s.Charge(-gzipCost)
	} else {
		h.Set("Content-Length", strconv.Itoa(size))
		p.write(w)
	}
	return size
}
