package backend

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
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
	if err := countAnswer(ctx, len(answer.Data)); err != nil {
		return Args{}, err
	}
	ack, err := ackArgs(answer)
	return ack, cmp.Or(err, countAnswer(ctx, argumentBytes*ack.Len()))
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
	c := acks{ctx: ctx, r: &r, lives: q.edges.lives, missing: make(map[string]error), open: make(map[string]int)}
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
	ctx       context.Context // of CountAnswers
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
		} else if err := countAnswer(c.ctx, argumentBytes*args.Len()); err != nil {
			return "", err
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

// How long a question to many waits if no member is known: for the first answer, then until none has come for a while.
const (
	firstAnswer = time.Second
	quietAfter  = 250 * time.Millisecond
)

// questions are those that wait for answers of edges, clients and services.
type questions struct {
	*connection
	edges  *edges
	limits Limits
	count  atomic.Int64 // how many there are
}

// bounded counts a question and returns its context, with a deadline. done must be called.
func (q *questions) bounded(ctx context.Context, atMost time.Duration) (bound context.Context, done func(), err error) {
	if err := q.reachable(); err != nil {
		return nil, nil, err
	}
	if n := q.count.Add(1); n > int64(q.limits.Questions) {
		q.count.Add(-1)
		return nil, nil, failure(TooMany, "%d questions are under way (Limits.Questions)", n-1)
	}
	bound, cancel := context.WithTimeout(ctx, atMost)
	return bound, func() {
		cancel()
		q.count.Add(-1)
	}, nil
}

// gathering is how gather handles the answers to a question to many. take gets each answer, and returns the member
// whose last one it is: "" for none, nameless for a member that the answer does not name. Once all known members have
// given their last answer, finished reports whether no more will come; nil for always.
type gathering struct {
	members  func() (all []string, changed <-chan struct{}) // who must answer
	lives    func(member string) bool
	take     func(m *nats.Msg) (member string, err error)
	finished func() bool
	quiet    time.Duration // after the last answer, if no member is known; 0 for quietAfter
}

const nameless = "?"

// gather asks many. It waits until all members that lived then have answered or died, or the context ends. silent are
// those that have not answered. If no member is known, it waits until no answer has come for a while.
func (q *questions) gather(ctx context.Context, m *nats.Msg, g *gathering) (silent []string, err error) {
	inbox, answers, stop, err := q.answers(ctx)
	defer stop()
	if err != nil {
		return nil, err
	}
	waiting, changed := g.members()
	m.Reply = inbox
	if err := q.publish(m); err != nil {
		return nil, err
	}
	known := len(waiting) > 0
	isFinished := func() bool { return g.finished == nil || g.finished() }
	quietFor := cmp.Or(g.quiet, quietAfter)
	quiet := time.NewTimer(firstAnswer)
	defer quiet.Stop()
	var dead []string
	size, unnamed := 0, 0
	for {
		if known && len(waiting) <= unnamed && isFinished() {
			return dead, nil
		}
		select {
		case answer := <-answers:
			if isNoResponders(answer) {
				return append(dead, waiting...), nil // no subscriber
			}
			if size += len(answer.Data); size > q.limits.AnswerBytes {
				return waiting, failure(TooMany, "the answers have more than %d bytes (Limits.AnswerBytes)", q.limits.AnswerBytes)
			}
			if err := countAnswer(ctx, len(answer.Data)); err != nil {
				return waiting, err
			}
			member, err := g.take(answer)
			if err != nil {
				return waiting, err
			}
			if member == nameless {
				unnamed++
			}
			waiting = slices.DeleteFunc(waiting, func(w string) bool { return w == member })
			quiet.Reset(quietFor)
		case <-changed:
			_, changed = g.members()
			for _, member := range waiting {
				if !g.lives(member) {
					dead = append(dead, member)
				}
			}
			waiting = slices.DeleteFunc(waiting, func(w string) bool { return slices.Contains(dead, w) })
		case <-quiet.C:
			if !known && isFinished() {
				return nil, nil
			}
			quiet.Reset(quietFor)
		case <-ctx.Done():
			return append(dead, waiting...), nil
		}
	}
}

// argumentBytes is about what an argument of an ack takes beside its text, here and at the caller.
const argumentBytes = 64

// CountAnswers returns a context for questions to sockets and edges: count is called with the bytes of each answer, and
// with what the arguments of acks take beside. If it returns an error, the question ends with that. So a program bounds
// what all its questions keep together, beside Limits.AnswerBytes for each. count is called while the method that asks
// runs.
func CountAnswers(ctx context.Context, count func(bytes int) error) context.Context {
	return context.WithValue(ctx, counter{}, count)
}

// counter is the key of a context for what CountAnswers sets.
type counter struct{}

func countAnswer(ctx context.Context, bytes int) error {
	if count, is := ctx.Value(counter{}).(func(int) error); is {
		return count(bytes)
	}
	return nil
}

// answers subscribes an inbox for the answers to one question. stop must be called, also with an error.
func (q *questions) answers(ctx context.Context) (inbox string, messages <-chan *nats.Msg, stop func(), err error) {
	came := make(chan *nats.Msg, 64)
	ctx, cancel := context.WithCancel(ctx)
	inbox = q.nc.NewInbox()
	sub, err := q.subscribe(inbox, "", func(m *nats.Msg) {
		select {
		case came <- m:
		case <-ctx.Done():
		}
	})
	return inbox, came, func() {
		cancel()
		_ = sub.Unsubscribe()
	}, err
}

// everyEdge asks all edges, and passes each answer, or each part of one, to take. If an edge does not answer, the
// error is NoAnswer, and the answers of the others have been taken.
func (q *questions) everyEdge(ctx context.Context, m *nats.Msg, take func(*msg.Answer) error) error {
	bound, done, err := q.bounded(ctx, q.wait)
	if err != nil {
		return err
	}
	defer done()
	answered := 0
	silent, err := q.gather(bound, m, &gathering{
		members: q.edges.living, lives: q.edges.lives,
		take: func(m *nats.Msg) (string, error) {
			if err := answerError(m); err != nil {
				return "", err
			}
			a, err := msg.ParseAnswer(m.Data)
			if err != nil {
				return "", nil // no answer of an edge
			}
			if err := take(&a); err != nil {
				return "", err
			}
			if !msg.IsLastPart(m.Header.Get(msg.HeaderPart)) {
				return "", nil
			}
			answered++
			return a.Edge, nil
		},
	})
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case len(silent) > 0:
		return &SilentEdges{Edges: silent}
	case answered == 0:
		return failure(NoAnswer, "no edge answered")
	}
	return nil
}
