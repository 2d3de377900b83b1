package backend

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// Prepare is Emit in two steps, for a program that emits several events or none: its errors are all that can be wrong with an
// event, and send publishes it. Errors of send are Offline and Closed, and TooLarge if NATS accepts less than before.
func (t Target) Prepare(event string, args ...any) (send func() error, err error) {
	m, err := t.event(subjects.VerbEmit, event, args)
	if err != nil {
		return nil, err
	}
	c := t.ns.svc.connection
	if int64(m.Size()-len(m.Subject)) > c.nc.MaxPayload() {
		return nil, sendError(nats.ErrMaxPayload, m, c.nc)
	}
	return func() error { return c.publish(m) }, nil
}

// EmitOnce is Emit for a namespace with recovery or rewind: it waits until the log of events has stored the event, and
// returns its sequence there. Of several events with the same id, the log takes the first, whose sequence isDuplicate
// ones return. It remembers an id for the stream's duplicate window, 2 minutes unless the stream was made otherwise.
// Ids count for all namespaces together.
//
// The errors are those of Emit, TooMany, Refused (by the log), NoAnswer (the event may be stored: emit it again with
// the same id), the context's, and BadArguments where the namespace is not logged. If the edges have recovery or rewind for a
// pattern of namespaces, an edge is asked, so the user of NATS must be permitted to publish rooms.room, too.
func (t Target) EmitOnce(ctx context.Context, id, event string, args ...any) (sequence uint64, isDuplicate bool, err error) {
	m, err := t.event(subjects.VerbEmit, event, args)
	if err != nil {
		return 0, false, err
	}
	s := t.ns.svc
	bound, done, err := s.questions.bounded(ctx, s.wait)
	if err != nil {
		return 0, false, err
	}
	defer done()
	if err = s.logged.check(bound, s.connection, t.ns); err == nil {
		setHeader(m, nats.MsgIdHdr, id)
		var stored streamAnswer
		if stored, err = s.askStream(bound, m); err == nil {
			return stored.Sequence, stored.Duplicate, nil
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return 0, false, err
}

// streamAnswer is what JetStream answers about a stream, or a message for one.
type streamAnswer struct {
	Config struct {
		Subjects []string `json:"subjects"`
	} `json:"config"`
	Sequence  uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
	Error     *struct {
		Code        int    `json:"code"`
		Description string `json:"description"`
	} `json:"error"`
}

// noStream is the code of the error about a stream that is not there.
const noStream = 404

// askStream sends a request to JetStream. The error about a stream that is not there is in the answer.
func (c *connection) askStream(ctx context.Context, m *nats.Msg) (a streamAnswer, err error) {
	got, err := c.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return a, sendError(err, m, c.nc)
	}
	if err := json.Unmarshal(got.Data, &a); err != nil {
		return a, because(Refused, err, "the answer to %s", m.Subject)
	}
	if a.Error != nil && a.Error.Code != noStream {
		return a, failure(Refused, "%s: %s", m.Subject, a.Error.Description)
	}
	return a, nil
}

// logged has which namespaces have a log, as far as that was asked.
type logged struct {
	mu    sync.Mutex
	known map[string]bool // guarded by mu: by the namespace's token
	until time.Time       // guarded by mu: how long known counts
}

// loggedFor is how long an answer counts. Edges change the log when they start.
const loggedFor = 5 * time.Second

// check returns an error if a namespace is not logged, or if that cannot be known.
func (l *logged) check(ctx context.Context, c *connection, ns *Namespace) (err error) {
	l.mu.Lock()
	if now := time.Now(); now.After(l.until) {
		l.known, l.until = make(map[string]bool), now.Add(loggedFor)
	}
	isLogged, isKnown := l.known[ns.token]
	l.mu.Unlock()
	if !isKnown {
		if isLogged, err = c.isLogged(ctx, ns.token); err != nil {
			return because(NoAnswer, err, "if that lasts, NATS may not permit it (docs/subjects.md, Permissions)")
		}
		l.mu.Lock()
		l.known[ns.token] = isLogged
		l.mu.Unlock()
	}
	if !isLogged {
		return failure(BadArguments, "namespace %s has neither recovery nor rewind in the edges' configuration", ns.name)
	}
	return nil
}

// isLogged asks JetStream what the log captures. If a pattern of namespaces is logged, that is all events, and an edge
// must be asked, with a question about a room that has no member.
func (c *connection) isLogged(ctx context.Context, namespace string) (bool, error) {
	info, err := c.askStream(ctx, &nats.Msg{Subject: "$JS.API.STREAM.INFO." + c.prefix.Stream(subjects.StreamLog)})
	if errors.Is(err, nats.ErrNoResponders) { // there is no JetStream
		return false, nil
	}
	captured := info.Config.Subjects
	if err != nil || !slices.Contains(captured, c.prefix.Captured("*")) {
		return slices.Contains(captured, c.prefix.Captured(namespace)), err
	}
	m := &nats.Msg{Subject: string(c.prefix.AppendToRoom(nil, namespace, subjects.VerbRooms, rand.Text()))}
	got, err := c.nc.RequestMsgWithContext(ctx, m)
	if err == nil {
		err = answerError(got)
	}
	if err != nil {
		return false, err
	}
	a, err := msg.ParseAnswer(got.Data)
	return a.Logged, err
}
