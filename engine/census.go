package engine

import (
	"sync"
	"time"
)

// censusEvery is how old figures about all sessions may be: one look at Prometheus's page asks for several of them.
const censusEvery = time.Second

// tallied is what all sessions together are like. To count it where it changes would cost every message; it is looked up
// when somebody asks.
type tallied struct {
	transports  [2]int // sessions on polling, on WebSocket
	waiting     int    // bytes that wait to be sent, in all sessions
	mostWaiting int    // in the session where most wait
}

// census keeps the figures for a moment.
type census struct {
	mu    sync.Mutex
	taken time.Time // guarded by mu
	last  tallied   // guarded by mu
}

// take counts all sessions, or has just done so.
func (c *census) take(s *Server) tallied {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.taken.IsZero() && time.Since(c.taken) < censusEvery {
		return c.last
	}
	c.last = tallied{}
	for _, session := range s.all() {
		session.mu.Lock()
		transport, waiting := 0, session.queued
		if session.conn != nil {
			transport = 1
		}
		session.mu.Unlock()
		c.last.transports[transport]++
		c.last.waiting += waiting
		c.last.mostWaiting = max(c.last.mostWaiting, waiting)
	}
	c.taken = time.Now()
	return c.last
}
