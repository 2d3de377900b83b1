// Package handshakes bounds how many sessions there are and how fast they begin: of all clients, and of each client
// address.
package handshakes

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"partyline/internal/address"
)

// Errors of Reserve, as clients read them.
var (
	ErrLeaving        = errors.New("this server is leaving: try again, and you will reach another")
	ErrSessions       = errors.New("too many sessions, try again later")
	ErrOfAddress      = errors.New("too many sessions of your address, try again later")
	ErrTooFast        = errors.New("too many sessions at a time, try again in some seconds")
	ErrAddressTooFast = errors.New("too many sessions of your address at a time, try again in some seconds")
)

// Limits bound sessions. 0: no limit.
type Limits struct {
	Sessions, PerAddress           int // sessions at once
	PerSecond, PerSecondPerAddress int // sessions that begin; as many may come at once
}

// Table decides which sessions may begin. It is not safe for concurrent use.
type Table struct {
	Leaving bool // no session may begin

	limits    Limits
	reserved  int                  // sessions that began or are about to
	addresses map[netip.Prefix]int // reserved sessions by address.Key
	begun     *rate.Limiter
	recent    recent
}

// New makes a Table without a session.
func New(limits Limits) *Table {
	t := &Table{addresses: make(map[netip.Prefix]int)}
	t.SetLimits(limits)
	return t
}

// SetLimits replaces the limits. Sessions that there are count against them, and go on.
func (t *Table) SetLimits(limits Limits) {
	if t.begun == nil || limits.PerSecond != t.limits.PerSecond {
		perSecond := rate.Inf
		if limits.PerSecond > 0 {
			perSecond = rate.Limit(limits.PerSecond)
		}
		t.begun = rate.NewLimiter(perSecond, limits.PerSecond)
	}
	if limits.PerSecondPerAddress != t.recent.perSecond {
		t.recent = recent{perSecond: limits.PerSecondPerAddress}
	}
	t.limits = limits
}

// clientOf returns what counts as one client for the limits of an address.
func clientOf(ip string) netip.Prefix {
	parsed, _ := netip.ParseAddr(ip) // connections in memory have none, and count together
	return address.Key(parsed)
}

// Reserve reserves a session for an IP address, unless a limit forbids it. Release takes it back. The error is one of
// this package.
func (t *Table) Reserve(ip string, now time.Time) error {
	client, limits := clientOf(ip), &t.limits
	switch {
	case t.Leaving:
		return ErrLeaving
	case limits.Sessions > 0 && t.reserved >= limits.Sessions:
		return ErrSessions
	case limits.PerAddress > 0 && t.addresses[client] >= limits.PerAddress:
		return ErrOfAddress
	// The rates are checked last: a client that is turned away for another reason does not count.
	case !t.recent.allow(client, now):
		return ErrAddressTooFast
	case !t.begun.AllowN(now, 1):
		return ErrTooFast
	}
	t.reserved++
	t.addresses[client]++ // also without PerAddress, which may come later
	return nil
}

// Release gives back a session that was reserved for an IP address.
func (t *Table) Release(ip string) {
	t.reserved--
	client := clientOf(ip)
	if t.addresses[client]--; t.addresses[client] == 0 {
		delete(t.addresses, client)
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
