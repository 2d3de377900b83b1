package backend

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// askGrace is how much longer than the edge this service waits, so that the edge can report that a client did not
// answer.
const askGrace = time.Second

// Responses are the acks of several sockets to one event.
type Responses struct {
	Answers  []Response // in the order in which they came
	Expected int        // how many sockets were asked, as far as edges answered
	Missing  []Missing  // the sockets that did not answer, as far as edges reported, sorted by id
	Silent   []string   // the edges that lived and did not answer in time how many sockets they ask, or died meanwhile
}

// Response is the ack of one socket.
type Response struct {
	Socket string // its id
	Args   Args
}

// Missing is a socket that gave no ack.
type Missing struct {
	Socket string // its id
	Err    error  // NoAnswer, or UnknownSocket if it went away
}

// question makes the message of an event whose acks are wanted, and returns how long edges are to wait for them.
func (t Target) question(ctx context.Context, event string, args []any) (*nats.Msg, time.Duration, error) {
	wait := cmp.Or(t.timeout, msg.DefaultAskTimeout)
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	if wait < time.Millisecond {
		return nil, 0, because(NoAnswer, context.DeadlineExceeded, "EmitWithAck")
	}
	m, err := t.event(subjects.VerbAsk, event, args)
	if err != nil {
		return nil, 0, err
	}
	setHeader(m, msg.HeaderTimeout, strconv.FormatInt(wait.Milliseconds(), 10))
	return m, wait.Truncate(time.Millisecond), nil
}

// askOne asks the one socket that the target is.
func (t Target) askOne(ctx context.Context, event string, args []any) (Args, error) {
	q := &t.ns.svc.questions
	m, wait, err := t.question(ctx, event, args)
	if err != nil {
		return Args{}, err
	}
	bound, done, err := q.bounded(ctx, wait+askGrace)
	if err != nil {
		return Args{}, err
	}
	defer done()
	answer, err := q.nc.RequestMsgWithContext(bound, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return Args{}, because(UnknownSocket, err, "the socket's edge is not there")
	case err != nil && ctx.Err() != nil:
		return Args{}, ctx.Err()
	case err != nil:
		return Args{}, sendError(err, m, q.nc)
	}
	return ackArgs(answer)
}

// EmitWithAck sends an event to the sockets of the target and waits for their acks: until each has answered, the time
// of Timeout is over (30 s by default), or the context ends. Unless all have answered, the error is NoAnswer, or the
// context's, and the responses name those that are missing. The responses are valid with every error. Further errors
// are those of Emit, TooMany (this service or an edge asks too much at once) and BadArguments.
func (t Target) EmitWithAck(ctx context.Context, event string, args ...any) (Responses, error) {
	if id := t.single(); id != "" && t.err == nil {
		return t.askAlone(ctx, id, event, args)
	}
	var r Responses
	m, wait, err := t.question(ctx, event, args)
	if err != nil {
		return r, err
	}
	q := &t.ns.svc.questions
	bound, done, err := q.bounded(ctx, wait+askGrace)
	if err != nil {
		return r, err
	}
	defer done()
	c := acks{r: &r, lives: q.edges.lives, missing: make(map[string]error), open: make(map[string]int)}
	r.Silent, err = q.gather(bound, m, &gathering{
		members: q.edges.living, lives: q.edges.lives, take: c.take, finished: c.complete,
	})
	for _, id := range slices.Sorted(maps.Keys(c.missing)) {
		r.Missing = append(r.Missing, Missing{id, c.missing[id]})
	}
	r.Silent = append(r.Silent, c.died()...)
	switch {
	case err != nil:
		return r, err
	case ctx.Err() != nil && (len(r.Answers) < r.Expected || len(r.Silent) > 0):
		return r, ctx.Err()
	case c.edgeError != nil:
		return r, c.edgeError
	case len(r.Answers) < r.Expected || len(r.Silent) > 0:
		return r, failure(NoAnswer, "%d of %d sockets answered; %d edges are silent", len(r.Answers), r.Expected, len(r.Silent))
	}
	return r, nil
}

// askAlone is EmitWithAck for a target of one socket.
func (t Target) askAlone(ctx context.Context, id, event string, args []any) (Responses, error) {
	r := Responses{Expected: 1}
	answer, err := t.askOne(ctx, event, args)
	switch {
	case err == nil:
		r.Answers = []Response{{id, answer}}
	case errors.Is(err, UnknownSocket), errors.Is(err, NoAnswer):
		r.Missing = []Missing{{id, err}}
	}
	return r, err
}

// acks collects the answers to a question to many sockets.
type acks struct {
	r         *Responses
	lives     func(edge string) bool
	missing   map[string]error
	open      map[string]int // by edge that announces itself: the sockets that it asked, without those that have answered
	edgeError error          // of an edge that asked no socket
}

// take handles one answer. The one with the number of sockets that an edge asks names the edge. Acks, and errors of an
// edge as a whole, do not.
func (c *acks) take(m *nats.Msg) (edge string, err error) {
	if id := m.Header.Get(msg.HeaderSocket); id != "" {
		if args, err := ackArgs(m); err != nil {
			c.missing[id] = err
		} else {
			c.r.Answers = append(c.r.Answers, Response{id, args})
		}
		// A socket may be at another edge now. A wrong count costs no more than waiting until the question's end.
		began, _, _ := subjects.SplitSocketID(id)
		c.open[began]--
		return "", nil
	}
	if err := answerError(m); err != nil {
		c.edgeError = err
		return nameless, nil
	}
	n, err := strconv.Atoi(m.Header.Get(msg.HeaderExpect))
	a, bad := msg.ParseAnswer(m.Data)
	if err != nil || bad != nil || n < 0 {
		return "", nil // no answer of an edge
	}
	c.r.Expected += n
	if c.lives(a.Edge) {
		c.open[a.Edge] += n
	}
	return a.Edge, nil
}

// complete reports whether every socket that was asked has answered, or never will.
func (c *acks) complete() bool {
	settled := len(c.r.Answers) + len(c.missing)
	for _, edge := range c.died() {
		settled += c.open[edge]
	}
	return settled >= c.r.Expected
}

// died are the edges that went while acks of their clients were under way.
func (c *acks) died() (edges []string) {
	for edge, n := range c.open {
		if n > 0 && !c.lives(edge) {
			edges = append(edges, edge)
		}
	}
	return edges
}
