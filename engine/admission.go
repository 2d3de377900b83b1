package engine

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"partyline/internal/address"
)

// Why a session does not begin; its client reads it.
var (
	errLeaving        = errors.New("this server is leaving: try again, and you will reach another")
	errSessions       = errors.New("too many sessions, try again later")
	errOfAddress      = errors.New("too many sessions of your address, try again later")
	errTooFast        = errors.New("too many sessions at a time, try again in some seconds")
	errAddressTooFast = errors.New("too many sessions of your address at a time, try again in some seconds")
)

// Reasons of denials, for the count.
const (
	deniedLeaving = iota
	deniedNATS    // by Settings.Refuse
	deniedMemory
	deniedSessions
	deniedOfAddress
	deniedTooFast
	deniedAddressTooFast
	denials
)

var denialWords = [denials]string{
	deniedLeaving: "leaving", deniedNATS: "no NATS", deniedMemory: "limits.memory", deniedSessions: "limits.sessions",
	deniedOfAddress: "limits.sessions_per_address", deniedTooFast: "limits.handshakes_per_second",
	deniedAddressTooFast: "limits.handshakes_per_second_per_address",
}

func denialOf(why error) int {
	switch why {
	case errLeaving:
		return deniedLeaving
	case errMemory:
		return deniedMemory
	case errSessions:
		return deniedSessions
	case errOfAddress:
		return deniedOfAddress
	case errTooFast:
		return deniedTooFast
	case errAddressTooFast:
		return deniedAddressTooFast
	}
	return deniedNATS
}

// A client that is turned away is asked to come back after retryAfter to retryAfter+retrySpread seconds, so that many
// clients do not come back at once.
const (
	retryAfter  = 1
	retrySpread = 4
)

// turnAway answers a handshake that begins no session. The reference server has no such answer. Its clients take it
// for an error of the transport, like any other answer that they do not expect, and try again by themselves.
func (s *Server) turnAway(w http.ResponseWriter, why error) {
	s.stats.denied[denialOf(why)].Inc()
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
func (s *Server) reserve(ip string) error {
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
	err := s.admission.reserve(clientOf(ip), &s.set, time.Now())
	if err == nil {
		s.running.Add(1)
	}
	return err
}

func (s *Server) release(ip string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admission.release(clientOf(ip), &s.set)
}

// admission decides which sessions may begin. Server.mu guards it.
type admission struct {
	leaving    bool                 // no session may begin
	reserved   int                  // sessions that began or are about to
	addresses  map[netip.Prefix]int // reserved sessions by address.Key; only with MaxPerAddress
	handshakes *rate.Limiter        // nil: no limit
	recent     recent
}

func newAdmission(r *Rates) admission {
	a := admission{addresses: make(map[netip.Prefix]int)}
	if n := r.HandshakesPerSecond; n > 0 {
		a.handshakes = rate.NewLimiter(rate.Limit(n), n)
	}
	a.recent.perSecond = r.HandshakesPerSecondPerAddress
	return a
}

// clientOf returns what counts as one client for the limits an address.
func clientOf(ip string) netip.Prefix {
	parsed, _ := netip.ParseAddr(ip) // connections in memory have none, and count together
	return address.Key(parsed)
}

func (a *admission) reserve(client netip.Prefix, set *Settings, now time.Time) error {
	switch {
	case a.leaving:
		return errLeaving
	case set.MaxSessions > 0 && a.reserved >= set.MaxSessions:
		return errSessions
	case set.MaxPerAddress > 0 && a.addresses[client] >= set.MaxPerAddress:
		return errOfAddress
	// The rates are checked last: a client that is turned away for another reason does not count.
	case !a.recent.allow(client, now):
		return errAddressTooFast
	case a.handshakes != nil && !a.handshakes.AllowN(now, 1):
		return errTooFast
	}
	a.reserved++
	if set.MaxPerAddress > 0 {
		a.addresses[client]++
	}
	return nil
}

func (a *admission) release(client netip.Prefix, set *Settings) {
	a.reserved--
	if set.MaxPerAddress > 0 {
		if a.addresses[client]--; a.addresses[client] == 0 {
			delete(a.addresses, client)
		}
	}
}

// maxRecent bounds the clients that are remembered. As many cannot come in a second, unless their addresses are
// invented by a trusted proxy.
const maxRecent = 1 << 16

// recent remembers the handshakes of the last second or two, by client. Its zero value has no limit.
type recent struct {
	perSecond int // handshakes of a client; as many may come at once; 0: no limit
	clients   map[netip.Prefix]*rate.Limiter
	swept     time.Time
}

// allow reports whether a client may begin a session now, and counts it. While maxRecent clients are remembered, no
// other may.
func (r *recent) allow(client netip.Prefix, now time.Time) bool {
	if r.perSecond == 0 {
		return true
	}
	if now.Sub(r.swept) >= time.Second { // after which the limiter of a client that stayed away is full
		r.swept = now
		kept := make(map[netip.Prefix]*rate.Limiter) // a map does not shrink
		for client, limiter := range r.clients {
			if limiter.TokensAt(now) < float64(r.perSecond) {
				kept[client] = limiter
			}
		}
		r.clients = kept
	}
	limiter := r.clients[client]
	if limiter == nil {
		if len(r.clients) >= maxRecent {
			return false
		}
		limiter = rate.NewLimiter(rate.Limit(r.perSecond), r.perSecond)
		r.clients[client] = limiter
	}
	return limiter.AllowN(now, 1)
}
