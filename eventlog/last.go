package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Last looks back for firstWindow first, and then ten times as far until it has enough.
const firstWindow = time.Second

// headerPending is how many messages of the subject come behind this one.
const headerPending = "Nats-Num-Pending"

// Last is a request for the last messages of a subject.
type Last struct {
	Subject  string // without wildcards
	Most     int
	MaxBytes int               // of bodies
	Since    time.Time         // none that was stored earlier
	To       uint64            // none with a higher sequence; the log must have it
	Wants    func(*Entry) bool // reports whether a message counts
}

// Last returns the last messages of a subject, in order, as the leader of the stream has them. It blocks until ctx
// ends. Of a busy log it reads no more than it needs. The error is ErrAway.
func (l *Log) Last(ctx context.Context, q Last) ([]*Entry, error) {
	r := &tail{Last: q, log: l, inbox: l.set.Conn.NewInbox(), messages: make(chan *nats.Msg, 2*pageMessages)}
	sub, err := l.set.Conn.ChanSubscribe(r.inbox, r.messages) // a channel, as in reader.run
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAway, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for window := firstWindow; ; window *= 10 {
		since := time.Now().Add(-window)
		isAll := !since.After(q.Since)
		if isAll {
			since = q.Since
		}
		r.found, r.bytes, r.isFull = nil, 0, false
		r.next = fmt.Sprintf(`"start_time":%q`, since.UTC().Format(time.RFC3339Nano))
		for more, whole := true, false; !whole; {
			if more, err = r.page(ctx); !more && err == nil {
				whole = !isAll && !r.isFull
				if !whole {
					whole, err = r.isWhole(ctx)
				}
			}
			if err != nil {
				return nil, err
			}
		}
		if isAll || r.isFull {
			return r.found, nil
		}
	}
}

// tail reads for one call of Last.
type tail struct {
	Last
	log      *Log
	inbox    string
	messages chan *nats.Msg
	next     string // where the next page begins, as in a request
	found    []*Entry
	bytes    int  // of found
	isFull   bool // there are older messages that have no place in found
}

// page reads a page, and reports whether another one follows.
func (r *tail) page(ctx context.Context) (more bool, err error) {
	request := fmt.Appendf(nil, `{%s,"next_by_subj":%q,"batch":%d,"max_bytes":%d}`, r.next, r.Subject, pageMessages, pageBytes)
	if err := r.log.set.Conn.PublishRequest("$JS.API.DIRECT.GET."+r.log.Stream(), r.inbox, request); err != nil {
		return false, fmt.Errorf("%w: %w", ErrAway, err)
	}
	for {
		select {
		case m := <-r.messages:
			status := last(m.Header, headerStatus)
			if e := r.log.entry(m); e != nil {
				more = r.add(e) && last(m.Header, headerPending) != "0"
			} else if status == statusEnd || status == statusNoMessage {
				return more, nil
			} else if status != "" {
				return false, fmt.Errorf("%w: stream %s cannot be read: %s", ErrAway, r.log.Stream(), status)
			}
		case <-ctx.Done():
			return false, fmt.Errorf("%w: a page of %s in stream %s", ErrAway, r.Subject, r.log.Stream())
		}
	}
}

// add keeps a message, and forgets older ones if there are too many. It returns false behind the end.
func (r *tail) add(e *Entry) bool {
	if e.Seq > r.To {
		return false
	}
	r.next = fmt.Sprintf(`"seq":%d`, e.Seq+1)
	if r.Wants(e) {
		r.found, r.bytes = append(r.found, e), r.bytes+len(e.Data)
	}
	for len(r.found) > r.Most || r.bytes > r.MaxBytes {
		r.bytes -= len(r.found[0].Data)
		r.found, r.isFull = r.found[1:], true
	}
	return true
}

// isWhole asks the leader whether something is missing, since replicas lag. If so, it waits a little.
func (r *tail) isWhole(ctx context.Context) (bool, error) {
	m, err := r.log.get(ctx, r.log.Stream(), fmt.Appendf(nil, `{%s,"next_by_subj":%q}`, r.next, r.Subject))
	switch {
	case errors.Is(err, ErrNoRecord), m.Seq > r.To:
		return true, nil
	case err != nil && m.Seq > 0: // its headers cannot be read. Edges cannot read its live copy either.
		r.next, err = fmt.Sprintf(`"seq":%d`, m.Seq+1), nil
	case err == nil:
		pause(ctx, behindPause, nil)
	}
	return false, err
}
