package engine

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"partyline/internal/handshakes"
)

// denial is why a session does not begin.
type denial uint8

const (
	deniedLeaving denial = iota
	deniedNATS           // by Settings.Refuse
	deniedMemory
	deniedSessions
	deniedOfAddress
	deniedTooFast
	deniedAddressTooFast
	denials
)

// denialsAs are the labels of the metric, and what clients read.
var denialsAs = [denials]struct {
	label string
	error
}{
	deniedLeaving:        {"leaving", handshakes.ErrLeaving},
	deniedNATS:           {"no NATS", nil}, // clients read the error of Refuse
	deniedMemory:         {"limits.memory", errors.New("too little memory, try again later")},
	deniedSessions:       {"limits.sessions", handshakes.ErrSessions},
	deniedOfAddress:      {"limits.sessions_per_address", handshakes.ErrOfAddress},
	deniedTooFast:        {"limits.handshakes_per_second", handshakes.ErrTooFast},
	deniedAddressTooFast: {"limits.handshakes_per_second_per_address", handshakes.ErrAddressTooFast},
}

// turnAway answers a handshake that begins no session. The reference server has no such answer. Its clients take it
// for an error of the transport, like any other answer that they do not expect, and try again by themselves.
func (s *Server) turnAway(w http.ResponseWriter, why error) {
	kind := deniedNATS
	for i, as := range denialsAs {
		if as.error == why {
			kind = denial(i)
		}
	}
	s.stats.denied[kind].Inc()
	w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(5))) // 1 to 5 s: many clients must not come back at once
	http.Error(w, why.Error(), http.StatusServiceUnavailable)
}

// Leave refuses new sessions from now on: their handshakes are answered with 503, so that clients try again elsewhere.
func (s *Server) Leave() { s.setLeaving(true) }

// Return lets new sessions begin again after a Leave.
func (s *Server) Return() { s.setLeaving(false) }

func (s *Server) setLeaving(leaving bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handshakes.Leaving = leaving
}

// begun counts a request that may start goroutines, so that Abort waits for it, unless the server is leaving. If it
// returns true, running.Done must be called.
func (s *Server) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.handshakes.Leaving {
		s.running.Add(1)
	}
	return !s.handshakes.Leaving
}

// reserve reserves a session for an address, unless the server is leaving or a limit forbids it, and counts the
// request as begun does. remove takes it back.
func (s *Server) reserve(ip string) error {
	if s.set().Refuse != nil {
		if err := s.set().Refuse(); err != nil {
			return err
		}
	}
	if s.full.Load() {
		return denialsAs[deniedMemory].error
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.handshakes.Reserve(ip, time.Now())
	if err == nil {
		s.running.Add(1)
	}
	return err
}
