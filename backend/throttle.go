package backend

import (
	"slices"
	"time"
)

// How a socket is paused whose handlers do not keep up: its edge holds what its client sends, and at last stops reading
// from it, so that the client itself is slowed down (docs/subjects.md, Pausing a client).
const (
	// repeatPause is how often a pause is repeated.
	repeatPause = 2 * time.Second
	// pauseLasts is when an edge forgets a pause that is not repeated: this process was stopped, or NATS was away.
	pauseLasts = 5 * time.Second
	// pauseGrace is how long a pause may take to have an effect. Only then is a lane flooded that has more than twice its
	// bound.
	pauseGrace = 2 * time.Second
	// throttleEvery is how often it is looked whether a pause must be repeated.
	throttleEvery = 500 * time.Millisecond
	// relieveEvery bounds how often the largest lanes are looked for, which takes a look at each.
	relieveEvery = 10 * time.Millisecond
)

// throttled is a socket that is paused, or was and has to be resumed.
type throttled struct {
	wanted    bool      // guarded by lanes.mu: it is to be paused
	since     time.Time // guarded by lanes.mu: since when
	confirmed time.Time // guarded by lanes.mu: when the edge answered for the first time that it is; zero before
	heard     time.Time // guarded by lanes.mu: when it answered last, or since if it never did
	instance  string    // owned by the goroutine of speak: in whose name it is paused; "" while it is not
	said      time.Time // owned by the goroutine of speak: when that was said last
}

// edgeWords is how lanes speak with edges.
type edgeWords struct {
	// pause asks a socket's edge to pause it, for an instance or, if that is "", the one that this process is now. It
	// returns the instance, or "" if that could not be sent.
	pause func(key laneKey, instance string) string
	// resume ends that.
	resume func(key laneKey, instance string)
	// watch is called every throttleEvery while sockets are paused, with how many have been so for a long time.
	watch func(slow int, example laneKey)
}

// fill acts on an event that a lane has got: the lane's socket is paused in time, or the lane that is returned must be
// flooded; nil for none. mu must be held.
func (ls *lanes) fill(l *lane) (flooded *lane) {
	limit := &ls.limits
	switch {
	case !l.isSocket && (l.events > limit.SocketEvents || l.events > 1 && l.bytes > limit.SocketBytes):
		return l // nobody can pause another service
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

// isLost reports whether a paused lane has more than twice its bound, and the pause does not help: the edge does not confirm
// it, or has long done so and more comes. (What the edge published before comes before its answer, however much that is, and
// costs no client its connection.) mu must be held.
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

// relieve pauses the largest lanes, half of what waits in those that are not paused. It returns a lane to be flooded if
// that cannot help. mu must be held.
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

// throttle has a lane's socket paused. mu must be held.
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
	ls.tell(l.key)
}

// unthrottle has a lane's socket resumed. mu must be held.
func (ls *lanes) unthrottle(l *lane) {
	if l.paused {
		l.paused = false
		ls.throttled[l.key].wanted = false
		ls.tell(l.key)
	}
}

// drained resumes a lane that has little left, unless all lanes together have too much. mu must be held.
func (ls *lanes) drained(l *lane) {
	if l.paused && 4*l.events <= ls.limits.SocketEvents && 4*l.bytes <= ls.limits.SocketBytes &&
		2*ls.waiting <= ls.limits.WaitingBytes {
		ls.unthrottle(l)
	}
}

// tell leaves a change to the goroutine that speaks with edges, which is there while sockets are paused. mu must be held.
func (ls *lanes) tell(key laneKey) {
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

// speak tells edges which sockets are to be paused, in the order in which that changes, and ends when none is.
func (ls *lanes) speak() {
	ticker := time.NewTicker(throttleEvery)
	defer ticker.Stop()
	all := false
	for {
		due, flooded, more := ls.due(all, time.Now())
		for _, word := range due {
			if t := word.t; word.pause {
				t.instance, t.said = ls.edges.pause(word.key, t.instance), time.Now()
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

// laneWord is what an edge is to be told about a lane's socket.
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

// due is what must be said now: about the sockets whose state has changed, or about all. more is false when the goroutine
// that asks may end.
func (ls *lanes) due(all bool, now time.Time) (due []laneWord, flooded []flood, more bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	look := func(key laneKey) {
		t := ls.throttled[key]
		switch {
		case t == nil: // it was seen to already
		case t.wanted && (t.instance == "" || now.Sub(t.said) >= repeatPause):
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
	// Not before all has been said: another goroutine could be faster with what comes next.
	more = (len(ls.throttled) > 0 || len(due) > 0) && !ls.stopped
	ls.telling = more
	return due, flooded, more
}

// slow is how many sockets have been paused for long, and one of them.
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
