package engine

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// How a round is shared out. A write of a small frame takes about 6 µs, waking a processor for a helper about as much.
const (
	// shareFrom is how many sessions a helper must have to write to, to be worth it.
	shareFrom = 64
	// shareBy is how many a writer takes from the common list at once.
	shareBy = 16
)

// A Round is a way to send to many sessions in which the sender writes: Send queues, and Flush writes what is queued for
// each session, all of it in one write that does not wait. A goroutine of its own gets only a session whose client is slow to
// read. Sessions are shared out among helpers, one a processor, when there are many.
//
// Session.Send costs a goroutine for each delivery to an idle session, which is a quarter of what the delivery costs
// (BenchmarkDelivery); and a round that has several messages for a session costs it one write, which is nearly all of the
// rest (docs/performance.md).
//
// A Round belongs to one goroutine.
type Round struct {
	dirty   []*Session // sessions with something to write that this round must see to
	writer  directWriter
	helpers sync.WaitGroup
	most    int // helpers at once
}

// NewRound makes a Round. Close must be called.
func NewRound() *Round {
	r := &Round{most: runtime.GOMAXPROCS(0) - 1}
	r.writer.init()
	return r
}

// Send is Session.Send, except that the frame may stay in the queue until Flush.
func (r *Round) Send(s *Session, f *Frame) Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open {
		return Gone
	}
	if f.volatile && !s.idle() {
		// What this round has not written yet does not make a client slow.
		if r.catchUp(s); !s.idle() {
			return Dropped
		}
	}
	if s.full(f) {
		if r.catchUp(s); s.full(f) {
			s.overflow()
			return Overflow
		}
	}
	s.push(f)
	if s.conn == nil || s.conn.direct == nil || s.writing {
		s.flush()
	} else if !s.dirty {
		s.dirty = true
		r.dirty = append(r.dirty, s)
	}
	return Queued
}

// catchUp writes what is queued for a session before Flush. The session stays in the list that it is in, once. Needs
// Session.mu.
func (r *Round) catchUp(s *Session) {
	listed := s.dirty
	r.writer.flush(s)
	s.dirty = listed
}

// Flush writes what Send has queued. It does not wait for any client; but it writes itself as long as hurry says no, and
// leaves the rest to helpers when hurry says yes.
func (r *Round) Flush(hurry func() bool) {
	if len(r.dirty) < 2*shareFrom {
		for i, s := range r.dirty {
			r.writer.session(s)
			r.dirty[i] = nil
		}
		r.dirty = r.dirty[:0]
		r.writer.count()
		return
	}
	v := volleys.Get().(*volley)
	v.sessions, r.dirty = r.dirty, v.sessions[:0]
	v.next.Store(0)
	helpers := min(r.most, len(v.sessions)/shareFrom)
	v.writers.Store(int32(helpers) + 1)
	for range helpers {
		r.help(v)
	}
	for v.some(&r.writer) {
		if hurry() {
			v.writers.Add(1)
			r.help(v)
			break
		}
	}
	r.writer.count()
	v.leave()
}

// help starts a helper.
func (r *Round) help(v *volley) {
	r.helpers.Go(func() {
		w := directWriters.Get().(*directWriter)
		for v.some(w) {
		}
		w.count()
		directWriters.Put(w)
		v.leave()
	})
}

// Close writes what is left and waits for helpers.
func (r *Round) Close() {
	r.Flush(func() bool { return false })
	r.helpers.Wait()
}

// volley is a list of sessions that several goroutines write to.
type volley struct {
	sessions []*Session   // static while there are writers
	next     atomic.Int64 // index of the first session that nobody has taken
	writers  atomic.Int32 // the last one gives the volley back
}

var volleys = sync.Pool{New: func() any { return new(volley) }}

// some writes to the next few sessions. It says no when none are left.
func (v *volley) some(w *directWriter) bool {
	end := int(v.next.Add(shareBy))
	for _, s := range v.sessions[min(end-shareBy, len(v.sessions)):min(end, len(v.sessions))] {
		w.session(s)
	}
	return end < len(v.sessions)
}

func (v *volley) leave() {
	if v.writers.Add(-1) == 0 {
		clear(v.sessions)
		volleys.Put(v)
	}
}
