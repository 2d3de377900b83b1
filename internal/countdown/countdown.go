// Package countdown is a timer that can stand still.
package countdown

import (
	"sync"
	"time"
)

// Timer calls a function once, when it has run for some time. It stands still while it is paused. The zero Timer has
// ended. It is safe for concurrent use.
type Timer struct {
	mu     sync.Mutex
	timer  *time.Timer   // guarded by mu; nil before Start and after Stop
	left   time.Duration // guarded by mu: how much of the time was left at since
	since  time.Time     // guarded by mu
	paused int           // guarded by mu: calls of Pause without one of Resume
}

// Start starts the timer. It calls end on a goroutine of its own, once it has run for a time, unless it is stopped.
func (t *Timer) Start(after time.Duration, end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left, t.since = after, time.Now()
	t.timer = time.AfterFunc(after, func() {
		t.mu.Lock()
		isOver := t.timer != nil && t.paused == 0
		t.mu.Unlock()
		if isOver {
			end()
		}
	})
}

// Pause makes the timer stand still until Resume has been called as often.
func (t *Timer) Pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paused++; t.paused == 1 && t.timer != nil {
		t.timer.Stop()
		t.left -= time.Since(t.since)
	}
}

// Resume takes a Pause back. After the last one the timer goes on with the time that was left, unless isLast is set:
// then it stands still, and must be stopped.
func (t *Timer) Resume(isLast bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paused--; t.paused == 0 && t.timer != nil && !isLast {
		t.since = time.Now()
		t.timer.Reset(max(0, t.left))
	}
}

// Stop ends the timer.
func (t *Timer) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}
