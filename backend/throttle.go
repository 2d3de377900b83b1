package backend

import (
	"slices"
	"time"
)

// A socket whose handlers do not keep up is paused: its edge holds what its client sends, and then stops reading from
// it, so that the client itself is slowed down (docs/subjects.md, Pausing a client).
const (
	// repeatPause is how often a pause is repeated.
	repeatPause = 2 * time.Second
	// pauseLasts is when an edge forgets a pause that is not repeated: this process was stopped, or NATS was away.
	pauseLasts = 5 * time.Second
	// pauseGrace is how long a pause may take to have an effect. A lane with more than twice its bound is flooded only
	// after it.
	pauseGrace = 2 * time.Second
	// throttleEvery is how often pauses are checked.
	throttleEvery = 500 * time.Millisecond
	// relieveEvery bounds how often the largest lanes are looked for, which costs a look at each lane.
	relieveEvery = 10 * time.Millisecond
)

// throttled is a socket that is paused, or must be resumed.
type throttled struct {
	wanted    bool      // guarded by lanes.mu: it is to be paused
	since     time.Time // guarded by lanes.mu: since when
	confirmed time.Time // guarded by lanes.mu: when the edge answered for the first time that it is; zero before
	heard     time.Time // guarded by lanes.mu: when it answered last, or since if it never did
	instance  string    // owned by the goroutine of speak: in whose name it is paused; "" while it is not
	sent      time.Time // owned by the goroutine of speak: when the pause was last sent
}

// edgeWords are the messages of lanes to edges.
type edgeWords struct {
	// pause asks a socket's edge to pause it, for an instance or, if that is "", the one that this process is now. It
	// returns the instance, or "" if that could not be sent.
	pause func(key laneKey, instance string) string
	// resume ends that.
	resume func(key laneKey, instance string)
	// watch is called every throttleEvery while sockets are paused, with how many have been so for a long time.
	watch func(slow int, example laneKey)
}

// fill is called when a lane has got an event. It pauses the lane's socket in time. The caller must flood the lane
// that fill returns; nil for none. mu must be held.
func (ls *lanes) fill(l *lane) (flooded *lane) {
	limit := &ls.limits
	switch {
	case !l.isSocket && (l.events > limit.SocketEvents || l.events > 1 && l.bytes > limit.SocketBytes):
		return l // another service cannot be paused
	case l.isSocket && !l.paused && (2*l.events >= limit.SocketEvents || 2*l.bytes >= limit.SocketBytes):
		ls.throttle(l)
	case l.paused && ls.isLost(l, time.Now(), true):
		return l
	}
	if ls.waiting > limit.WaitingBytes {
		return ls.relieve(time.Now())
	}
	return nil
}

// isLost reports whether a paused lane has more than twice its bound, and the pause does not help: the edge does not
// confirm it, or confirmed it pauseGrace ago and more comes. Events that the edge published earlier come before its
// answer. However many they are, they cost no client its connection. mu must be held.
func (ls *lanes) isLost(l *lane, now time.Time, more bool) bool {
	if l.events <= 2*ls.limits.SocketEvents && (l.events <= 1 || l.bytes <= 2*ls.limits.SocketBytes) {
		return false
	}
	t := ls.throttled[l.key]
	if more && now.Sub(t.heard) > pauseLasts { // the edge has forgotten the pause, and is asked for a new one
		t.since, t.confirmed, t.heard = now, time.Time{}, now
	}
	if t.confirmed.IsZero() {
		return now.Sub(t.since) >= pauseGrace
	}
	return more && now.Sub(t.confirmed) >= pauseGrace
}

// confirm notes that an edge has paused a socket.
func (ls *lanes) confirm(key laneKey) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	t := ls.throttled[key]
	if t == nil || !t.wanted {
		return
	}
	t.heard = time.Now()
	if t.confirmed.IsZero() {
		t.confirmed = t.heard
	}
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
		ls.throttle(l)
		if paused += l.bytes; 2*paused >= sum {
			break
		}
	}
	return nil
}

// throttle pauses a lane's socket. mu must be held.
func (ls *lanes) throttle(l *lane) {
	l.paused = true
	t := ls.throttled[l.key]
	if t == nil {
		t = &throttled{}
		ls.throttled[l.key] = t
	}
	t.wanted, t.since = true, time.Now()
	if t.confirmed.IsZero() {
		t.heard = t.since
	}
	ls.notify(l.key)
}

// unthrottle resumes a lane's socket. mu must be held.
func (ls *lanes) unthrottle(l *lane) {
	if l.paused {
		l.paused = false
		ls.throttled[l.key].wanted = false
		ls.notify(l.key)
	}
}

// drained resumes a lane that has little left, unless all lanes together have too much. mu must be held.
func (ls *lanes) drained(l *lane) {
	if l.paused && 4*l.events <= ls.limits.SocketEvents && 4*l.bytes <= ls.limits.SocketBytes &&
		2*ls.waiting <= ls.limits.WaitingBytes {
		ls.unthrottle(l)
	}
}

// notify passes a change to the goroutine of speak, which runs while sockets are paused. mu must be held.
func (ls *lanes) notify(key laneKey) {
	ls.changed = append(ls.changed, key)
	if !ls.telling {
		ls.telling = true
		ls.running.Go(ls.speak)
		return
	}
	select {
	case ls.wake <- struct{}{}:
	default:
	}
}

// speak sends pauses and resumes to edges, in the order in which they were decided. It ends when no socket is paused.
func (ls *lanes) speak() {
	ticker := time.NewTicker(throttleEvery)
	defer ticker.Stop()
	all := false
	for {
		due, flooded, more := ls.due(all, time.Now())
		for _, word := range due {
			if t := word.t; word.pause {
				t.instance, t.sent = ls.edges.pause(word.key, t.instance), time.Now()
			} else {
				ls.edges.resume(word.key, t.instance)
			}
		}
		for _, f := range flooded {
			ls.overflow(f.key, f.events, f.bytes)
		}
		if !more {
			ls.edges.watch(0, laneKey{})
			return
		}
		select {
		case <-ls.wake:
			all = false
		case <-ticker.C:
			all = true
			ls.edges.watch(ls.slow(time.Now()))
		case <-ls.ended:
			return
		}
	}
}

// laneWord is a pause or a resume to be sent.
type laneWord struct {
	key   laneKey
	t     *throttled
	pause bool
}

// flood is what a flooded lane lost.
type flood struct {
	key           laneKey
	events, bytes int
}

// due returns what must be sent now, for the sockets whose state has changed, or for all. If more is false, the
// calling goroutine may end.
func (ls *lanes) due(all bool, now time.Time) (due []laneWord, flooded []flood, more bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	look := func(key laneKey) {
		t := ls.throttled[key]
		switch {
		case t == nil: // done already
		case t.wanted && (t.instance == "" || now.Sub(t.sent) >= repeatPause):
			due = append(due, laneWord{key, t, true})
		case !t.wanted:
			delete(ls.throttled, key)
			if t.instance != "" {
				due = append(due, laneWord{key, t, false})
			}
		}
		if l := ls.byKey[key]; all && l != nil && l.paused && ls.isLost(l, now, false) {
			events, bytes := ls.flood(l)
			flooded = append(flooded, flood{key, events, bytes})
		}
	}
	if all {
		for key := range ls.throttled {
			look(key)
		}
	} else {
		for _, key := range ls.changed {
			look(key)
		}
	}
	ls.changed = ls.changed[:0]
	// Not before all has been sent: another goroutine could overtake this one.
	more = (len(ls.throttled) > 0 || len(due) > 0) && !ls.stopped
	ls.telling = more
	return due, flooded, more
}

// slow returns how many sockets have been paused for 10 s, and one of them.
func (ls *lanes) slow(now time.Time) (n int, example laneKey) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for key, t := range ls.throttled {
		if t.wanted && now.Sub(t.since) >= 10*time.Second {
			n, example = n+1, key
		}
	}
	return n, example
}

// paused is how many sockets are to be paused now.
func (ls *lanes) paused() (n int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, t := range ls.throttled {
		if t.wanted {
			n++
		}
	}
	return n
}
