// Package turn makes busy clients work one after the other: half as many at once as there are processors. What other
// clients send waits for none of them.
//
// Without turns, a message of a quiet client would wait for seconds beside hundreds of clients that send all the time:
// it passes three goroutines on its way, and Go lets one that never waits run for 10 ms while others are ready.
//
// If goroutines wait for a processor nevertheless, and a client that is not busy has sent something, a turn rests
// after its work, longer and longer, until they do not.
package turn

import (
	"context"
	"hash/maphash"
	"math"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// Turns gives turns to the busy clients of a process.
type Turns struct {
	free    chan struct{}
	rest    atomic.Int64 // for how many times as long as its work a turn rests
	owed    atomic.Int64 // rest that is too short for a timer, in nanoseconds
	checked atomic.Int64 // when that was looked at last, in Unix nanoseconds
	quiet   atomic.Int64 // when a client that is not busy has sent a packet; within quietEvery

	callers callers

	mu     sync.Mutex
	sample []metrics.Sample // guarded by mu: how long goroutines have waited
	before waits            // guarded by mu
}

// waits counts how often a goroutine has waited for a processor, and how often it did for longWait.
type waits struct{ all, long uint64 }

const (
	// BusyFrom is how many packets a second make a client busy. A packet counts once more for each chunkSize bytes.
	BusyFrom  = 100
	chunkSize = 4 << 10
	// longWait is how long a goroutine may wait for a processor.
	longWait = 500 * time.Microsecond
	// fewLong is how many of the waits may be long: one in fewLong.
	fewLong = 200
	// checkEvery is how often the waits are looked at, while clients are busy.
	checkEvery = 10 * time.Millisecond
	// mostRest bounds Turns.rest, so that busy clients always go on.
	mostRest = 16
	// quietEvery is how exactly Turns.quiet is known, and quietLasts is how long such a packet counts.
	quietEvery = 50 * time.Millisecond
	quietLasts = time.Second
	// longTurn is how long a turn may last if it is for several packets.
	longTurn = 200 * time.Microsecond
	// leastRest is the shortest rest for which there is a timer.
	leastRest = time.Millisecond
	// waitsMetric is what Go says about them.
	waitsMetric = "/sched/latencies:seconds"
)

// Most is how many turns there are at once.
func Most() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// New makes Turns of which none has begun.
func New() *Turns {
	return &Turns{free: make(chan struct{}, Most()), sample: []metrics.Sample{{Name: waitsMetric}}}
}

// Unmeasured makes Turns that never rest, for tests: the processor is real, and the time in a bubble of testing/synctest
// is not.
func Unmeasured() *Turns {
	t := New()
	t.checked.Store(math.MaxInt64)
	return t
}

// Running returns how many turns there are now, with those that rest.
func (t *Turns) Running() int { return len(t.free) }

// Rest returns for how many times as long as its work a turn rests.
func (t *Turns) Rest() int64 { return t.rest.Load() }

// Begin waits until a turn may begin.
func (t *Turns) Begin(turn *Turn) {
	t.free <- struct{}{}
	t.check(time.Now())
	turn.turns, turn.began = t, time.Now()
}

// Take waits until a packet of a client may be handled, of a size in bytes. a is nil for a client that was quiet. If
// the client is busy and has no turn yet, it has that of turn then.
func (t *Turns) Take(turn *Turn, a *Activity, size int, now time.Time) {
	switch {
	case a == nil || !a.isBusy(size, now):
		if now.UnixNano()-t.quiet.Load() > int64(quietEvery) {
			t.quiet.Store(now.UnixNano())
		}
	case turn.began.IsZero():
		t.Begin(turn)
		a.since = a.since.Add(turn.began.Sub(now)) // who waits for a turn is not quiet
	}
}

// check looks, now and then, at how long goroutines have waited until now.
func (t *Turns) check(now time.Time) {
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
func (t *Turns) end(work time.Duration) {
	if owed := t.owed.Add(t.rest.Load() * int64(work)); owed < int64(leastRest) {
		<-t.free
		return
	}
	rest := time.Duration(t.owed.Swap(0))
	time.AfterFunc(min(rest, time.Second), func() { <-t.free })
}

// note makes rests longer while goroutines wait for long, and shorter again. mu must be held.
func (t *Turns) note(now waits, at time.Time) {
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

// Activity tells whether a client is busy. The caller guards it.
type Activity struct {
	since   time.Time // a second begins
	packets int       // that came in it
	wasBusy bool      // in the second before
}

// isBusy counts a packet, and reports whether its client is busy.
func (a *Activity) isBusy(size int, now time.Time) bool {
	if now.Sub(a.since) >= time.Second {
		a.wasBusy = a.packets > BusyFrom
		a.since, a.packets = now, 0
	}
	a.packets += 1 + size/chunkSize
	return a.wasBusy || a.packets > BusyFrom
}

// Turn is one turn, or none yet. The goroutine that handles packets owns it. It may last for several packets, so that
// their answers are written together.
type Turn struct {
	turns *Turns
	began time.Time // zero while there is none
}

// IsLong reports whether others should go on.
func (t *Turn) IsLong() bool { return !t.began.IsZero() && time.Since(t.began) > longTurn }

// End ends the turn, if there is one.
func (t *Turn) End() {
	if !t.began.IsZero() {
		t.turns.end(time.Since(t.began))
		t.began = time.Time{}
	}
}

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

// Delay delays a request of a busy address while goroutines wait for a processor, until ctx ends.
func (t *Turns) Delay(ctx context.Context, address string) {
	now := time.Now()
	if !t.callers.isBusy(address, now) {
		return
	}
	t.check(now)
	if rest := time.Duration(t.Rest()) * callRest; rest > 0 {
		select {
		case <-time.After(rest):
		case <-ctx.Done():
		}
	}
}
