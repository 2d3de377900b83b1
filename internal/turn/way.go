package turn

import (
	"context"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Processors are short for shortFor since the time that one in fewLong goroutines that became ready waited for
	// longWait until it ran. That is judged by leastLong of them at least, within judgedIn. Go counts one goroutine in
	// eight.
	longWait   = time.Millisecond
	fewLong    = 50
	leastLong  = 3
	judgedIn   = time.Second
	checkEvery = 20 * time.Millisecond
	shortFor   = 5 * time.Second
	// If they are short again sooner after the end than they had been short, that lasts twice as long, mostShort at most:
	// while work gives way, few goroutines wait for long, so that nothing else shows that it still should.
	mostShort = time.Minute
	// longWork is how long work in a lane may last until it gives way.
	longWork = 100 * time.Microsecond
	// mostWait is how long the first in all lanes gives way, so that it always goes on, and lookEvery is how often it
	// looks whether it may.
	mostWait  = time.Millisecond
	lookEvery = 200 * time.Microsecond
	// mostQueued is how long work stands behind others of its lane, however many they are.
	mostQueued = time.Second
	// quietEvery is how exactly the time of the last quiet packet is known, and quietLasts is how long it counts.
	quietEvery = 50 * time.Millisecond
	quietLasts = time.Second
)

// How long work takes, about, that is not measured.
const (
	Newcomer = longWork / 8         // to accept a connection, or to begin with a request
	Chunk    = longWork             // to read a part of a large message
	Byte     = 10 * time.Nanosecond // to write it into an answer
)

// Lane is work of one kind. What gives way does that in order, and lanes take turns.
type Lane struct {
	first  chan struct{} // full while as much gives way as there are turns
	worked atomic.Int64  // since work of the lane gave way, in nanoseconds
}

// The lanes of the process.
var (
	Connections = newLane() // that begin
	Requests    = newLane() // without a session
	Busy        = newLane() // turns
	Large       = newLane() // messages
	Answers     = newLane() // long ones, to services
	lanes       = newLane() // the first of each
)

func newLane() *Lane { return &Lane{first: make(chan struct{}, Most())} }

// epoch is what times of way count from.
var epoch = time.Now()

// way is what the lanes of the process have in common. Times are nanoseconds since epoch.
var way = struct {
	isWatched atomic.Bool
	quiet     atomic.Int64 // when a quiet client has sent a packet that it waits for; within quietEvery
	checked   atomic.Int64 // when the waits of goroutines were looked at
	short     atomic.Int64 // until when processors are short
	waited    atomic.Int64 // how long work has given way, in nanoseconds

	mu        sync.Mutex
	judged    int64            // guarded by mu: when the waits were judged last
	lasts     int64            // guarded by mu: how long processors are short now, or were last
	all, long uint64           // guarded by mu: waits of goroutines until then, and those for longWait
	waits     []metrics.Sample // guarded by mu
	now       []metrics.Sample // guarded by mu: goroutines that are ready, and those that run
}{
	waits: []metrics.Sample{{Name: "/sched/latencies:seconds"}},
	now:   []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}, {Name: "/sched/goroutines/running:goroutines"}},
}

// Watch makes work give way from now on. Until then, as in tests whose time is not the processor's, nothing waits.
func Watch() { way.isWatched.Store(true) }

// Waited returns how long all work together has given way.
func Waited() time.Duration { return time.Duration(way.waited.Load()) }

// GiveWay is called after work that took some time. It waits until half of the processors are free and no goroutine
// waits for one, behind what came to the lane before. It returns at once if little was done since work of the lane gave
// way, if processors are not short, if no quiet client waits, or if ctx ends. It returns how long it waited.
func (l *Lane) GiveWay(ctx context.Context, worked time.Duration) (waited time.Duration) {
	if l.worked.Add(int64(worked)) < int64(longWork) {
		return 0
	}
	l.worked.Store(0)
	began := time.Now()
	if !isShort(int64(began.Sub(epoch))) {
		return 0
	}
	select {
	case l.first <- struct{}{}:
		lanes.first <- struct{}{}
		for first := time.Now(); !isClear() && time.Since(first) < mostWait; {
			time.Sleep(lookEvery)
		}
		<-lanes.first
		<-l.first
	case <-ctx.Done():
	case <-time.After(mostQueued):
	}
	waited = time.Since(began)
	way.waited.Add(int64(waited))
	return waited
}

// isShort reports whether processors are short while quiet clients wait.
func isShort(now int64) bool {
	if !way.isWatched.Load() || now-way.quiet.Load() > int64(quietLasts) {
		return false
	}
	if last := way.checked.Load(); now-last >= int64(checkEvery) && way.checked.CompareAndSwap(last, now) {
		way.mu.Lock()
		defer way.mu.Unlock()
		metrics.Read(way.waits)
		h, all, long := way.waits[0].Value.Float64Histogram(), uint64(0), uint64(0)
		for i, n := range h.Counts {
			if all += n; h.Buckets[i] >= longWait.Seconds() {
				long += n
			}
		}
		isLate, n := now-way.judged > int64(judgedIn), long-way.long
		if !isLate && n >= leastLong && n*fewLong > all-way.all {
			shorten(now)
		}
		if isLate || n >= leastLong {
			way.judged, way.all, way.long = now, all, long
		}
	}
	return now < way.short.Load()
}

// shorten makes processors short from now on. way.mu must be held.
func shorten(now int64) {
	switch since := now - way.short.Load(); {
	case since >= way.lasts:
		way.lasts = int64(shortFor)
	case since >= 0:
		way.lasts = min(2*way.lasts, int64(mostShort))
	}
	way.short.Store(now + way.lasts)
}

// isClear reports whether work may go on.
func isClear() bool {
	way.mu.Lock()
	defer way.mu.Unlock()
	metrics.Read(way.now)
	return way.now[0].Value.Uint64() == 0 && way.now[1].Value.Uint64() <= uint64(Most()) // with this goroutine
}
