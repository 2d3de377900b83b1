package engine

import (
	"io"
	"slices"
)

// DefaultSessionBytes is how much memory a session may cost before it is closed.
const DefaultSessionBytes = 8 << 20

// limit names a limit of a session's memory.
type limit uint8

const (
	noLimit limit = iota
	limitQueueBytes
	limitQueuePackets
	limitSessionBytes
	limitMemory
	limits
)

// limitKeys are the keys of the configuration.
var limitKeys = [limits]string{
	noLimit:         "what waits for a socket",
	limitQueueBytes: "limits.queue_bytes", limitQueuePackets: "limits.queue_packets",
	limitSessionBytes: "limits.session_bytes", limitMemory: "limits.memory",
}

// Charge adds n bytes to what is kept for the session, or takes them back if n is negative. The caller counts what it
// keeps because of the client, with the place that it takes: structs, list slots. If that and the queue together exceed
// Settings.SessionBytes, Charge returns false, and the session ends on another goroutine. The bytes count nevertheless
// until they are taken back. Charge takes the session's own lock only, so the caller may hold its own.
func (s *Session) Charge(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.kept += n
	fits := n <= 0 || s.queue.cost() <= s.server.set.SessionBytes
	if !fits {
		s.overflow(limitSessionBytes)
	}
	return fits
}

// tryCharge is Charge for what the session can do without: if n bytes do not fit, they do not count, and the session
// goes on.
func (s *Session) tryCharge(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	fits := s.queue.cost()+n <= s.server.set.SessionBytes
	if fits {
		s.queue.kept += n
	}
	return fits
}

// cost returns the memory that the session costs more than an idle one, in bytes.
func (q *queue) cost() int { return q.kept + q.bytes }

// exceededBy returns the limit that a frame would exceed.
func (q *queue) exceededBy(f *Frame, set *Settings) limit {
	switch size := f.Size(); {
	case q.bytes+size > set.QueueBytes:
		return limitQueueBytes
	case q.packets+f.places() > set.QueuePackets:
		return limitQueuePackets
	case q.cost()+size > set.SessionBytes:
		return limitSessionBytes
	}
	return noLimit
}

// overflow ends the session, on another goroutine: the caller may hold locks that Closed takes. mu must be held.
func (s *Session) overflow(by limit) {
	if s.queue.exceeded == noLimit && s.state != closed {
		s.queue.exceeded = by
		s.server.stats.exceeded[by].Inc()
		s.server.running.Go(func() { s.fail(QueueOverflow) })
	}
}

// readAll reads a message of the client to its end, behind buf, and returns it. What it takes beyond the capacity of
// buf is charged to the session meanwhile. If that does not fit, it returns errTooMuch, and the session ends.
func (s *Session) readAll(r io.Reader, buf []byte) (all []byte, err error) {
	free, charged := cap(buf), 0
	for err == nil {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf)/2+minRead)
			more := cap(buf) - free - charged
			charged += more
			if !s.Charge(more) {
				err = errTooMuch
				break
			}
		}
		var n int
		n, err = r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
	}
	if charged > 0 {
		s.Charge(-charged)
	}
	if err == io.EOF {
		err = nil
	}
	return buf, err
}

// minRead is the least space that readAll makes.
const minRead = 512
