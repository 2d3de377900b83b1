package engine

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"

	"partyline/internal/buffers"
	"partyline/internal/memory"
	"partyline/wire/eio"
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
// keeps because of the client, with the place that it takes: structs, list slots. If that and the queue together
// exceed Settings.SessionBytes, Charge returns false, and the session ends on another goroutine. The bytes count
// nevertheless until they are taken back. Charge takes the session's own lock only, so the caller may hold its own.
func (s *Session) Charge(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.kept += n
	if n <= 0 || s.queue.cost() <= s.server.set().SessionBytes {
		return true
	}
	s.overflow(limitSessionBytes)
	return false
}

// tryCharge is Charge for what the session can do without: if n bytes do not fit, they do not count, and the session
// goes on.
func (s *Session) tryCharge(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	fits := s.queue.cost()+n <= s.server.set().SessionBytes
	if fits {
		s.queue.kept += n
	}
	return fits
}

// cost returns the memory that the session costs more than an idle one, in bytes.
func (q *queue) cost() int { return q.kept + q.bytes }

// exceededBy returns the limit that a frame would exceed.
func (q *queue) exceededBy(f *eio.Frame, set *settings) limit {
	switch size := f.Size(); {
	case q.bytes+size > set.QueueBytes:
		return limitQueueBytes
	case q.packets+f.Places() > set.QueuePackets:
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

// readAll reads a message of the client to its end, behind buf, which must not be used any more. It charges what that
// takes beyond cap(buf) to the session meanwhile. If it does not fit, it returns errTooMuch, and the session ends.
func (s *Session) readAll(r io.Reader, buf []byte) (all []byte, err error) {
	free := cap(buf)
	for err == nil {
		if before := cap(buf); len(buf) == before {
			buf = buffers.Grow(buf, s.maxPayload)
			if !s.Charge(cap(buf) - before) {
				err = errTooMuch
				break
			}
		}
		var n int
		n, err = r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
	}
	if charged := cap(buf) - free; charged > 0 {
		s.Charge(-charged)
	}
	if err == io.EOF {
		err = nil
	}
	return buf, err
}

const (
	// fullFrom is the share of the limit from which no session may begin.
	fullFrom = 0.9
	// leastLarge is what a session must cost to be closed for it, in bytes. Idle ones would come back at once.
	leastLarge = 16 << 10
)

// GuardMemory keeps the memory of the process below limit, in bytes, until ctx ends: from fullFrom of it on no session
// begins, and above it the sessions that cost most are closed. Only what is live counts, so Go's own memory limit must
// not be larger, or garbage takes more.
func (s *Server) GuardMemory(ctx context.Context, limit uint64) {
	full, log := uint64(fullFrom*float64(limit)), s.complaints
	memory.Watch(ctx, limit, func(used uint64) {
		if used > limit {
			closed := s.closeLargest(used - full)
			log.Log(slog.LevelWarn, "memory is short, closing the sessions that cost most", "", "",
				"used", used, "limits.memory", limit, "closed", closed)
		} else if used > full {
			log.Log(slog.LevelWarn, "memory is short, refusing new sessions", "", "", "used", used, "limits.memory", limit)
		}
		s.full.Store(used > full)
	})
}

// closeLargest closes the sessions that cost most, until they cost enough bytes together, and returns their number.
func (s *Server) closeLargest(enough uint64) (closed int) {
	costs := make(map[*Session]int)
	for _, session := range s.all() {
		session.mu.Lock()
		if bytes := session.queue.cost(); bytes >= leastLarge && session.queue.exceeded == noLimit {
			costs[session] = bytes
		}
		session.mu.Unlock()
	}
	freed := uint64(0)
	for _, session := range slices.SortedFunc(maps.Keys(costs), func(a, b *Session) int { return costs[b] - costs[a] }) {
		if freed >= enough {
			break
		}
		freed += uint64(costs[session])
		closed++
		session.mu.Lock()
		session.overflow(limitMemory)
		session.mu.Unlock()
	}
	return closed
}
