package liveness

import (
	"sync/atomic"
	"time"
)

// Clock notices that a process did not run: it was stopped, or its machine was suspended. Somebody ticks it all the time. It
// reads the wall clock, because the monotonic one stands still while a machine is suspended; a wall clock that is set forward
// looks like a pause. The zero Clock has never ticked. It is safe for concurrent use.
type Clock struct {
	last atomic.Int64 // nanoseconds since 1970; 0: never
}

// Tick notes that the process runs.
func (c *Clock) Tick(now time.Time) { c.last.Store(now.UnixNano()) }

// Away is how long ago the last tick was; 0 before the first.
func (c *Clock) Away(now time.Time) time.Duration {
	last := c.last.Load()
	if last == 0 {
		return 0
	}
	return time.Duration(now.UnixNano() - last)
}
