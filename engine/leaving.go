package engine

import (
	"time"
)

// Leave refuses new sessions from now on: their handshakes are answered with 503, so that clients try again elsewhere.
func (s *Server) Leave() {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
}

// Return lets new sessions begin again after a Leave.
func (s *Server) Return() {
	s.mu.Lock()
	s.leaving = false
	s.mu.Unlock()
}

// Closers lists, in no order, what closes each session that is open now in good order (Session.Close).
func (s *Server) Closers(reason Reason) []func() {
	all := s.all()
	closers := make([]func(), 0, len(all))
	for _, session := range all {
		if session.isOpen() {
			closers = append(closers, func() { session.Close(reason) })
		}
	}
	return closers
}

// Abort ends all sessions, gives those that wait for their clients after a Close one more second (lastWrite), and
// waits for every goroutine of the server. Leave must have been called.
func (s *Server) Abort() {
	for _, session := range s.all() {
		session.fail(ServerShutdown)
	}
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Conn.SetDeadline(time.Now().Add(lastWrite))
		conn.hurried.Store(true)
	}
	s.mu.Unlock()
	s.running.Wait()
}
