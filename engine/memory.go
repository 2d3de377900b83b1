package engine

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"
)

const (
	// lookEvery is how often the memory of the process is looked at. The look takes some microseconds.
	lookEvery = 100 * time.Millisecond
	// fullFrom is the share of the limit from which no session may begin.
	fullFrom = 0.9
	// leastLarge is what a session must cost to be closed for it, in bytes. Idle ones would come back at once.
	leastLarge = 16 << 10
)

// errMemory is read by a client whose session does not begin.
var errMemory = errors.New("too little memory, try again later")

// GuardMemory keeps the memory of the process below limit, in bytes, until ctx ends: from fullFrom of it on no session
// begins, and above it the sessions that cost most are closed. Only what is live counts, so Go's own memory limit must
// not be larger, or garbage takes more.
func (s *Server) GuardMemory(ctx context.Context, limit uint64) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var usage usage
	freedBy := uint64(0) // the collection that finds the memory of closed sessions free
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		usage.read()
		if usage.used > limit && usage.collections < freedBy {
			runtime.GC()
			usage.read()
		}
		full := uint64(fullFrom * float64(limit))
		if usage.used > limit {
			closed := s.closeLargest(usage.used - full)
			freedBy = usage.collections + 2 // one may be under way
			s.origins.complaints.Log(slog.LevelWarn, "memory is short, closing the sessions that cost most", "", "",
				"used", usage.used, "limits.memory", limit, "closed", closed)
		} else if usage.used > full {
			s.origins.complaints.Log(slog.LevelWarn, "memory is short, refusing new sessions", "", "",
				"used", usage.used, "limits.memory", limit)
		}
		s.full.Store(usage.used > full)
	}
}

// closeLargest closes the sessions that cost most, until they cost enough bytes together, and returns their number.
func (s *Server) closeLargest(enough uint64) (closed int) {
	type costs struct {
		session *Session
		bytes   int
	}
	var all []costs
	for _, session := range s.all() {
		session.mu.Lock()
		if bytes := session.queue.cost(); bytes >= leastLarge && session.queue.exceeded == noLimit {
			all = append(all, costs{session, bytes})
		}
		session.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b costs) int { return cmp.Compare(b.bytes, a.bytes) })
	freed := 0
	for _, c := range all {
		if uint64(freed) >= enough {
			break
		}
		freed += c.bytes
		closed++
		c.session.mu.Lock()
		c.session.overflow(limitMemory)
		c.session.mu.Unlock()
	}
	return closed
}

// usage reads what the process uses.
type usage struct {
	used        uint64 // bytes that were live at the last collection, and what Go needs besides the heap
	collections uint64
	samples     []metrics.Sample
}

// What read asks for, in this order.
var usageNames = []string{
	"/gc/cycles/total:gc-cycles", "/gc/heap/live:bytes", "/memory/classes/total:bytes", "/memory/classes/heap/objects:bytes",
	"/memory/classes/heap/free:bytes", "/memory/classes/heap/unused:bytes", "/memory/classes/heap/released:bytes",
}

func (u *usage) read() {
	if u.samples == nil {
		for _, name := range usageNames {
			u.samples = append(u.samples, metrics.Sample{Name: name})
		}
	}
	metrics.Read(u.samples)
	value := func(i int) uint64 { return u.samples[i].Value.Uint64() }
	u.collections = value(0)
	u.used = value(1) + value(2) - value(3) - value(4) - value(5) - value(6)
}
