package engine

import (
	"hash/maphash"
	"math"
	"net/http"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// turns make busy clients work one after the other: half as many at once as there are processors. What other clients
// send waits for none of them.
//
// Without turns, a message of a quiet client would wait for seconds beside hundreds of clients that send all the time:
// it passes three goroutines on its way, and Go lets one that never waits run for 10 ms while others are ready.
//
// If goroutines wait for a processor nevertheless, and a client that is not busy has sent something, a turn rests after
// its work, longer and longer, until they do not.
type turns struct {
	free    chan struct{}
	rest    atomic.Int64 // for how many times as long as its work a turn rests
	owed    atomic.Int64 // rest that is too short for a timer, in nanoseconds
	checked atomic.Int64 // when that was looked at last, in Unix nanoseconds
	quiet   atomic.Int64 // when a client that is not busy has sent a packet; within quietEvery

	mu     sync.Mutex
	sample []metrics.Sample // guarded by mu: how long goroutines have waited
	before waits            // guarded by mu
}

// waits counts how often a goroutine has waited for a processor, and how often it did for longWait.
type waits struct{ all, long uint64 }

const (
	// busyFrom is how many packets a second make a client busy. A packet counts once more for each chunkSize bytes.
	busyFrom = 100
	// longWait is how long a goroutine may wait for a processor.
	longWait = 500 * time.Microsecond
	// fewLong is how many of the waits may be long: one in fewLong.
	fewLong = 200
	// checkEvery is how often the waits are looked at, while clients are busy.
	checkEvery = 10 * time.Millisecond
	// mostRest bounds turns.rest, so that busy clients always go on.
	mostRest = 16
	// quietEvery is how exactly turns.quiet is known, and quietLasts is how long such a packet counts.
	quietEvery = 50 * time.Millisecond
	quietLasts = time.Second
	// longTurn is how long a turn may last if it is for several packets.
	longTurn = 200 * time.Microsecond
	// leastRest is the shortest rest for which there is a timer.
	leastRest = time.Millisecond
	// waitsMetric is what Go says about them.
	waitsMetric = "/sched/latencies:seconds"
)

func newTurns() *turns {
	return &turns{
		free: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), sample: []metrics.Sample{{Name: waitsMetric}},
	}
}

// take waits for a turn.
func (t *turns) take() {
	t.free <- struct{}{}
	t.check(time.Now())
}

// check looks, now and then, at how long goroutines have waited until now.
func (t *turns) check(now time.Time) {
	last := t.checked.Load()
	if now.UnixNano()-last < int64(checkEvery) || !t.checked.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	metrics.Read(t.sample)
	t.note(countWaits(t.sample[0].Value.Float64Histogram()), now)
}

// end ends a turn that has worked for some time.
func (t *turns) end(work time.Duration) {
	if owed := t.owed.Add(t.rest.Load() * int64(work)); owed < int64(leastRest) {
		<-t.free
		return
	}
	rest := time.Duration(t.owed.Swap(0))
	time.AfterFunc(min(rest, time.Second), func() { <-t.free })
}

// note makes rests longer while goroutines wait for long, and shorter again. mu must be held.
func (t *turns) note(now waits, at time.Time) {
	all, long := now.all-t.before.all, now.long-t.before.long
	t.before = now
	rest := t.rest.Load()
	if long*fewLong > all && at.UnixNano()-t.quiet.Load() < int64(quietLasts) {
		t.rest.Store(min(max(1, 2*rest), mostRest))
	} else {
		t.rest.Store(rest * 3 / 4)
	}
}

func countWaits(h *metrics.Float64Histogram) (w waits) {
	for i, n := range h.Counts {
		w.all += n
		if from := h.Buckets[i]; from >= longWait.Seconds() && !math.IsInf(from, 0) {
			w.long += n
		}
	}
	return w
}

// activity tells whether a client is busy. Session.in guards it.
type activity struct {
	since   time.Time // a second begins
	packets int       // that came in it
	wasBusy bool      // in the second before
}

// isBusy counts a packet, and reports whether its client is busy.
func (a *activity) isBusy(size int, now time.Time) bool {
	if now.Sub(a.since) >= time.Second {
		a.wasBusy = a.packets > busyFrom
		a.since, a.packets = now, 0
	}
	a.packets += 1 + size/chunkSize
	return a.wasBusy || a.packets > busyFrom
}

// turn is one turn, or none yet. The goroutine that handles packets owns it. It may last for several packets, so that
// their answers are written together.
type turn struct {
	turns *turns
	began time.Time // zero while there is none
}

// isLong reports whether others should go on.
func (t *turn) isLong() bool { return !t.began.IsZero() && time.Since(t.began) > longTurn }

// end ends the turn, if there is one.
func (t *turn) end() {
	if !t.began.IsZero() {
		t.turns.end(time.Since(t.began))
		t.began = time.Time{}
	}
}

// takeTurn waits until a packet may be handled. in must be held.
func (s *Session) takeTurn(size int, now time.Time) {
	turns := s.server.turns
	switch {
	case s.pacing == nil || !s.pacing.activity.isBusy(size, now):
		if now.UnixNano()-turns.quiet.Load() > int64(quietEvery) {
			turns.quiet.Store(now.UnixNano())
		}
	case s.turn.began.IsZero():
		turns.take()
		s.turn.turns, s.turn.began = turns, time.Now()
		a := &s.pacing.activity
		a.since = a.since.Add(s.turn.began.Sub(now)) // who waits for a turn is not quiet
	}
}

// EndTurn lets other busy clients go on. Receiver.Message must call it before it waits; later calls do nothing.
func (s *Session) EndTurn() { s.turn.end() }

// callers counts the requests of client addresses. Addresses may share a place, so its size is fixed.
type callers struct {
	mu          sync.Mutex
	since       time.Time            // guarded by mu: a second begins
	now, before [callerPlaces]uint16 // guarded by mu: requests that came in it, and in the one before
}

const (
	callerPlaces = 1 << 10
	// callsOften is how many requests a second make an address busy.
	callsOften = 50
	// callRest is how long a request of a busy address waits, for each time that turns rest.
	callRest = time.Millisecond
)

var callerSeed = maphash.MakeSeed()

// isBusy counts a request of an address, and reports whether many come from it.
func (c *callers) isBusy(address string, now time.Time) bool {
	place := maphash.String(callerSeed, address) % callerPlaces
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.since) >= time.Second {
		c.before, c.now, c.since = c.now, [callerPlaces]uint16{}, now
	}
	if c.now[place] <= callsOften {
		c.now[place]++
	}
	return c.now[place] > callsOften || c.before[place] > callsOften
}

// waitForTurn delays a request of a busy address while goroutines wait for a processor.
func (s *Server) waitForTurn(r *http.Request, address string) {
	now := time.Now()
	if !s.callers.isBusy(address, now) {
		return
	}
	s.turns.check(now)
	if rest := time.Duration(s.turns.rest.Load()) * callRest; rest > 0 {
		select {
		case <-time.After(rest):
		case <-r.Context().Done():
		}
	}
}
