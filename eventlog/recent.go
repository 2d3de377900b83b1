package eventlog

import (
	"slices"
	"time"
)

// What a Recent remembers: so many messages, of so long. A new leader says sooner than that that it leads.
const (
	maxRecent  = 1 << 16 // half a megabyte, if so many come
	keepRecent = 4 * time.Second
)

// Recent is which messages of a log came lately to an edge. Only the leader of a log repeats. When another replica takes
// the lead, it repeats the end of what the leader before has stored, but not all of it, and says afterwards that it leads
// (nats-server, processJetStreamMsg): so what is missing may lie before what came. A Recent is owned by one goroutine.
// The zero value is ready.
type Recent struct {
	from uint64   // up to here nothing is remembered
	seqs []uint64 // ascending

	aged  time.Time
	older uint64 // where the log was then
}

// Add notes a message.
func (r *Recent) Add(seq uint64) {
	switch {
	case r.from == 0 && len(r.seqs) == 0:
		r.from = seq - 1
	case len(r.seqs) == maxRecent:
		r.Forget(r.seqs[maxRecent/2])
	}
	if i, has := slices.BinarySearch(r.seqs, seq); !has {
		r.seqs = slices.Insert(r.seqs, i, seq)
	}
}

// Lacks reports whether a message did not come. It is false also for one that is too old.
func (r *Recent) Lacks(seq uint64) bool {
	_, has := slices.BinarySearch(r.seqs, seq)
	return !has && seq > r.from
}

// Copy returns a copy.
func (r *Recent) Copy() *Recent {
	c := *r
	c.seqs = slices.Clone(r.seqs)
	return &c
}

// From is behind which sequence to look for what did not come: position, or an earlier one behind which it knows what
// came.
func (r *Recent) From(position uint64) uint64 {
	if len(r.seqs) == 0 {
		return position
	}
	return min(position, r.from)
}

// Forget forgets what came up to a sequence.
func (r *Recent) Forget(seq uint64) {
	i, has := slices.BinarySearch(r.seqs, seq)
	if has {
		i++
	}
	r.seqs = slices.Delete(r.seqs, 0, i)
	r.from = max(r.from, seq)
}

// Age forgets what is older than some seconds. Call it from time to time, with where the log is.
func (r *Recent) Age(now time.Time, seq uint64) {
	if now.Sub(r.aged) >= keepRecent {
		r.Forget(r.older)
		r.aged, r.older = now, seq
	}
}
