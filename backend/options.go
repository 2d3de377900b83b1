package backend

import (
	"cmp"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"partyline/subjects"
)

// Option changes a Service from what New makes by itself.
type Option func(*settings) error

// settings is what options change.
type settings struct {
	prefix  subjects.Prefix
	log     *slog.Logger
	onError func(*HandlerError)
	secret  string // that the edges share; "": every announcement of an edge counts
	silent  bool   // no acks for events that no handler could be called for
	limits  Limits
}

// Limits bound what a service keeps, so that no client and no other service can make it grow. Zero members stand for
// the defaults.
type Limits struct {
	// Handlers is how many handlers run at once, of all sockets together; 4,096 by default. Each socket has one at a
	// time. What is above waits.
	Handlers int
	// SocketEvents and SocketBytes are how many events, and bytes of them, wait while a handler of the same socket
	// runs; 4,096 and 8 MiB by default. Once half as many wait, the socket is paused: its edge holds what its client
	// sends, and stops reading from it when that is much, so a burst slows the client down. It is resumed at a
	// quarter. A socket with more than twice as many, though it was paused two seconds ago, has its client's
	// connection closed, and the client comes back; the reason is logged. Of events of other services as many wait,
	// and the others are dropped.
	SocketEvents, SocketBytes int
	// WaitingBytes is how many bytes of events wait in all, 256 MiB by default. Past that the sockets with the most
	// waiting are paused; past twice as many, the connection of the one with the most is closed.
	WaitingBytes int
	// Questions is how many requests to edges and services (joins, fetches, asks, …) are under way, 4,096 by default.
	// More fail with TooMany.
	Questions int
	// AnswerBytes is how much the answers to one question may have together, 64 MiB by default. It fails with TooMany
	// when they have more.
	AnswerBytes int
	// Wait is how long a question waits for its answers when its context has no earlier deadline, 5 s by default. What
	// waits for clients' acks has its own, Target.Timeout.
	Wait time.Duration
}

func (l Limits) withDefaults() Limits {
	l.Handlers = cmp.Or(l.Handlers, 4096)
	l.SocketEvents = cmp.Or(l.SocketEvents, 4096)
	l.SocketBytes = cmp.Or(l.SocketBytes, 8<<20)
	l.WaitingBytes = cmp.Or(l.WaitingBytes, 256<<20)
	l.Questions = cmp.Or(l.Questions, 4096)
	l.AnswerBytes = cmp.Or(l.AnswerBytes, 64<<20)
	l.Wait = cmp.Or(l.Wait, 5*time.Second)
	return l
}

// Prefix is what all subjects begin with, "sio" by default. It must be the one that the edges are configured with.
func Prefix(prefix string) Option {
	return func(s *settings) (err error) {
		s.prefix, err = subjects.NewPrefix(prefix)
		return err
	}
}

// EdgesSecret is the secret that the edges share, edges.secret in their configuration. With it the service ignores,
// and counts (Stats.Ignored), announcements of edges that are not signed with it, and copies of earlier ones: no other
// program can make it take an edge for dead, and end that edge's sockets. The clocks of the service and the edges may
// differ by 30 seconds.
func EdgesSecret(secret string) Option {
	return func(s *settings) error {
		if secret == "" {
			return fmt.Errorf("backend: EdgesSecret: it is empty; leave the option out if the edges have none")
		}
		s.secret = secret
		return nil
	}
}

// Logger is where the service writes what no caller gets as an error, slog.Default() by default.
func Logger(log *slog.Logger) Option {
	return func(s *settings) error {
		if log == nil {
			return fmt.Errorf("backend: Logger: it is nil; use slog.DiscardHandler for silence")
		}
		s.log = log
		return nil
	}
}

// OnError sets a hook for what goes wrong in handlers, or on the way to them: panics, errors that they return,
// arguments that do not fit. It is called in addition to the log, on the goroutine of the handler, and must not block.
// It may keep what it gets.
func OnError(hook func(*HandlerError)) Option {
	return func(s *settings) error {
		s.onError = hook
		return nil
	}
}

// WithoutErrorAcks switches off the ack that a client gets when its arguments do not fit a handler, [{"error":"…"}]
// (see Namespace.On). The client then waits until its own timeout.
func WithoutErrorAcks() Option {
	return func(s *settings) error {
		s.silent = true
		return nil
	}
}

// WithLimits sets the bounds of the service.
func WithLimits(limits Limits) Option {
	return func(s *settings) error {
		for limit, value := range reflect.ValueOf(limits).Fields() {
			if value.Int() < 0 {
				return fmt.Errorf("backend: Limits.%s is %d; it must be positive, or 0 for the default", limit.Name, value.Int())
			}
		}
		s.limits = limits.withDefaults()
		return nil
	}
}

// NamespaceOption changes how a service handles a namespace.
type NamespaceOption func(*rules)

// Owned makes the instance that admits a socket its owner: it receives all events of the socket, in the order sent,
// and may keep state for it, such as the closures of Socket.On. When the instance leaves or dies, another one of the
// group takes the socket over, and its OnConnection runs there.
//
// Where the edges' configuration says connect: open or token, a socket gets its owner after the edge has admitted it:
// middleware may still refuse it, and the edge disconnects it. Without an instance of the service such clients connect
// as well, and have no owner until they come back.
func Owned() NamespaceOption { return func(r *rules) { r.owned = true } }

// EventsOnly leaves it to another service (of another group) to admit the sockets of the namespace: this one does not
// answer connect requests. It cannot be combined with Owned, Use, OnConnection or a pattern.
func EventsOnly() NamespaceOption { return func(r *rules) { r.eventsOnly = true } }
