package turn

import (
	"context"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	// mostWait is how long work that is next gives way at most, so that it always goes on.
	mostWait = 2 * time.Millisecond
	// lookEvery is how often it looks whether it may go on.
	lookEvery = 100 * time.Microsecond
	// longWork is how long work may last until it gives way.
	longWork = 200 * time.Microsecond
	// quietEvery is how exactly the time of the last quiet packet is known, and quietLasts is how long it counts.
	quietEvery = 50 * time.Millisecond
	quietLasts = time.Second
)

// way is the state of all work that gives way, in the process: processors are the process's, too.
var way = struct {
	isWatched atomic.Bool      // see Watch
	quiet     atomic.Int64     // when a client that is not busy has sent a packet, in Unix nanoseconds; within quietEvery
	waited    atomic.Int64     // nanoseconds
	next      chan struct{}    // capacity 1: full while some work is the next to go on
	sample    []metrics.Sample // owned by that work
}{next: make(chan struct{}, 1), sample: []metrics.Sample{
	{Name: "/sched/goroutines/runnable:goroutines"}, {Name: "/sched/goroutines/running:goroutines"},
}}

// Watch makes work give way from now on. Until then, as in tests whose time is not the processor's, nothing waits.
func Watch() { way.isWatched.Store(true) }

// Waited returns how long all work together has given way.
func Waited() time.Duration { return time.Duration(way.waited.Load()) }

// GiveWay waits until half of the processors are free and no goroutine waits for one, behind other work that gives way:
// for mostWait at most when it is next. It returns at once if ctx ends, or if no quiet client has sent anything for a
// second.
func GiveWay(ctx context.Context) {
	began := time.Now()
	if !way.isWatched.Load() || began.UnixNano()-way.quiet.Load() > int64(quietLasts) {
		return
	}
	select {
	case way.next <- struct{}{}:
	case <-ctx.Done():
		return
	}
	for next := time.Now(); !isClear() && time.Since(next) < mostWait; {
		time.Sleep(lookEvery)
	}
	<-way.next
	way.waited.Add(int64(time.Since(began)))
}

// isClear reports whether work may go on.
func isClear() bool {
	metrics.Read(way.sample)
	ready, running := way.sample[0].Value, way.sample[1].Value
	return ready.Uint64() == 0 && running.Uint64() <= uint64(Most()) // with this goroutine
}

// noteQuiet notes that a client that is not busy has sent a packet.
func noteQuiet(now time.Time) {
	if now.UnixNano()-way.quiet.Load() > int64(quietEvery) {
		way.quiet.Store(now.UnixNano())
	}
}

// Work is long work of a goroutine, which is in many parts. The zero Work has not begun.
type Work struct{ since time.Time }

// Pause gives way if the work has lasted for long. It is called before each part.
func (w *Work) Pause() {
	switch now := time.Now(); {
	case w.since.IsZero():
		w.since = now
	case now.Sub(w.since) > longWork:
		GiveWay(context.Background())
		w.since = time.Now()
	}
}
