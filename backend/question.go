package backend

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/wire/msg"
)

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
