package engine

import (
	"log/slog"
	"time"

	"partyline/internal/rates"
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

// DefaultRates are above what a client can send that waits for the answer to each event, and a tenth of what an edge
// of two cores takes.
func DefaultRates() Rates {
	return Rates{EventsPerSecond: 10_000, EventsBurst: 20_000, BytesPerSecond: 10_000_000}
}

// smallShare makes the size up to which a packet after a quiet time is not counted: 1/smallShare of a burst.
const smallShare = 100

// pacing counts what a session sends. A session has one while it sends more than a small packet a second, and none
// otherwise: an idle session pays nothing for its rates. Session.in guards it.
type pacing struct {
	rates.Meter
	activity turn.Activity
}

// received counts a packet of the client, of a size in bytes, and slows the client down if it is above its rates. The
// packet itself is still handled. It returns when the packet before came, or 0. in must be held.
func (s *Session) received(size int, now time.Time) (before int64) {
	set := s.server.set()
	events, bytes := &set.events, &set.bytes
	before = s.lastPacket
	s.lastPacket = now.UnixNano()
	isQuiet := s.lastPacket-before >= int64(quietFor)
	if isQuiet && s.pacing != nil && s.pacing.IsFull(now) {
		s.pacing = nil
	}
	if s.pacing == nil {
		// One packet in quietFor is below every rate, since the least is one a second.
		if isQuiet && size <= bytes.Burst/smallShare {
			return before
		}
		s.pacing = &pacing{}
	}
	s.count(events, 1, now)
	s.count(bytes, size, now)
	return before
}

// takeTurn waits until a packet may be handled. isWaitedFor: its client waits for it. in must be held.
func (s *Session) takeTurn(size int, now time.Time, isWaitedFor bool) {
	var activity *turn.Activity
	if s.pacing != nil {
		activity = &s.pacing.activity
	}
	s.server.turns.Take(s.turn, activity, size, now, isWaitedFor)
}

// EndTurn lets other busy clients go on. Receiver.Message must call it before it waits; later calls do nothing.
func (s *Session) EndTurn() { s.turn.End() }

// Count counts n against a rate of the session, and slows the client down if it is above: the session is not read for
// as long as it takes. Only Receiver.Message may call it, at most once a rate and packet.
func (s *Session) Count(r *rates.Rate, n int) {
	if s.pacing != nil {
		s.count(r, n, time.Now())
	}
}

// count counts n against a rate. If the client is above it, count stops the reading of the session for a time, or ends
// the session if its client has been too fast for too long. in must be held.
func (s *Session) count(r *rates.Rate, n int, now time.Time) {
	set, log := s.server.set(), s.server.complaints
	excess := s.pacing.Take(r, n, now)
	if excess.Wait == 0 || s.currentState() != open {
		return
	}
	if excess.IsFirst {
		s.server.stats.slowed.Inc()
		log.Log(slog.LevelInfo, "slowing down a client: it sends more than a limit allows", s.address, r.Name,
			"limit", r.Name, "address", s.address)
	}
	if set.Overrun > 0 && excess.Since >= set.Overrun {
		log.Log(slog.LevelInfo, "closing a session: its client was above a limit for limits.overrun", s.address, r.Name,
			"limit", r.Name, "address", s.address)
		s.Close(RateExceeded)
		return
	}
	s.server.stats.slowedFor.Add(int(excess.More))
	s.StopReading()
	time.AfterFunc(excess.Wait, s.ResumeReading)
}
