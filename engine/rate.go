package engine

import (
	"log/slog"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"partyline/internal/turn"
)

// Rates bound how much clients may send, and how often they may come.
type Rates struct {
	EventsPerSecond int           `koanf:"events_per_second"` // packets of one session; 0: that of DefaultRates
	EventsBurst     int           `koanf:"events_burst"`      // packets that may come at once; 0: that of DefaultRates
	BytesPerSecond  int           `koanf:"bytes_per_second"`  // of packets of one session; 0: that of DefaultRates
	Overrun         time.Duration `koanf:"overrun"`           // how long a client may be above these; 0: as long as it likes

	HandshakesPerSecond           int `koanf:"handshakes_per_second"`             // sessions that begin; 0: no limit
	HandshakesPerSecondPerAddress int `koanf:"handshakes_per_second_per_address"` // the same of one client address
}

// DefaultRates are above what a client can send that waits for the answer to each event, and a tenth of what an edge of
// two cores takes.
func DefaultRates() Rates {
	return Rates{EventsPerSecond: 10_000, EventsBurst: 20_000, BytesPerSecond: 10_000_000}
}

// Rate bounds something that each session may do. It is static, and shared by all sessions.
type Rate struct {
	Name      string // of the setting, for the log
	PerSecond int    // >= 1
	Burst     int    // that may come at once after a quiet time; >= 1
}

const (
	// leastStop is how long a client is not read at least, so that a flood does not cost a timer a packet.
	leastStop = 20 * time.Millisecond
	// calmAfter is how long a client must not have been slowed down for its overrun to begin again.
	calmAfter = time.Second
	// smallShare makes the size up to which a packet after a quiet time is not counted: 1/smallShare of a burst.
	smallShare = 100
)

// pacing counts what a session sends. A session has one while it sends more than a small packet a second, and none
// otherwise: an idle session pays nothing for its rates. Session.in guards it.
type pacing struct {
	limiters []limiter // of the rates that were used
	since    time.Time // when the client was first slowed down, without a calm time since then
	until    time.Time // when its last stop ends
	activity turn.Activity
}

type limiter struct {
	*rate.Limiter
	rate *Rate
}

// isFull reports whether all limiters are as new ones.
func (p *pacing) isFull(now time.Time) bool {
	return !slices.ContainsFunc(p.limiters, func(l limiter) bool { return l.TokensAt(now) < float64(l.Burst()) })
}

// take counts n, and returns how long the client must wait.
func (p *pacing) take(r *Rate, n int, now time.Time) time.Duration {
	for _, l := range p.limiters {
		if l.rate == r {
			wait := l.ReserveN(now, min(n, r.Burst)).DelayFrom(now)
			if wait > 0 { // not for longer than a burst takes, or the client would be slower than its rate
				burst := float64(r.Burst) / float64(r.PerSecond)
				wait = max(wait, time.Duration(min(leastStop.Seconds(), burst)*float64(time.Second)))
			}
			return wait
		}
	}
	p.limiters = append(p.limiters, limiter{rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst), r})
	return p.take(r, n, now)
}

// received counts a packet of the client, of a size in bytes, and slows the client down if it is above its rates. The
// packet itself is still handled. in must be held.
func (s *Session) received(size int, now time.Time) {
	events, bytes := &s.server.events, &s.server.bytes
	before := s.lastPacket
	s.lastPacket = now.UnixNano()
	isQuiet := s.lastPacket-before >= int64(quietFor)
	if isQuiet && s.pacing != nil && s.pacing.isFull(now) {
		s.pacing = nil
	}
	if s.pacing == nil {
		// One packet in quietFor is below every rate, since the least is one a second.
		if isQuiet && size <= bytes.Burst/smallShare {
			return
		}
		s.pacing = &pacing{limiters: make([]limiter, 0, 2)}
	}
	s.count(events, 1, now)
	s.count(bytes, size, now)
}

// takeTurn waits until a packet may be handled. in must be held.
func (s *Session) takeTurn(size int, now time.Time) {
	var activity *turn.Activity
	if s.pacing != nil {
		activity = &s.pacing.activity
	}
	s.server.turns.Take(s.turn, activity, size, now)
}

// EndTurn lets other busy clients go on. Receiver.Message must call it before it waits; later calls do nothing.
func (s *Session) EndTurn() { s.turn.End() }

// Count counts n against a rate of the session, and slows the client down if it is above: the session is not read for
// as long as it takes. Only Receiver.Message may call it, at most once a rate and packet.
func (s *Session) Count(r *Rate, n int) {
	if s.pacing != nil {
		s.count(r, n, time.Now())
	}
}

// count counts n against a rate. If the client is above it, count stops the reading of the session for a time, or ends
// the session if its client has been too fast for too long. in must be held.
func (s *Session) count(r *Rate, n int, now time.Time) {
	p, set, log := s.pacing, &s.server.set, s.server.complaints
	wait := p.take(r, n, now)
	if wait <= 0 || s.currentState() != open {
		return
	}
	if now.Sub(p.until) > calmAfter {
		p.since = now
		s.server.stats.slowed.Inc()
		log.Log(slog.LevelInfo, "slowing down a client: it sends more than a limit allows", s.address, r.Name,
			"limit", r.Name, "address", s.address)
	}
	if set.Overrun > 0 && now.Sub(p.since) >= set.Overrun {
		log.Log(slog.LevelInfo, "closing a session: its client was above a limit for limits.overrun", s.address, r.Name,
			"limit", r.Name, "address", s.address)
		s.Close(RateExceeded)
		return
	}
	if p.until.Before(now) {
		p.until = now
	}
	if more := now.Add(wait).Sub(p.until); more > 0 {
		s.server.stats.slowedFor.Add(int(more))
		p.until = p.until.Add(more)
	}
	s.StopReading()
	time.AfterFunc(wait, s.ResumeReading)
}
