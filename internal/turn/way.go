package turn

import (
	"context"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often work looks whether it may go on.
	lookEvery = 100 * time.Microsecond
	// longWork is how long work may last until it gives way.
	longWork = 200 * time.Microsecond
	// quietEvery is how exactly the time of the last quiet packet is known, and quietLasts is how long it counts.
	quietEvery = 50 * time.Millisecond
	quietLasts = time.Second
)

// Lane is work of one kind, which gives way in order: to goroutines that wait for a processor, and as long as more than
// half of the processors work.
type Lane struct {
	most time.Duration // for how long what is first gives way, so that it always goes on
	next chan struct{} // what is first; as many as there are turns
}

// Lanes of the process. So many can come in a second even if the processors are never free.
var (
	Newcomers = newLane(500 * time.Microsecond) // connections, and requests without a session
	Busy      = newLane(2 * time.Millisecond)   // turns, and large messages
	Answers   = newLane(2 * time.Millisecond)   // parts of long answers to services
)

func newLane(most time.Duration) *Lane { return &Lane{most, make(chan struct{}, Most())} }

// way is what lanes have in common, in the process: processors are the process's, too.
var way = struct {
	isWatched atomic.Bool  // see Watch
	quiet     atomic.Int64 // when a client that is not busy has sent a packet, in Unix nanoseconds; within quietEvery
	waited    atomic.Int64 // nanoseconds
	mu        sync.Mutex
	sample    []metrics.Sample // guarded by mu
}{sample: []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}, {Name: "/sched/goroutines/running:goroutines"}}}

// Watch makes work give way from now on. Until then, as in tests whose time is not the processor's, nothing waits.
func Watch() { way.isWatched.Store(true) }

// Waited returns how long all work together has given way.
func Waited() time.Duration { return time.Duration(way.waited.Load()) }

// GiveWay waits until half of the processors are free and no goroutine waits for one, behind what came to the lane
// before. It returns at once if ctx ends, or if no quiet client has sent anything for a second.
func (l *Lane) GiveWay(ctx context.Context) {
	began := time.Now()
	if !way.isWatched.Load() || began.UnixNano()-way.quiet.Load() > int64(quietLasts) {
		return
	}
	select {
	case l.next <- struct{}{}:
	case <-ctx.Done():
		return
	}
	for first := time.Now(); !isClear() && time.Since(first) < l.most; {
		time.Sleep(lookEvery)
	}
	<-l.next
	way.waited.Add(int64(time.Since(began)))
}

// isClear reports whether work may go on.
func isClear() bool {
	way.mu.Lock()
	defer way.mu.Unlock()
	metrics.Read(way.sample)
	ready, running := way.sample[0].Value, way.sample[1].Value
	return ready.Uint64() == 0 && running.Uint64() <= uint64(Most()) // with this goroutine
}

// Work is long work of a goroutine, in many parts.
type Work struct{ since time.Time }

// Pause gives way if the work has just begun or has lasted for long. It is called before each part.
func (w *Work) Pause() {
	if time.Since(w.since) > longWork {
		Answers.GiveWay(context.Background())
		w.since = time.Now()
	}
}
