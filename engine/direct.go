package engine

import (
	"sync"

	"partyline/internal/direct"
)

// maxJoined is how many bytes of frames a directWriter copies together for one write.
const maxJoined = 64 << 10

// directWriter writes to connections without waiting for their clients. It belongs to one goroutine at a time.
type directWriter struct {
	attempt func(fd uintptr) bool // write, bound once: a closure for each write would be an allocation
	data    []byte                // what attempt is to write
	n       int                   // bytes that it wrote
	err     error                 // why it could not; nil also for a client that does not take more now

	joined  []byte // scratch
	bytes   int    // written since the last count
	counted *stats // whose bytesOut they are
}

var directWriters = sync.Pool{New: func() any {
	w := new(directWriter)
	w.init()
	return w
}}

func (w *directWriter) init() { w.attempt = w.write }

// write is what the connection's descriptor is lent for. It always says that it is done: to say no would be to wait.
func (w *directWriter) write(fd uintptr) bool {
	n, err := direct.Write(fd, w.data)
	w.n, w.err = max(n, 0), err
	return true
}

// count adds what was written to the server's figures; once a round, because all processors write to this one word.
func (w *directWriter) count() {
	if w.bytes > 0 {
		w.counted.bytesOut.Add(w.bytes)
		w.bytes = 0
	}
}

// session writes what is queued for a session that a round has marked.
func (w *directWriter) session(s *Session) {
	s.mu.Lock()
	w.flush(s)
	s.mu.Unlock()
}

// flush writes what is queued for a session that a round has marked. What the client does not take now is left to a
// goroutine. The session's lock is held meanwhile: the write does not wait. Needs Session.mu.
func (w *directWriter) flush(s *Session) {
	if !s.dirty {
		return
	}
	s.dirty = false
	if s.conn == nil || s.conn.direct == nil || s.writing || s.state != open {
		s.flush()
		return
	}
	for len(s.queue) > 0 {
		data := w.pending(s)
		n, err := w.try(s.conn, data)
		w.bytes += n
		w.counted = &s.server.stats
		if err != nil {
			// The reader of the connection sees the same, and ends the session.
			s.drop(len(s.queue))
			s.conn.close()
			s.writeFailed()
			return
		}
		s.wrote(n)
		if n < len(data) {
			s.flush()
			return
		}
	}
}

// pending is the beginning of what is queued: valid until the next call, and at least one frame. Needs Session.mu.
func (w *directWriter) pending(s *Session) []byte {
	if len(s.queue) == 1 || len(s.queue[0].ws) > maxJoined {
		return s.queue[0].ws[s.written:]
	}
	w.joined = append(w.joined[:0], s.queue[0].ws[s.written:]...)
	for _, f := range s.queue[1:] {
		if len(w.joined)+len(f.ws) > maxJoined {
			break
		}
		w.joined = append(w.joined, f.ws...)
	}
	return w.joined
}

// try writes as much as the connection takes at once.
func (w *directWriter) try(c *wsConn, data []byte) (int, error) {
	w.data, w.n, w.err = data, 0, nil
	err := c.direct.Write(w.attempt)
	w.data = nil
	if err == nil {
		err = w.err
	}
	return w.n, err
}

// wrote takes bytes that have been written off the queue. Needs mu.
func (s *Session) wrote(n int) {
	n += s.written
	done := 0
	for done < len(s.queue) && n >= len(s.queue[done].ws) {
		n -= len(s.queue[done].ws)
		done++
	}
	s.drop(done)
	s.written = n
}

// drop takes the first frames off the queue. Needs mu.
func (s *Session) drop(frames int) {
	for _, f := range s.queue[:frames] {
		s.queued -= f.Size()
		s.queuedPackets -= f.packets
	}
	left := copy(s.queue, s.queue[frames:])
	clear(s.queue[left:])
	s.queue, s.written = s.queue[:left], 0
	if left == 0 && cap(s.queue) > keptQueue {
		s.queue = nil
	}
}
