package token

import "time"

// maxWaiting is how many tokens wait for keys of an issuer.
const maxWaiting = 1 << 16

// waiter is a token that waits for a fetch.
type waiter struct {
	entry *entry
	then  func(fetched bool)
	timer *time.Timer // calls late

	isLate bool // guarded by entry.mu
}

// stop ends the timer, and reports whether it was running: then is not called by it.
func (w *waiter) stop() bool {
	running := w.timer.Stop()
	if running {
		w.entry.ring.running.Done()
	}
	return running
}

// late calls then when the time is over.
func (w *waiter) late() {
	defer w.entry.ring.running.Done()
	w.entry.mu.Lock()
	delete(w.entry.waiting, w)
	w.isLate = true
	w.entry.mu.Unlock()
	w.then(false)
}

// wait calls then once, on another goroutine: after a fetch that begins now or later has succeeded, or after a time, with false.
func (e *entry) wait(within time.Duration, then func(fetched bool)) {
	w := &waiter{entry: e, then: then}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting == nil {
		return
	}
	e.ring.running.Add(1)
	if len(e.waiting) >= e.ring.maxWaiting {
		e.dropped.Inc()
		within = 0
	} else {
		e.waiting[w] = struct{}{}
	}
	w.timer = time.AfterFunc(within, w.late)
	select {
	case e.wake <- struct{}{}:
	default: // run has not looked yet
	}
}

// take returns the tokens that wait, and puts others in their place.
func (e *entry) take(others map[*waiter]struct{}) map[*waiter]struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting == nil { // closed
		return nil
	}
	taken := e.waiting
	e.waiting = others
	return taken
}

// giveBack lets tokens wait for the next fetch, and reports whether any does.
func (e *entry) giveBack(taken map[*waiter]struct{}) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for w := range taken {
		if e.waiting == nil {
			w.stop()
		} else if !w.isLate {
			e.waiting[w] = struct{}{}
		}
	}
	return len(e.waiting) > 0
}
