package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"partyline/internal/throttle"
	"partyline/wire/msg"
)

// Code is the kind of failure of an error of this package. Codes are errors themselves, to be compared with errors.Is:
//
//	if errors.Is(err, backend.UnknownSocket) { … }
type Code string

// The codes. Texts of errors are for people and may change; codes stay.
const (
	UnknownSocket Code = "unknown socket"   // the socket is not there, not in this namespace, or went away meanwhile
	NoAnswer      Code = "no answer"        // no answer came in time; with a question to many, not all came
	TooLarge      Code = "too large"        // a message is larger than NATS accepts, or data than a socket may have
	BadArguments  Code = "bad arguments"    // arguments cannot be sent, or do not fit the types that receive them
	Closed        Code = "closed"           // the service, or the NATS connection, has been closed
	Offline       Code = "offline"          // the NATS connection is down at the moment; nothing was sent
	TooMany       Code = "too many"         // a limit of this service or of an edge has been reached
	Refused       Code = "refused"          // the answer is an error; the text has the reason
	Answered      Code = "answered already" // an ack can be sent once
)

// What a middleware of Namespace.Use returns that neither admits nor refuses. Where the edge has admitted the socket
// itself, they do nothing.
const (
	// NotNow makes the edge ask again: another instance if there is one.
	NotNow Code = "not now"
	// NotMine makes the edge ask another group. It is for Owned namespaces; elsewhere it is NotNow.
	NotMine Code = "not mine"
)

// Error makes a Code an error.
func (c Code) Error() string { return "backend: " + string(c) }

// Error is what the functions of this package return. errors.Is compares it with a Code; what caused it is wrapped.
type Error struct {
	Code Code
	Text string // what went wrong, with the numbers and names that matter
	Err  error  // what caused it, nil if nothing else did
}

// Error returns the text for people.
func (e *Error) Error() string { return "backend: " + e.Text }

// Unwrap returns what caused the error.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error's Code.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

func failure(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// because is a failure with a cause, whose text is appended.
func because(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...) + ": " + cause.Error(), Err: cause}
}

// Refusal is what a middleware of Namespace.Use returns to keep a socket out: its client gets a connect_error with
// this message and data.
type Refusal struct {
	Message string // shown to the client; "" for "not admitted"
	Data    any    // anything that marshals as JSON, nil for none
	// Close closes the transport of the client's session instead, so that the client comes back by itself. It gets no
	// connect_error. Message is for the log of the edge.
	Close bool
}

// Error makes a Refusal an error.
func (r *Refusal) Error() string { return "refused: " + r.Message }

// Refuse is a Refusal without data.
func Refuse(message string) *Refusal { return &Refusal{Message: message} }

// HandlerError is passed to the hook of OnError: what went wrong in a handler, or on the way to it.
type HandlerError struct {
	Namespace string // such as "/chat"
	Event     string // the event's name; "connect" for middleware and connection handlers, "disconnect" for disconnect handlers
	Socket    string // the socket's id, empty in events between services
	Err       error  // *ArgumentError, *PanicError, what the handler returned, or an *Error
}

// Error returns the text for people.
func (e *HandlerError) Error() string {
	return fmt.Sprintf("backend: event %q of namespace %s: %v", e.Event, e.Namespace, e.Err)
}

// Unwrap returns what went wrong.
func (e *HandlerError) Unwrap() error { return e.Err }

// PanicError is a panic of a handler. The service goes on; the event gets no ack.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns the text for people.
func (e *PanicError) Error() string { return fmt.Sprintf("the handler panicked: %v", e.Value) }

// ArgumentError is an argument of an event, or of an ack, that does not fit the Go type that receives it. Its code is
// BadArguments.
type ArgumentError struct {
	Argument int    // counted from 1
	Want     string // the Go type
	Got      string // the JSON that came, shortened; "nothing" if there were too few arguments for Args.Decode
	Err      error  // of encoding/json, or of its version 2 for arguments with binary data; a *PanicError; nil if an argument is missing
}

// Error returns the text for people.
func (e *ArgumentError) Error() string {
	return fmt.Sprintf("argument %d does not fit: expected %s, got %s", e.Argument, e.Want, e.Got)
}

// Unwrap returns the error of encoding/json.
func (e *ArgumentError) Unwrap() error { return e.Err }

// Is reports whether target is BadArguments.
func (e *ArgumentError) Is(target error) bool { return target == error(BadArguments) }

// SilentEdges are edges that live, or lived when they were asked, and did not answer in time. Its code is NoAnswer.
type SilentEdges struct {
	Edges []string // their ids
}

// Error returns the text for people.
func (e *SilentEdges) Error() string {
	return fmt.Sprintf("backend: %d edges did not answer: %s", len(e.Edges), strings.Join(e.Edges, ", "))
}

// Is reports whether target is NoAnswer.
func (e *SilentEdges) Is(target error) bool { return target == error(NoAnswer) }

// sendError gives an error of nats.go a code.
func sendError(err error, m *nats.Msg, nc *nats.Conn) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		size := m.Size() - len(m.Subject) - len(m.Reply) // NATS counts headers and body against its limit
		return failure(TooLarge, "a message of %d bytes is larger than NATS accepts, %d bytes", size, nc.MaxPayload())
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return because(Closed, err, "the NATS connection is closed")
	case errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected):
		return because(Offline, err, "NATS is away")
	case errors.Is(err, nats.ErrNoResponders):
		return because(NoAnswer, err, "there is no subscriber on %s", m.Subject)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return because(NoAnswer, err, "no answer on %s in time", m.Subject)
	}
	return fmt.Errorf("backend: %s: %w", m.Subject, err)
}

// answerError is the error that an answer of an edge, or of another service, has in its header.
func answerError(m *nats.Msg) error {
	if isNoResponders(m) {
		return because(UnknownSocket, nats.ErrNoResponders, "the socket's edge is not there")
	}
	if len(m.Header[msg.HeaderError]) == 0 {
		return nil
	}
	text := m.Header.Get(msg.HeaderError)
	switch {
	case text == string(UnknownSocket):
		return failure(UnknownSocket, "unknown socket")
	case text == string(NoAnswer):
		return failure(NoAnswer, "the client did not answer in time")
	case strings.HasPrefix(text, "too many"):
		return failure(TooMany, "refused: %s", text)
	case strings.HasPrefix(text, "bad event"):
		return failure(BadArguments, "refused: %s", text)
	}
	return failure(Refused, "refused: %s", text)
}

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
