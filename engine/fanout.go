package engine

import (
	"runtime"
	"sync"
	"sync/atomic"

	"partyline/internal/direct"
	"partyline/wire/eio"
)

// How the sessions of a Fanout are shared among helpers. A write of a small frame takes about 6 µs, and waking a
// processor for a helper takes about as long.
const (
	// sharePerHelper is how many sessions a helper must have to write to, to be worth it.
	sharePerHelper = 64
	// shareStep is how many sessions a helper takes from the shared list at once.
	shareStep = 16
)

// A Fanout sends to many sessions on the goroutine of the sender: Send queues, and Flush writes what is queued for
// each session, in one write that does not block. Only a session whose client is slow to read gets a goroutine of its
// own. Many sessions are shared among helpers, one a processor.
//
// Session.Send costs a goroutine for each delivery to an idle session, which is a quarter of what the delivery costs
// (BenchmarkDelivery). Several messages for a session cost a Fanout one write, which is nearly all of the rest
// (docs/performance.md).
//
// A Fanout belongs to one goroutine.
type Fanout struct {
	listed  []*Session // sessions whose queue Flush writes
	writer  *writer
	helpers sync.WaitGroup
	most    int // helpers at once
}

// NewFanout makes a Fanout. Close must be called.
func NewFanout() *Fanout {
	return &Fanout{most: runtime.GOMAXPROCS(0) - 1, writer: writers.Get().(*writer)}
}

// Send is Session.Send, except that the frame may stay in the queue until Flush.
func (o *Fanout) Send(s *Session, f *eio.Frame) Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listed && (f.IsVolatile() && !s.isIdle() || s.queue.exceededBy(f, s.server.set()) != noLimit) {
		s.transport.flush(o.writer) // what has not been written here yet does not make a client slow
	}
	sent := s.accept(f)
	if sent == Queued && !s.listed {
		s.listed = true
		o.listed = append(o.listed, s)
	}
	return sent
}

// Flush writes what Send has queued. It does not wait for any client. If there are many sessions, it shares them with
// helpers, and leaves the rest to them as soon as isLagging reports that the caller has more urgent work.
func (o *Fanout) Flush(isLagging func() bool) {
	defer o.writer.count()
	if len(o.listed) < 2*sharePerHelper {
		for i, s := range o.listed {
			o.writer.unlist(s)
			o.listed[i] = nil
		}
		o.listed = o.listed[:0]
		return
	}
	l := sharedLists.Get().(*sharedList)
	l.sessions, o.listed = o.listed, l.sessions[:0]
	l.next.Store(0)
	helpers := min(o.most, len(l.sessions)/sharePerHelper)
	l.users.Store(int32(helpers) + 1)
	for range helpers {
		o.help(l)
	}
	for l.writeSome(o.writer) {
		if isLagging() {
			l.users.Add(1)
			o.help(l)
			break
		}
	}
	l.done()
}

// help starts a helper.
func (o *Fanout) help(l *sharedList) {
	o.helpers.Go(func() {
		w := writers.Get().(*writer)
		for l.writeSome(w) {
		}
		w.count()
		writers.Put(w)
		l.done()
	})
}

// Close writes what is left and waits for helpers.
func (o *Fanout) Close() {
	o.Flush(func() bool { return false })
	o.helpers.Wait()
}

// sharedList is a list of sessions that several goroutines write to.
type sharedList struct {
	sessions []*Session   // static while it has users
	next     atomic.Int64 // index of the first session that no user has taken
	users    atomic.Int32 // the last one returns the list to the pool
}

var sharedLists = sync.Pool{New: func() any { return new(sharedList) }}

// writeSome writes to the next few sessions. It returns false if none are left.
func (l *sharedList) writeSome(w *writer) bool {
	end := int(l.next.Add(shareStep))
	for _, s := range l.sessions[min(end-shareStep, len(l.sessions)):min(end, len(l.sessions))] {
		w.unlist(s)
	}
	return end < len(l.sessions)
}

func (l *sharedList) done() {
	if l.users.Add(-1) == 0 {
		clear(l.sessions)
		sharedLists.Put(l)
	}
}

// writer has what it takes to write queues to WebSockets. It belongs to one goroutine at a time.
type writer struct {
	direct  *direct.Writer
	scratch []byte // for queue.next
	bytes   int    // written since the last count
	counted *stats // whose bytesOut they are
}

var writers = sync.Pool{New: func() any { return &writer{direct: direct.NewWriter("connection of a client")} }}

// count adds what was written to the server's metrics. It is called once for many writes, because all processors write
// to this one word.
func (w *writer) count() {
	if w.bytes > 0 {
		w.counted.bytesOut.Add(w.bytes)
		w.bytes = 0
	}
}

// unlist writes the queue of a session that a Fanout has listed.
func (w *writer) unlist(s *Session) {
	s.mu.Lock()
	s.listed = false
	s.transport.flush(w)
	s.mu.Unlock()
}
