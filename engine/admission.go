package engine

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Why a session is not opened; its client reads it.
var (
	errLeaving = errors.New("this server is leaving: try again, and you will reach another")
	errLimit   = errors.New("too many sessions, try again later")
	errTooFast = errors.New("too many sessions at a time, try again in some seconds")
)

// Who is turned away is asked to come back after retryAfter to retryAfter+retrySpread seconds, so that a crowd spreads.
const (
	retryAfter  = 1
	retrySpread = 4
)

// turnAway answers a handshake that opens no session. The reference server has no such answer: its clients take it, as
// any other that is none, for an error of the transport, and try again by themselves.
func (s *Server) turnAway(w http.ResponseWriter, why error) {
	if why == errTooFast {
		s.stats.tooFast.Inc()
	} else {
		s.stats.overLimit.Inc()
	}
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter+rand.IntN(retrySpread+1)))
	http.Error(w, why.Error(), http.StatusServiceUnavailable)
}

// reserve takes a place for a session of an address, unless the server is leaving or a limit forbids it, and counts the
// request as begun does. release gives the place back, which remove does for a session that began.
func (s *Server) reserve(address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.leaving:
		return errLeaving
	case s.set.MaxSessions > 0 && s.reserved >= s.set.MaxSessions,
		s.set.MaxPerAddress > 0 && s.addresses[address] >= s.set.MaxPerAddress:
		return errLimit
	case s.set.MaxHandshakes > 0 && !s.handshakes.take(float64(s.set.MaxHandshakes), time.Now()):
		return errTooFast // the last question: who is turned away for another reason takes nobody's turn
	}
	s.running.Add(1)
	s.reserved++
	if s.set.MaxPerAddress > 0 {
		s.addresses[address]++
	}
	return nil
}

func (s *Server) release(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(address)
}

func (s *Server) releaseLocked(address string) {
	s.reserved--
	if s.set.MaxPerAddress > 0 {
		if s.addresses[address]--; s.addresses[address] == 0 {
			delete(s.addresses, address)
		}
	}
}

// bucket lets a number of things a second happen, and after a quiet second as many at once. Its zero value is full.
type bucket struct {
	left float64
	at   time.Time // when left was so
}

// take says whether one more may happen now.
func (b *bucket) take(perSecond float64, now time.Time) bool {
	if b.at.IsZero() {
		b.left = perSecond
	} else {
		b.left = min(perSecond, b.left+now.Sub(b.at).Seconds()*perSecond)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
