package liveness

import (
	"sync/atomic"
	"time"
)

// Clock notices that a process did not run: it was stopped, or its machine was suspended. Call Tick regularly. It reads
// the wall clock, because the monotonic one stands still while a machine is suspended; a wall clock that is set forward
// looks like a pause. The zero Clock has never ticked. It is safe for concurrent use.
type Clock struct {
	last atomic.Int64 // nanoseconds since 1970; 0: never
}

// Tick notes that the process runs.
func (c *Clock) Tick(now time.Time) { c.last.Store(now.UnixNano()) }

// Away returns how long ago the last tick was; 0 before the first.
func (c *Clock) Away(now time.Time) time.Duration {
	last := c.last.Load()
	if last == 0 {
		return 0
	}
	return time.Duration(now.UnixNano() - last)
}

// Listener notices that its process could not hear others: then their silence means nothing (Table.Forgive). It is
// owned by the loop that looks.
type Listener struct {
	connected bool
	looked    time.Time
}

// WasDeaf reports whether the process was not connected now or at the call before, or did not run between the two for
// longer than most. It compares wall clocks, as Clock does.
func (l *Listener) WasDeaf(connected bool, now time.Time, most time.Duration) bool {
	deaf := !connected || !l.connected || now.UnixNano()-l.looked.UnixNano() > int64(most)
	l.connected, l.looked = connected, now
	return deaf
}
