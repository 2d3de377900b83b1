package backend

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"partyline/internal/throttle"
)

// Stats is what a service has counted since it was made.
type Stats struct {
	Events       uint64 // of clients that were handled, or had no handler
	Panics       uint64 // of handlers
	BadArguments uint64 // events whose arguments did not fit
	Failures     uint64 // events whose handler, or ack, failed otherwise
	Unhandled    uint64 // events without a handler of On or OnAny; their clients get no ack
	Pauses       uint64 // times that a socket was paused because its handlers did not keep up
	Overflows    uint64 // sockets whose connection was closed because pausing did not help
	BadMessages  uint64 // messages that no edge of this contract would send, and events of sockets that this instance does not own
	Ignored      uint64 // announcements of edges that do not count; see EdgesSecret
	Lost         uint64 // messages that nats.go dropped because this process did not read fast enough
	Owned        int    // sockets that this instance owns now
	Paused       int    // sockets that are paused now
}

type stats struct {
	events, panics, badArguments, failures, unhandled, pauses, overflows, badMessages, ignored, lost atomic.Uint64
}

// Stats counts.
func (s *Service) Stats() Stats {
	c := &s.stats
	paused, _ := s.lanes.throttled.paused(0)
	return Stats{
		Events: c.events.Load(), Panics: c.panics.Load(), BadArguments: c.badArguments.Load(), Failures: c.failures.Load(),
		Pauses: c.pauses.Load(), Paused: paused,
		Unhandled: c.unhandled.Load(), Overflows: c.overflows.Load(), BadMessages: c.badMessages.Load(), Ignored: c.ignored.Load(), Lost: c.lost.Load(), Owned: len(s.owners.all()),
	}
}

// reports is where failures go: the log, the counts, and the hook of OnError.
type reports struct {
	log        *slog.Logger
	complaints *throttle.Logger // for lines that clients or edges can cause again and again
	stats      stats
	onError    func(*HandlerError) // nil for none
}

// report reports what went wrong in a handler, or on the way to it.
func (r *reports) report(ns *Namespace, event, socket string, err error) {
	reason := forLog(err)
	attributes := []any{"namespace", ns.name, "event", event, "socket", socket, "error", reason}
	var panicked *PanicError
	var unfit *ArgumentError
	switch {
	case errors.As(err, &panicked):
		r.stats.panics.Add(1)
		attributes = append(attributes, "stack", string(panicked.Stack))
	case errors.As(err, &unfit):
		r.stats.badArguments.Add(1)
	default:
		r.stats.failures.Add(1)
	}
	r.complaints.Log(slog.LevelError, "an event could not be handled", ns.name+" "+event, reason, attributes...)
	if r.onError != nil {
		e := &HandlerError{Namespace: ns.name, Event: event, Socket: socket, Err: err}
		if err := guarded(func() error { r.onError(e); return nil }); err != nil {
			r.complaints.Log(slog.LevelError, "the hook of OnError panicked", "", err.Error(), "error", err)
		}
	}
}

// bad counts a message that no edge would send.
func (r *reports) bad(m *nats.Msg, why string) {
	r.stats.badMessages.Add(1)
	r.log.Debug("dropped a message", "subject", m.Subject, "why", why)
}

// ignored counts and logs an announcement of an edge that does not count.
func (r *reports) ignored(m *nats.Msg, err error) {
	r.stats.ignored.Add(1)
	r.complaints.Warn("ignored an edge's announcement", m.Subject, err)
}

// countLost notes how many messages nats.go has dropped because they came faster than they were taken.
func (r *reports) countLost(lost uint64) {
	if before := r.stats.lost.Swap(lost); lost > before {
		r.log.Error("messages from edges were lost: this process did not read fast enough", "messages", lost-before)
	}
}

// forLog returns the text of an error for the log, without the arguments of a client: those are for the hook of
// OnError alone.
func forLog(err error) string {
	var unfit *ArgumentError
	if errors.As(err, &unfit) {
		return fmt.Sprintf("argument %d does not fit: expected %s", unfit.Argument, unfit.Want)
	}
	return err.Error()
}
