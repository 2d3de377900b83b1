// Package liveness detects that this process did not live: it did not run, or could not receive. Then the silence of
// others means nothing. It has no goroutine, and the caller passes the time.
package liveness

import (
	"sync/atomic"
	"time"
)

// Clock detects that its process did not run: it was stopped, or its machine was suspended. Tick must be called
// regularly. It reads the wall clock, because the monotonic one stops while a machine is suspended. A wall clock that
// is set forward looks like a pause. The zero Clock has never ticked. It is safe for concurrent use.
type Clock struct {
	last atomic.Int64 // nanoseconds since 1970; 0: never
}

// Tick records that the process runs.
func (c *Clock) Tick(now time.Time) { c.last.Store(now.UnixNano()) }

// Away returns how long ago the last tick was; 0 before the first.
func (c *Clock) Away(now time.Time) time.Duration {
	last := c.last.Load()
	if last == 0 {
		return 0
	}
	return time.Duration(now.UnixNano() - last)
}

// Listener detects that its process could not receive. It is not safe for concurrent use.
type Listener struct {
	connected bool
	looked    time.Time
}

// WasDeaf reports whether the process is not connected, was not connected at the previous call, or did not call it
// for longer than most. It compares wall clocks, as Clock does.
func (l *Listener) WasDeaf(connected bool, now time.Time, most time.Duration) bool {
	deaf := !connected || !l.connected || now.UnixNano()-l.looked.UnixNano() > int64(most)
	l.connected, l.looked = connected, now
	return deaf
}
