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

// denialTexts are the labels of the metric, and what clients read.
var denialTexts = [denials]struct{ label, text string }{
	deniedLeaving:        {"leaving", "this server is leaving: try again, and you will reach another"},
	deniedNATS:           {"no NATS", ""}, // clients read the error of Refuse
	deniedMemory:         {"limits.memory", "too little memory, try again later"},
	deniedSessions:       {"limits.sessions", "too many sessions, try again later"},
	deniedOfAddress:      {"limits.sessions_per_address", "too many sessions of your address, try again later"},
	deniedTooFast:        {"limits.handshakes_per_second", "too many sessions at a time, try again in some seconds"},
	deniedAddressTooFast: {"limits.handshakes_per_second_per_address", "too many sessions of your address at a time, try again in some seconds"},
}

func (d denial) Error() string { return denialTexts[d].text }

// turnAway answers a handshake that begins no session. The reference server has no such answer. Its clients take it
// for an error of the transport, like any other answer that they do not expect, and try again by themselves.
func (s *Server) turnAway(w http.ResponseWriter, why error) {
	kind := deniedNATS
	errors.As(why, &kind)
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
// request as begun does. remove takes it back.
func (s *Server) reserve(ip string) error {
	if s.set.Refuse != nil {
		if err := s.set.Refuse(); err != nil {
			return err
		}
	}
	if s.full.Load() {
		return deniedMemory
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.admission.reserve(clientOf(ip), &s.set, time.Now())
	if err == nil {
		s.running.Add(1)
	}
	return err
}

// admission decides which sessions may begin. Server.mu guards it.
type admission struct {
	leaving    bool                 // no session may begin
	reserved   int                  // sessions that began or are about to
	addresses  map[netip.Prefix]int // reserved sessions by address.Key; only with MaxPerAddress
	handshakes *rate.Limiter
	recent     recent
}

func newAdmission(r *Rates) admission {
	limit := rate.Inf
	if r.HandshakesPerSecond > 0 {
		limit = rate.Limit(r.HandshakesPerSecond)
	}
	return admission{
		addresses: make(map[netip.Prefix]int), handshakes: rate.NewLimiter(limit, r.HandshakesPerSecond),
		recent: recent{perSecond: r.HandshakesPerSecondPerAddress},
	}
}

// clientOf returns what counts as one client for the limits an address.
func clientOf(ip string) netip.Prefix {
	parsed, _ := netip.ParseAddr(ip) // connections in memory have none, and count together
	return address.Key(parsed)
}

func (a *admission) reserve(client netip.Prefix, set *Settings, now time.Time) error {
	switch {
	case a.leaving:
		return deniedLeaving
	case set.MaxSessions > 0 && a.reserved >= set.MaxSessions:
		return deniedSessions
	case set.MaxPerAddress > 0 && a.addresses[client] >= set.MaxPerAddress:
		return deniedOfAddress
	// The rates are checked last: a client that is turned away for another reason does not count.
	case !a.recent.allow(client, now):
		return deniedAddressTooFast
	case !a.handshakes.AllowN(now, 1):
		return deniedTooFast
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
