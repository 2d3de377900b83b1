package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// window is how many writes are under way at once. It is so small that a slow server is not overdue with all of
	// them, and large enough for what a fast one can do. A stream drops what is above 100,000 messages of all who
	// write.
	window = 1024
	// writeTimeout bounds the wait for a PubAck, lookTime the look at the record after that.
	writeTimeout = 3 * time.Second
	lookTime     = time.Second
	// writeAgain is the pause before a write that found no taker is published again.
	writeAgain = 100 * time.Millisecond
)

// Headers of publishing to a stream.
const (
	headerExpected = "Nats-Expected-Last-Subject-Sequence"
	headerTTL      = "Nats-TTL"
)

// Write is a record to store. A caller has one write of a key under way at most.
type Write struct {
	Key    string // one token
	Holder string // the edge that has the socket
	// Claim tells this socket's writes from those of all others with the same key, also at the same edge: one token,
	// random. Who claims a record writes it with a new Claim.
	Claim string
	Body  []byte // the log's from now on
	// Expected is the sequence of the record that this one replaces, 0 for none. A record that another claim has
	// stored since is kept, and Done gets ErrClaimed. One of the same claim, whose PubAck was lost, is replaced; so is
	// one that has expired.
	Expected uint64
	TTL      time.Duration // whole seconds; 0: as long as the stream keeps records
	// Done is called once, on any goroutine; it must not block. seq is the sequence of the record. Errors:
	// ErrClaimed; ErrAway, after which the write may still be stored; others say what JetStream refused.
	Done func(seq uint64, err error)
}

// writer writes records: one goroutine takes those that wait, and starts one for each.
type writer struct {
	log   *Log
	queue queue[Write]
}

func newWriter(l *Log) *writer { return &writer{log: l, queue: newQueue[Write]()} }

// Write stores a record. It never blocks.
func (l *Log) Write(w Write) {
	if !l.writer.queue.add(w) {
		w.Done(0, ErrEnded)
	}
}

func (w *writer) run(ctx context.Context) {
	var storing sync.WaitGroup
	room := make(chan struct{}, window)
	for ctx.Err() == nil {
		select {
		case <-w.queue.wake:
		case <-ctx.Done():
		}
		isAway := false
		for _, one := range w.queue.take(math.MaxInt) {
			began := time.Now()
			room <- struct{}{}
			// If none of the others had an answer in that time, those that wait would only be overdue later.
			if isAway = isAway || time.Since(began) > writeTimeout; isAway {
				<-room
				w.done(&one, 0, ErrAway)
				continue
			}
			storing.Go(func() {
				seq, err := w.store(ctx, &one)
				if err != nil && ctx.Err() != nil {
					err = ErrEnded
				}
				<-room
				w.done(&one, seq, err)
			})
		}
	}
	storing.Wait()
	for _, one := range w.queue.end() {
		one.Done(0, ErrEnded)
	}
}

// store publishes a write until it is stored, or its record shows why it is not.
func (w *writer) store(ctx context.Context, one *Write) (seq uint64, err error) {
	bound, stop := context.WithTimeout(ctx, writeTimeout)
	defer stop()
	for {
		ack, err := w.log.js.PublishMsg(bound, w.message(one), jetstream.WithRetryAttempts(0))
		refused := &jetstream.APIError{}
		isRefused := errors.As(err, &refused)
		switch {
		case err == nil:
			return ack.Sequence, nil
		case errors.Is(err, nats.ErrMaxPayload):
			return 0, fmt.Errorf("a record of %d bytes: %w", len(one.Body), err)
		case refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence,
			refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant, bound.Err() != nil:
			if seq, err = w.judge(ctx, one, bound.Err() != nil); seq > 0 || err != nil {
				return seq, err
			}
		case isRefused && refused.Code != 503 && refused.Code != 429: // no leader, or too much to do
			return 0, refused
		default:
			w.log.Doubt()
			pause(bound, writeAgain, nil)
		}
	}
}

// message is what a write publishes.
func (w *writer) message(one *Write) *nats.Msg {
	m := &nats.Msg{Subject: w.log.set.Prefix.Session(one.Key), Data: one.Body, Header: nats.Header{
		headerHolder:   {one.Holder},
		headerClaim:    {one.Claim},
		headerExpected: {strconv.FormatUint(one.Expected, 10)},
	}}
	if one.TTL > 0 {
		m.Header[headerTTL] = []string{one.TTL.Round(time.Second).String()}
	}
	return m
}

// judge looks at the record after a write that was refused because of it, or had no PubAck: overdue. If it returns
// neither a sequence nor an error, the write must be published again.
func (w *writer) judge(ctx context.Context, one *Write, overdue bool) (seq uint64, err error) {
	ctx, stop := context.WithTimeout(ctx, lookTime)
	defer stop()
	r, err := w.log.Record(ctx, one.Key)
	isOurs := r.Holder == one.Holder && r.claim == one.Claim
	switch {
	case err != nil && !errors.Is(err, ErrNoRecord):
		return 0, err
	case err == nil && isOurs && bytes.Equal(r.Body, one.Body) && r.Seq > one.Expected:
		return r.Seq, nil // only its PubAck was lost
	case err == nil && !isOurs && r.Seq > one.Expected:
		return 0, ErrClaimed
	case overdue:
		return 0, ErrAway
	}
	one.Expected = r.Seq // an earlier write of this claim was stored after it had been given up; or the record has expired
	return 0, nil
}

// done ends a write.
func (w *writer) done(one *Write, seq uint64, err error) {
	s := &w.log.stats
	switch {
	case err == nil:
		s.written.Inc()
	case errors.Is(err, ErrClaimed):
		s.claimed.Inc()
	case errors.Is(err, ErrAway):
		s.away.Inc()
	default:
		s.writesFailed.Inc()
		w.log.complaints.Warn("a record of a socket was not stored", w.log.records(), err)
	}
	one.Done(seq, err)
}
