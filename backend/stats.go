package backend

import "sync/atomic"

// Stats is what a service has counted since it was made.
type Stats struct {
	Events       uint64 // of clients that were handled, or had no handler
	Panics       uint64 // of handlers
	BadArguments uint64 // events whose arguments did not fit
	Failures     uint64 // events whose handler, or ack, failed otherwise
	Unhandled    uint64 // events that no handler of On and OnAny was there for; their clients get no ack
	Overflows    uint64 // sockets that were disconnected because their handlers did not keep up
	BadMessages  uint64 // messages that no edge of this contract would send, and events of sockets that this instance does not own
	Lost         uint64 // messages that nats.go threw away because this process did not read fast enough
	Owned        int    // sockets that this instance owns now
}

type stats struct {
	events, panics, badArguments, failures, unhandled, overflows, badMessages, lost atomic.Uint64
}

// Stats counts.
func (s *Service) Stats() Stats {
	c := &s.stats
	return Stats{
		Events: c.events.Load(), Panics: c.panics.Load(), BadArguments: c.badArguments.Load(), Failures: c.failures.Load(),
		Unhandled: c.unhandled.Load(), Overflows: c.overflows.Load(), BadMessages: c.badMessages.Load(), Lost: c.lost.Load(), Owned: s.owners.count(),
	}
}
