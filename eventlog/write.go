package eventlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// window is how many writes are under way at once. It is so small that a slow server is not overdue with all of them, and
	// large enough for what a fast one can do. A stream drops what is above 100,000 messages of all who write.
	window = 1024
	// fillAtOnce is how many are published before answers are handled again.
	fillAtOnce = 256
	// writeTimeout bounds the wait for a PubAck, lookTime the look at the record after that.
	writeTimeout = 3 * time.Second
	lookTime     = time.Second
	sweepEvery   = 100 * time.Millisecond
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
	// Claim tells this socket's writes from those of all others with the same key, also at the same edge: one token, random. Who
	// claims a record writes it with a new Claim.
	Claim string
	Body  []byte // the log's from now on
	// Expected is the sequence of the record that this one replaces, 0 for none. A record that another claim has stored since is
	// kept, and Done gets ErrClaimed. One of the same claim, whose PubAck was lost, is replaced; so is one that has expired.
	Expected uint64
	TTL      time.Duration // whole seconds; 0: as long as the stream keeps records
	// Done is called once, on the log's goroutine for writing; it must not block. seq is the sequence of the record. Errors:
	// ErrClaimed; ErrAway, after which the write may still be stored; others say what JetStream refused.
	Done func(seq uint64, err error)
}

// underway is a write that has been published.
type underway struct {
	Write
	until   time.Time // when the present answer is overdue
	end     time.Time // when the write is given up
	again   bool      // it found no taker and is published again
	looking bool      // the record is asked for: it shows whether the write was stored
	overdue bool      // no PubAck came
}

// writer writes records on one goroutine.
type writer struct {
	log     *Log
	queue   queue[Write]
	inbox   string
	pending map[uint64]*underway // of run's goroutine
	next    uint64               // key in pending; of run's goroutine
	heard   time.Time            // when the last answer came; of run's goroutine
}

func newWriter(l *Log) *writer {
	return &writer{log: l, queue: newQueue[Write](), inbox: l.set.Conn.NewInbox() + ".", pending: make(map[uint64]*underway)}
}

// Write stores a record. It never blocks.
func (l *Log) Write(w Write) {
	if !l.writer.queue.add(w) {
		w.Done(0, ErrEnded)
	}
}

func (w *writer) run(ctx context.Context) {
	replies, stop := w.log.receive(w.inbox, 2*window)
	defer stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case m := <-replies:
			w.reply(m)
		case <-w.queue.wake:
		case <-sweep.C:
			for range len(replies) { // what has come is not overdue
				w.reply(<-replies)
			}
			w.sweep(time.Now())
		case <-ctx.Done():
			w.end()
			return
		}
		w.fill()
	}
}

// end gives up all writes.
func (w *writer) end() {
	for key := range w.pending {
		w.done(key, 0, ErrEnded)
	}
	for _, one := range w.queue.end() {
		one.Done(0, ErrEnded)
	}
}

// fill publishes some of the writes that wait, if there is room in the window.
func (w *writer) fill() {
	room := min(window-len(w.pending), fillAtOnce)
	if room == 0 {
		return
	}
	now := time.Now()
	for _, one := range w.queue.take(room) {
		w.next++
		w.pending[w.next] = &underway{Write: one, until: now.Add(writeTimeout), end: now.Add(writeTimeout + lookTime)}
		w.publish(w.next)
	}
}

// publish publishes a write, or publishes it again.
func (w *writer) publish(key uint64) {
	u := w.pending[key]
	m := nats.Msg{Subject: w.log.set.Prefix.Session(u.Key), Reply: w.replyTo('w', key), Data: u.Body, Header: nats.Header{
		headerHolder:   {u.Holder},
		headerClaim:    {u.Claim},
		headerExpected: {strconv.FormatUint(u.Expected, 10)},
	}}
	if u.TTL > 0 {
		m.Header[headerTTL] = []string{u.TTL.Round(time.Second).String()}
	}
	err := w.log.set.Conn.PublishMsg(&m)
	if errors.Is(err, nats.ErrMaxPayload) {
		w.done(key, 0, fmt.Errorf("a record of %d bytes: %w", len(u.Body), err))
		return
	}
	u.again, u.looking = err != nil, false
}

// look asks for the record that a write was to replace.
func (w *writer) look(key uint64) {
	u := w.pending[key]
	u.looking, u.again = true, false
	u.until = time.Now().Add(lookTime)
	if err := w.log.set.Conn.PublishRequest(getSubject(w.log.records()), w.replyTo('g', key), getRequest(w.log.set.Prefix.Session(u.Key))); err != nil {
		w.done(key, 0, fmt.Errorf("%w: %w", ErrAway, err))
	}
}

// replyTo is the subject of an answer: 'w' to a write, 'g' to a get.
func (w *writer) replyTo(kind byte, key uint64) string {
	return w.inbox + string(kind) + strconv.FormatUint(key, 36)
}

// reply handles an answer.
func (w *writer) reply(m *nats.Msg) {
	token := strings.TrimPrefix(m.Subject, w.inbox)
	key, err := strconv.ParseUint(token[1:], 36, 64)
	u := w.pending[key]
	if err != nil || u == nil {
		return // it has been given up
	}
	w.heard = time.Now()
	switch {
	case token[0] == 'w':
		w.acked(key, u, m)
	case !u.looking:
	case last(m.Header, headerStatus) == statusNoResponders:
		w.done(key, 0, ErrAway)
	default:
		r, err := parseRecord(m.Data)
		w.judge(key, u, r, err)
	}
}

// acked handles the PubAck of a write.
func (w *writer) acked(key uint64, u *underway, m *nats.Msg) {
	if last(m.Header, headerStatus) == statusNoResponders {
		u.again = true
		w.log.Doubt()
		return
	}
	var ack struct {
		Seq   uint64    `json:"seq"`
		Error *apiError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case err != nil:
		w.done(key, 0, fmt.Errorf("an answer of JetStream that is no PubAck: %w", err))
	case ack.Error == nil:
		w.done(key, ack.Seq, nil)
	case ack.Error.ErrCode == int(jetstream.JSErrCodeStreamWrongLastSequence),
		ack.Error.ErrCode == int(jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		w.look(key)
	case ack.Error.Code == 503 || ack.Error.Code == 429:
		u.again = true // no leader, or too much to do
	default:
		w.done(key, 0, ack.Error)
	}
}

// judge handles the record as it is, after a write that failed or had no PubAck.
func (w *writer) judge(key uint64, u *underway, r Record, err error) {
	isOurs := r.Holder == u.Holder && r.claim == u.Claim
	switch {
	case err != nil && !errors.Is(err, ErrNoRecord):
		w.done(key, 0, err)
	case err == nil && isOurs && bytes.Equal(r.Body, u.Body) && r.Seq > u.Expected:
		w.done(key, r.Seq, nil) // only its PubAck was lost
	case err == nil && !isOurs && r.Seq > u.Expected:
		w.done(key, 0, ErrClaimed)
	case u.overdue || time.Now().After(u.end):
		w.done(key, 0, ErrAway)
	default: // an earlier write of this claim was stored after it had been given up; or the record has expired
		u.Expected, u.until = r.Seq, u.end
		w.publish(key)
	}
}

// sweep publishes again what found no taker, and looks at the records whose writes are overdue.
func (w *writer) sweep(now time.Time) {
	for key, u := range w.pending {
		switch late := now.After(u.until); {
		case late && u.looking:
			w.done(key, 0, ErrAway)
		case late && u.again:
			w.done(key, 0, fmt.Errorf("%w: no server has stream %s", ErrAway, w.log.records()))
		case late:
			u.overdue = true
			w.look(key)
		case u.again:
			w.publish(key)
		}
	}
	if len(w.pending) == window && now.Sub(w.heard) > writeTimeout {
		for _, one := range w.queue.take(math.MaxInt) { // those that wait would only be overdue later
			w.log.stats.away.Inc()
			one.Done(0, ErrAway)
		}
	}
}

// done ends a write.
func (w *writer) done(key uint64, seq uint64, err error) {
	u, s := w.pending[key], &w.log.stats
	delete(w.pending, key)
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
	u.Done(seq, err)
}
