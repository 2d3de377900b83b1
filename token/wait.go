package token

import "time"

// maxWaiting is how much of tokens waits for keys of an issuer, in bytes: anyone can make one whose key is unknown.
const maxWaiting = 64 << 20

// waiterBytes is what a token that waits costs beside its own bytes.
const waiterBytes = 512

// waiter is a token that waits for a fetch.
type waiter struct {
	entry *entry
	size  int // in bytes
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

// again has the token of an issuer that is gone judged again.
func (w *waiter) again() {
	if w.stop() {
		w.entry.ring.later(func() { w.then(true) })
	}
}

// late calls then when the time is over.
func (w *waiter) late() {
	defer w.entry.ring.running.Done()
	w.entry.mu.Lock()
	if _, waits := w.entry.waiting[w]; waits {
		delete(w.entry.waiting, w)
		w.entry.waitingBytes -= w.size
	}
	w.isLate = true
	w.entry.mu.Unlock()
	w.then(false)
}

// wait calls then once, on another goroutine: after a fetch that begins now or later has succeeded, or after a time,
// with false.
func (e *entry) wait(raw string, within time.Duration, then func(fetched bool)) {
	w := &waiter{entry: e, size: len(raw) + waiterBytes, then: then}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting == nil { // the issuer is gone, or the keyring closed
		e.ring.later(func() { then(true) })
		return
	}
	e.ring.running.Add(1)
	if e.waitingBytes+w.size > e.ring.maxWaiting {
		e.dropped.Inc()
		within = 0
	} else {
		e.waiting[w] = struct{}{}
		e.waitingBytes += w.size
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
	e.waiting, e.waitingBytes = others, 0
	return taken
}

// giveBack lets tokens wait for the next fetch, and reports whether any does.
func (e *entry) giveBack(taken map[*waiter]struct{}) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for w := range taken {
		if e.waiting == nil {
			w.again()
		} else if !w.isLate {
			e.waiting[w] = struct{}{}
			e.waitingBytes += w.size
		}
	}
	return len(e.waiting) > 0
}
