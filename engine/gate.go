package engine

import (
	"context"
	"time"

	"partyline/wire/eio"
	"partyline/wire/ws"
)

// gate keeps a session from being read. A session has one while reading is stopped and none otherwise, which one
// atomic load shows. Whatever must slow a client down stops its reading here, and nowhere else: a WebSocket waits
// between messages, and a polling session with the answer to its POST. Session.in is never held meanwhile.
//
// The client is still pinged, every ping interval, and its pong is not waited for: it lies behind what is not read.
// Time limits for a packet of which a part has come must not run while there is a gate.
type gate struct {
	stops     int           // guarded by Session.mu: calls of StopReading without one of ResumeReading
	changed   chan struct{} // guarded by Session.mu: closed and replaced when those that wait must look again
	postponed []postponed   // guarded by Session.mu: payloads of POSTs that are not handled yet; in order
	bytes     int           // guarded by Session.mu: memory of postponed
	handling  bool          // guarded by Session.mu: a goroutine handles postponed
	broken    bool          // guarded by Session.mu: the connection cannot be written to, so reading it shows the end
}

// postponed is the payload of a POST.
type postponed struct {
	rest []byte // what is not handled yet
	size int    // memory of the whole payload, in bytes; static
}

// wake lets those that wait look again. Session.mu must be held.
func (g *gate) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// StopReading stops the reading of the session until ResumeReading has been called as often. Messages that have been
// read are still handled; called by Receiver.Message, that message is the last one. It does not block.
func (s *Session) StopReading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open {
		return
	}
	g := s.gate.Load()
	if g == nil {
		g = &gate{changed: make(chan struct{})}
		s.gate.Store(g)
		s.server.stats.stops.Inc()
		s.server.stats.unread.Add(1)
	}
	g.stops++
	s.heartbeat.lenient = true
}

// ResumeReading takes one StopReading back. It does not block.
func (s *Session) ResumeReading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.gate.Load(); g != nil && g.stops > 0 {
		if g.stops--; g.stops == 0 {
			s.gateChanged(g)
		}
	}
}

// gateChanged wakes those that wait, and opens the gate if there is no reason left for it. mu must be held.
func (s *Session) gateChanged(g *gate) {
	if g.handling {
		g.wake()
		return
	}
	s.openGate()
	if s.heartbeat.pinged {
		s.heartbeat.after(time.Now(), s.server.set().PingTimeout) // from now on the pong can be read
	}
}

// openGate removes the gate, if there is one, and ends every wait at it. mu must be held.
func (s *Session) openGate() {
	if g := s.gate.Load(); g != nil {
		g.wake()
		s.gate.Store(nil)
		s.server.stats.unread.Add(-1)
	}
}

// waitAtGate waits until the session has no gate, done reports true with mu held, or ctx ends.
func (s *Session) waitAtGate(ctx context.Context, done func(*gate) bool) {
	for {
		s.mu.Lock()
		g := s.gate.Load()
		if g == nil || done(g) {
			s.mu.Unlock()
			return
		}
		changed := g.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// isStopped reports whether no further packet may be handled now.
func (s *Session) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gate.Load()
	return g != nil && g.stops > 0
}

// handleControl has pings and pongs of WebSocket handled as those of a session.
func (c *wsConn) handleControl() {
	c.ws.SetPingHandler(c.pong)
	c.ws.SetPongHandler(c.control)
}

// control counts a control frame. gorilla goes on reading behind it, so it waits here while the session is not read.
func (c *wsConn) control(data string) error {
	c.reader.raw -= controlHead + int64(len(data)) // the rates bound it
	s, now := c.session, time.Now()
	c.lockIn()
	s.received(len(data), now)
	s.takeTurn(len(data), now, false)
	s.in.Unlock()
	c.waitAtGate()
	return nil
}

// pong queues the answer to a ping of WebSocket. A client that pings and does not read overflows its queue.
func (c *wsConn) pong(data string) error {
	c.session.Send(eio.NewControl(ws.Pong, data))
	return c.control(data)
}
