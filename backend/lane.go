package backend

import (
	"context"
	"slices"
	"sync"
	"time"

	"partyline/internal/wake"
	"partyline/subjects"
)

// laneKey names a lane: the work of one socket, or the events of one other service instance.
type laneKey struct {
	namespace string // its token in subjects
	who       string // a socket's id, or an instance
}

// lanes run jobs: those with the same key in order, one at a time, the others side by side. Putting a job in never
// blocks. A socket whose lane fills is paused (throttle.go). A lane that has too much nevertheless is flooded: its
// events are dropped.
type lanes struct {
	limits    Limits
	running   sync.WaitGroup
	throttled throttled // its lock comes behind mu

	mu       sync.Mutex
	byKey    map[laneKey]*lane // guarded by mu; a lane is there while it has work
	ready    []*lane           // guarded by mu; they have work and wait for a goroutine
	workers  int               // guarded by mu
	waiting  int               // guarded by mu: bytes in all lanes
	empty    chan struct{}     // guarded by mu; closed when no lane is left, nil if no goroutine waits for that
	stopped  bool              // guarded by mu: nothing runs any more
	relieved time.Time         // guarded by mu: when relieve last looked for the largest lanes
}

// lane is the work of one key. All fields are guarded by lanes.mu.
type lane struct {
	key      laneKey
	isSocket bool // else it is another service's
	jobs     []job
	events   int // among the jobs
	bytes    int
	paused   bool // the socket's edge is to hold what its client sends
	flooded  bool // events are dropped from now on
}

type job struct {
	run     func()
	bytes   int
	event   bool   // may be dropped when too much waits
	dropped func() // of an event: called in place of run if it is dropped, with mu held
}

// turn is how many jobs of a lane run before another lane's turn, when there are more lanes than goroutines.
const turn = 16

// relieveEvery bounds how often the largest lanes are looked for, which costs a look at each lane.
const relieveEvery = 10 * time.Millisecond

func newLanes(limits Limits, edges pauser) *lanes {
	ls := &lanes{limits: limits, byKey: make(map[laneKey]*lane)}
	ls.throttled = throttled{
		edges: edges, drop: ls.drop, running: &ls.running, wake: wake.New(), ended: make(chan struct{}),
		sockets: make(map[laneKey]*pausing),
	}
	return ls
}

// event puts in an event, which counts with its bytes and may be dropped.
func (ls *lanes) event(key laneKey, bytes int, run func()) {
	ls.request(key, bytes, run, func() {})
}

// request puts in a job like event. If it is dropped, dropped is called, which must not wait nor call lanes.
func (ls *lanes) request(key laneKey, bytes int, run, dropped func()) {
	ls.put(key, job{run, bytes, true, dropped})
}

// always puts in what must not be dropped, such as the end of a socket.
func (ls *lanes) always(key laneKey, run func()) { ls.put(key, job{run: run}) }

func (ls *lanes) put(key laneKey, j job) {
	ls.mu.Lock()
	if ls.stopped {
		ls.mu.Unlock()
		return
	}
	l := ls.byKey[key]
	if l == nil {
		l = &lane{key: key, isSocket: subjects.IsSocketID(key.who)}
		ls.byKey[key] = l
		ls.ready = append(ls.ready, l)
		if ls.workers < ls.limits.Handlers {
			ls.workers++
			ls.running.Go(ls.work)
		}
	}
	if j.event && l.flooded {
		j.dropped()
		ls.mu.Unlock()
		return
	}
	l.jobs = append(l.jobs, j)
	ls.waiting += j.bytes
	report := func() {}
	if j.event {
		l.events++
		l.bytes += j.bytes
		if flooded := ls.fill(l); flooded != nil {
			report = ls.flood(flooded)
		}
	}
	ls.mu.Unlock()
	report()
}

// over reports whether more waits than so many times the bounds of one lane. A single event may be of any size.
func (l *lane) over(times int, limits *Limits) bool {
	return l.events > times*limits.SocketEvents || l.events > 1 && l.bytes > times*limits.SocketBytes
}

// fill is called when a lane has got an event. It pauses the lane's socket in time. The caller must flood the lane
// that fill returns; nil for none. mu must be held.
func (ls *lanes) fill(l *lane) (flooded *lane) {
	limit := &ls.limits
	switch {
	case !l.isSocket && l.over(1, limit):
		return l // another service cannot be paused
	case l.isSocket && !l.paused && (2*l.events >= limit.SocketEvents || 2*l.bytes >= limit.SocketBytes):
		ls.pause(l, true)
	case l.paused && l.over(2, limit) && ls.throttled.hasNoEffect(l.key, time.Now()):
		return l
	}
	if ls.waiting > limit.WaitingBytes {
		return ls.relieve(time.Now())
	}
	return nil
}

// relieve pauses the largest lanes, which have half of the bytes in lanes that are not paused. It returns a lane to be
// flooded if that cannot help. mu must be held.
func (ls *lanes) relieve(now time.Time) *lane {
	tooMuch := ls.waiting > 2*ls.limits.WaitingBytes
	if !tooMuch && now.Sub(ls.relieved) < relieveEvery {
		return nil
	}
	ls.relieved = now
	sum := 0
	var candidates []*lane
	for _, l := range ls.byKey {
		if l.bytes > 0 && (tooMuch || !l.paused) {
			candidates = append(candidates, l)
			sum += l.bytes
		}
	}
	slices.SortFunc(candidates, func(a, b *lane) int { return b.bytes - a.bytes })
	paused := 0
	for _, l := range candidates {
		if tooMuch || !l.isSocket {
			return l
		}
		ls.pause(l, true)
		if paused += l.bytes; 2*paused >= sum {
			break
		}
	}
	return nil
}

// pause pauses a lane's socket, or resumes it. mu must be held.
func (ls *lanes) pause(l *lane, paused bool) {
	if paused || l.paused {
		l.paused = paused
		ls.throttled.set(l.key, paused)
	}
}

// flood drops the events that wait in a lane. mu must be held. The caller calls report without it.
func (ls *lanes) flood(l *lane) (report func()) {
	events, bytes := l.events, l.bytes
	var kept []job
	for _, j := range l.jobs {
		if j.event {
			j.dropped()
		} else {
			kept = append(kept, j)
		}
	}
	ls.waiting -= l.bytes
	l.jobs, l.events, l.bytes, l.flooded = kept, 0, 0, true
	ls.pause(l, false)
	return func() { ls.throttled.edges.flooded(l.key, events, bytes) }
}

// drop floods a lane that has too much although its socket's edge should have paused it long ago.
func (ls *lanes) drop(key laneKey) {
	report := func() {}
	ls.mu.Lock()
	l := ls.byKey[key]
	if l != nil && l.paused && l.over(2, &ls.limits) && ls.throttled.hasNoEffect(key, time.Now()) {
		report = ls.flood(l)
	}
	ls.mu.Unlock()
	report()
}

// next takes the first job.
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
			if 4*l.events <= ls.limits.SocketEvents && 4*l.bytes <= ls.limits.SocketBytes && 2*ls.waiting <= ls.limits.WaitingBytes {
				ls.pause(l, false)
			}
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

// remove forgets a lane without work. mu must be held.
func (ls *lanes) remove(l *lane) {
	if !ls.stopped {
		ls.pause(l, false)
	}
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

// stop drops all jobs that wait. busy is in how many lanes one runs on.
func (ls *lanes) stop() (busy int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.stopped = true
	close(ls.throttled.ended)
	for _, l := range ls.ready {
		ls.remove(l)
	}
	ls.ready = nil
	return len(ls.byKey)
}
