// Package rates bounds how much one client sends, by several rates at once.
package rates

import (
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// Rate bounds something that each client may do. It is static, and shared by all clients. Another of the same name
// takes its place where it was used.
type Rate struct {
	Name      string // of the setting, for the log
	PerSecond int    // >= 1
	Burst     int    // that may come at once after a quiet time; >= 1
}

const (
	// LeastWait is how long a client waits at least, so that a flood does not cost a timer a packet.
	LeastWait = 20 * time.Millisecond
	// calmAfter is how long a client must not have waited for Excess.Since to begin again.
	calmAfter = time.Second
)

// Meter counts what one client does. The zero Meter has counted nothing. The caller guards it.
type Meter struct {
	limiters []limiter // of the rates that were used
	since    time.Time // when the client first had to wait, without a calm time since then
	until    time.Time // when its last wait ends
}

type limiter struct {
	*rate.Limiter
	rate *Rate
}

// Excess is by how much a client is above a rate.
type Excess struct {
	Wait    time.Duration // until it is not any more; 0: it is within the rate
	More    time.Duration // the part of Wait behind the ends of earlier ones
	Since   time.Duration // for how long it has been above a rate again and again
	IsFirst bool          // it was not within the last second
}

// IsFull reports whether the client may do as much as one of which nothing was counted.
func (m *Meter) IsFull(now time.Time) bool {
	return !slices.ContainsFunc(m.limiters, func(l limiter) bool { return l.TokensAt(now) < float64(l.Burst()) })
}

// Take counts n against a rate. The caller must let the client wait, but n itself may be done.
func (m *Meter) Take(r *Rate, n int, now time.Time) (e Excess) {
	if e.Wait = m.reserve(r, n, now); e.Wait <= 0 {
		return Excess{}
	}
	if e.IsFirst = now.Sub(m.until) > calmAfter; e.IsFirst {
		m.since = now
	}
	if m.until.Before(now) {
		m.until = now
	}
	e.Since, e.More = now.Sub(m.since), max(0, now.Add(e.Wait).Sub(m.until))
	m.until = m.until.Add(e.More)
	return e
}

// reserve counts n, and returns how long the client must wait.
func (m *Meter) reserve(r *Rate, n int, now time.Time) time.Duration {
	for i := range m.limiters {
		l := &m.limiters[i]
		if l.rate != r && l.rate.Name == r.Name { // the configuration was read again
			l.SetLimitAt(now, rate.Limit(r.PerSecond))
			l.SetBurstAt(now, r.Burst)
			l.rate = r
		}
		if l.rate == r {
			wait := l.ReserveN(now, min(n, r.Burst)).DelayFrom(now)
			if wait > 0 { // not for longer than a burst takes, or the client would be slower than its rate
				burst := float64(r.Burst) / float64(r.PerSecond)
				wait = max(wait, time.Duration(min(LeastWait.Seconds(), burst)*float64(time.Second)))
			}
			return wait
		}
	}
	if m.limiters == nil {
		m.limiters = make([]limiter, 0, 2)
	}
	m.limiters = append(m.limiters, limiter{rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst), r})
	return m.reserve(r, n, now)
}
