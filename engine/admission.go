package engine

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Why a session does not begin; its client reads it.
var (
	errLeaving = errors.New("this server is leaving: try again, and you will reach another")
	errLimit   = errors.New("too many sessions, try again later")
	errTooFast = errors.New("too many sessions at a time, try again in some seconds")
)

// A client that is turned away is asked to come back after retryAfter to retryAfter+retrySpread seconds, so that many
// clients do not come back at once.
const (
	retryAfter  = 1
	retrySpread = 4
)

// turnAway answers a handshake that begins no session. The reference server has no such answer. Its clients take it
// for an error of the transport, like any other answer that they do not expect, and try again by themselves.
func (s *Server) turnAway(w http.ResponseWriter, why error) {
	if why == errTooFast {
		s.stats.tooFast.Inc()
	} else {
		s.stats.overLimit.Inc()
	}
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter+rand.IntN(retrySpread+1)))
	http.Error(w, why.Error(), http.StatusServiceUnavailable)
}

// Leave refuses new sessions from now on: their handshakes are answered with 503, so that clients try again elsewhere.
func (s *Server) Leave() { s.setLeaving(true) }

// Return lets new sessions begin again after a Leave.
func (s *Server) Return() { s.setLeaving(false) }

func (s *Server) setLeaving(leaving bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admission.leaving = leaving
}

// begun counts a request that may start goroutines, so that Abort waits for it, unless the server is leaving. If it
// returns true, running.Done must be called.
func (s *Server) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.admission.leaving {
		s.running.Add(1)
	}
	return !s.admission.leaving
}

// reserve reserves a session for an address, unless the server is leaving or a limit forbids it, and counts the
// request as begun does. release takes it back, which remove does for a session that began.
func (s *Server) reserve(address string) error {
	if s.set.Refuse != nil {
		if err := s.set.Refuse(); err != nil {
			return err
		}
	}
	if s.full.Load() {
		return errMemory
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.admission.reserve(address, &s.set, time.Now())
	if err == nil {
		s.running.Add(1)
	}
	return err
}

func (s *Server) release(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admission.release(address, &s.set)
}

// admission decides which sessions may begin. Server.mu guards it.
type admission struct {
	leaving    bool           // no session may begin
	reserved   int            // sessions that began or are about to
	addresses  map[string]int // reserved sessions by client address; only with MaxPerAddress
	handshakes bucket         // how many may begin now; only with MaxHandshakes
}

func (a *admission) reserve(address string, set *Settings, now time.Time) error {
	switch {
	case a.leaving:
		return errLeaving
	case set.MaxSessions > 0 && a.reserved >= set.MaxSessions,
		set.MaxPerAddress > 0 && a.addresses[address] >= set.MaxPerAddress:
		return errLimit
	case set.MaxHandshakes > 0 && !a.handshakes.take(float64(set.MaxHandshakes), now):
		return errTooFast // checked last: a client that is turned away for another reason does not count
	}
	a.reserved++
	if set.MaxPerAddress > 0 {
		a.addresses[address]++
	}
	return nil
}

func (a *admission) release(address string, set *Settings) {
	a.reserved--
	if set.MaxPerAddress > 0 {
		if a.addresses[address]--; a.addresses[address] == 0 {
			delete(a.addresses, address)
		}
	}
}

// bucket lets a number of things happen each second, and as many at once after a quiet second. Its zero value is full.
type bucket struct {
	left float64
	at   time.Time // when left was computed
}

// take reports whether one more may happen now.
func (b *bucket) take(perSecond float64, now time.Time) bool {
	if b.at.IsZero() {
		b.left = perSecond
	}
	b.left = min(perSecond, b.left+now.Sub(b.at).Seconds()*perSecond)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
