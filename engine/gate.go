package engine

import (
	"context"
	"time"

	"partyline/wire/eio"
)

// postWait is how long the answer to a POST waits at most while its session is not read. Proxies, and other edges that have
// passed the POST on, give up on an answer that takes much longer.
const postWait = 20 * time.Second

// postWait is that time for this session: the operator may have less patience.
func (s *Session) postWait() time.Duration { return min(postWait, s.patience()*4/5) }

// gate keeps a session from being read. It is there while reading stands still and nil otherwise, which one atomic load
// shows. Whatever must slow a client down stops its reading here, and nowhere else: a WebSocket waits between messages, and
// a polling session with the answer to its POST. Session.in is never held meanwhile.
//
// The client is still pinged, every ping interval, and its pong is not waited for: it lies behind what is not read. Time
// limits for a packet of which a part has come must not run while there is a gate.
type gate struct {
	stops    int           // guarded by Session.mu: calls of StopReading without one of ResumeReading
	changed  chan struct{} // guarded by Session.mu: closed, and made anew, when those that wait must look again
	left     [][]byte      // guarded by Session.mu: payloads of POSTs, or the rest of one, that nobody has handled; in order
	bytes    int           // guarded by Session.mu: size of left
	handling bool          // guarded by Session.mu: a goroutine handles left
	broken   bool          // guarded by Session.mu: the connection cannot be written to, so reading it shows the end
}

// StopReading keeps the session from being read until ResumeReading has been called as often. Messages that have been read
// are still handled; called by Receiver.Message, that message is the last one. It does not wait.
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
	s.lenient = true
}

// ResumeReading takes one StopReading back. It does not wait.
func (s *Session) ResumeReading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.gate.Load(); g != nil && g.stops > 0 {
		if g.stops--; g.stops == 0 {
			s.gateChanged(g)
		}
	}
}

// gateChanged wakes those that wait, and takes the gate away when nothing keeps it. mu must be held.
func (s *Session) gateChanged(g *gate) {
	close(g.changed)
	if g.stops > 0 || g.handling {
		g.changed = make(chan struct{})
		return
	}
	s.removeGate()
	if s.pinged {
		s.beatAfter(time.Now(), s.server.cfg.PingTimeout) // from now on the client can be heard
	}
}

// openGate ends every wait at the gate because the session ends. mu must be held.
func (s *Session) openGate() {
	if g := s.gate.Load(); g != nil {
		close(g.changed)
		s.removeGate()
	}
}

func (s *Session) removeGate() {
	s.gate.Store(nil)
	s.server.stats.unread.Add(-1)
}

// wakeGate makes those that wait look again. mu must be held.
func (s *Session) wakeGate() {
	if g := s.gate.Load(); g != nil {
		close(g.changed)
		g.changed = make(chan struct{})
	}
}

// writeFailed lets the reader of a broken connection find its end. mu must be held.
func (s *Session) writeFailed() {
	if g := s.gate.Load(); g != nil {
		g.broken = true
		s.wakeGate()
	}
}

// pass waits until the session's WebSocket may be read.
func (s *Session) pass() {
	for {
		s.mu.Lock()
		g := s.gate.Load()
		if g == nil || g.broken {
			s.mu.Unlock()
			return
		}
		changed := g.changed
		s.mu.Unlock()
		<-changed
	}
}

// passPost waits until a POST may be answered: until the session is read again, for postWait at most, and not while a
// WebSocket wants to take over, since the client completes an upgrade only when its POST has been answered.
func (s *Session) passPost(ctx context.Context) {
	timeout := time.NewTimer(s.postWait())
	defer timeout.Stop()
	for {
		s.mu.Lock()
		g := s.gate.Load()
		if g == nil || s.upgrade != nil || s.conn != nil {
			s.mu.Unlock()
			return
		}
		changed := g.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-timeout.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// packets handles a polling payload. What it may not handle now is left to a goroutine.
func (s *Session) packets(payload []byte) {
	for payload != nil && !s.postpone(payload) {
		payload = s.payload(payload)
	}
}

// postpone keeps a payload for later if the session is not read, and reports whether it is not. As much may wait as for
// the client itself; past that the session ends.
func (s *Session) postpone(payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gate.Load()
	if g == nil {
		return false
	}
	if g.bytes+len(payload) > s.server.queueBytes {
		s.overflow()
		return true
	}
	g.left = append(g.left, payload)
	g.bytes += len(payload)
	if !g.handling {
		g.handling = true
		s.server.running.Add(1)
		go s.handleLeft(g)
	}
	return true
}

// handleLeft handles what POSTs have left, as soon as the session may be read, and ends.
func (s *Session) handleLeft(g *gate) {
	defer s.server.running.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.gate.Load() == g {
		switch {
		case g.stops > 0:
			changed := g.changed
			s.mu.Unlock()
			<-changed
			s.mu.Lock()
		case len(g.left) == 0:
			g.handling = false
			s.gateChanged(g)
			return
		default:
			payload := g.left[0]
			s.mu.Unlock()
			rest := s.payload(payload)
			s.mu.Lock()
			g.bytes -= len(payload) - len(rest)
			if g.left[0] = rest; rest == nil {
				g.left = g.left[1:]
			}
		}
	}
}

// payload handles a polling payload until it ends or reading stops, and returns the rest, nil for none.
func (s *Session) payload(payload []byte) (rest []byte) {
	s.in.Lock()
	defer s.in.Unlock()
	for {
		p, rest, err := eio.Next(payload)
		switch {
		case err != nil:
			s.broken(ParseError, err)
			return nil
		case p.Type == eio.Close:
			s.depart()
			return nil
		}
		s.packet(p)
		if rest == nil || s.gate.Load() != nil && s.isStopped() {
			return rest
		}
		payload = rest
	}
}

// isStopped reports whether no further packet may be handled now.
func (s *Session) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gate.Load()
	return g != nil && g.stops > 0
}
