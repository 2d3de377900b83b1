package backend

import (
	"context"
	"sync"
)

// laneKey names a lane: the work of one socket, or the events of one other service instance.
type laneKey struct {
	namespace string // its token in subjects
	who       string // a socket's id, or an instance
}

// lanes run work: what has the same key in order, one at a time, everything else side by side. Whoever puts work in never
// waits: queues are bounded, and the lane that has too much loses its events.
type lanes struct {
	limits   Limits
	overflow func(key laneKey, events, bytes int) // called without mu; must not wait
	running  sync.WaitGroup

	mu      sync.Mutex
	byKey   map[laneKey]*lane // guarded by mu; a lane is there while it has work
	ready   []*lane           // guarded by mu; they have work and wait for a goroutine
	workers int               // guarded by mu
	waiting int               // guarded by mu: bytes in all lanes
	empty   chan struct{}     // guarded by mu; closed when no lane is left, nil if nobody waits for that
	stopped bool              // guarded by mu: nothing runs any more
}

// lane is the work of one key. All fields are guarded by lanes.mu.
type lane struct {
	key     laneKey
	jobs    []job
	events  int // among the jobs
	bytes   int
	flooded bool // events are thrown away from now on
}

type job struct {
	run   func()
	bytes int
	event bool // may be thrown away when there is too much
}

// turn is how many jobs of a lane run before another lane's turn, when there are more lanes than goroutines.
const turn = 16

func newLanes(limits Limits, overflow func(laneKey, int, int)) *lanes {
	return &lanes{limits: limits, overflow: overflow, byKey: make(map[laneKey]*lane)}
}

// event puts an event in, which counts with its bytes.
func (ls *lanes) event(key laneKey, bytes int, run func()) { ls.put(key, job{run, bytes, true}) }

// always puts in what must not be lost, such as the end of a socket.
func (ls *lanes) always(key laneKey, run func()) { ls.put(key, job{run, 0, false}) }

func (ls *lanes) put(key laneKey, j job) {
	ls.mu.Lock()
	if ls.stopped {
		ls.mu.Unlock()
		return
	}
	l := ls.byKey[key]
	if l == nil {
		l = &lane{key: key}
		ls.byKey[key] = l
		ls.ready = append(ls.ready, l)
		if ls.workers < ls.limits.Handlers {
			ls.workers++
			ls.running.Go(ls.work)
		}
	}
	var flooded *lane
	var events, bytes int
	if j.event {
		if l.flooded {
			ls.mu.Unlock()
			return
		}
		if l.events >= ls.limits.SocketEvents || l.events > 0 && l.bytes+j.bytes > ls.limits.SocketBytes {
			flooded = l
		} else if ls.waiting+j.bytes > ls.limits.WaitingBytes {
			flooded = ls.largest(l)
		}
		if flooded != nil {
			events, bytes = ls.flood(flooded)
		}
	}
	if !j.event || !l.flooded {
		l.add(j)
		ls.waiting += j.bytes
	}
	ls.mu.Unlock()
	if flooded != nil {
		ls.overflow(flooded.key, events, bytes)
	}
}

// largest is the lane with most bytes waiting; with none, the given one. Needs mu.
func (ls *lanes) largest(l *lane) *lane {
	for _, other := range ls.byKey {
		if other.bytes > l.bytes {
			l = other
		}
	}
	return l
}

// flood throws away the events that wait in a lane. Needs mu.
func (ls *lanes) flood(l *lane) (events, bytes int) {
	events, bytes = l.events, l.bytes
	var kept []job
	for _, j := range l.jobs {
		if !j.event {
			kept = append(kept, j)
		}
	}
	ls.waiting -= l.bytes
	l.jobs, l.events, l.bytes, l.flooded = kept, 0, 0, true
	return events, bytes
}

// add and next need mu.

func (l *lane) add(j job) {
	l.jobs = append(l.jobs, j)
	if j.event {
		l.events++
		l.bytes += j.bytes
	}
}

func (l *lane) next() job {
	j := l.jobs[0]
	l.jobs[0] = job{}
	if l.jobs = l.jobs[1:]; len(l.jobs) == 0 {
		l.jobs = nil
	}
	if j.event {
		l.events--
		l.bytes -= j.bytes
	}
	return j
}

// work runs jobs until there are none.
func (ls *lanes) work() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for len(ls.ready) > 0 && !ls.stopped {
		l := ls.ready[0]
		ls.ready[0] = nil
		ls.ready = ls.ready[1:]
		for n := 0; len(l.jobs) > 0 && n < turn && !ls.stopped; n++ {
			j := l.next()
			ls.waiting -= j.bytes
			ls.mu.Unlock()
			j.run()
			ls.mu.Lock()
		}
		if len(l.jobs) > 0 && !ls.stopped {
			ls.ready = append(ls.ready, l)
			continue
		}
		ls.remove(l)
	}
	ls.workers--
}

// remove forgets a lane without work. Needs mu.
func (ls *lanes) remove(l *lane) {
	delete(ls.byKey, l.key)
	if len(ls.byKey) == 0 && ls.empty != nil {
		close(ls.empty)
		ls.empty = nil
	}
}

// wait returns when there is no work left, or with the context's error.
func (ls *lanes) wait(ctx context.Context) error {
	ls.mu.Lock()
	if len(ls.byKey) == 0 {
		ls.mu.Unlock()
		return nil
	}
	if ls.empty == nil {
		ls.empty = make(chan struct{})
	}
	empty := ls.empty
	ls.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop throws away what waits. What runs goes on; busy is how many lanes that are.
func (ls *lanes) stop() (busy int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.stopped = true
	for _, l := range ls.ready {
		ls.remove(l)
	}
	ls.ready = nil
	return len(ls.byKey)
}
