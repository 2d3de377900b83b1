package edge

import "time"

// pauseTimer stops the timer while a service is asked about a socket. Edge.mu must be held.
func (c *connection) pauseTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.left -= time.Since(c.since)
	}
}

// resumeTimer starts it again with the time that was left. Edge.mu must be held.
func (c *connection) resumeTimer() {
	if c.timer != nil {
		c.since = time.Now()
		c.timer.Reset(max(0, c.left))
	}
}

// stopTimer lets go of the timer. Needs Edge.mu.
func (c *connection) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}
