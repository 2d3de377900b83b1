// Package eventlog is the door to JetStream: the log of events and the records of sockets, from which any edge
// recovers a client. It knows streams, sequences and subjects, but no sockets.
//
// Stream SIO_LOG captures the events of logged namespaces and republishes each with its sequence. Stream SIO_SESSIONS
// has one message for each socket that can be recovered, and one for each edge. Edges make both streams; an operator
// may.
//
// A Log has three goroutines, all in Run: one keeps the streams in order, one reads the log for all scans, one
// starts a further one for each record to write. None of its methods for edges waits, except Record and LastBeat.
package eventlog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/internal/wake"
	"partyline/subjects"
)

// Storage of the streams.
const (
	StorageFile   = "file"
	StorageMemory = "memory"
)

// Errors of records and scans. Compare them with errors.Is.
var (
	// ErrAway is returned when JetStream does not answer in time. A write may still be stored.
	ErrAway = errors.New("no answer from JetStream")
	// ErrClaimed is returned when another socket has claimed the record.
	ErrClaimed = errors.New("the record has another holder")
	// ErrNoRecord is returned when there is no such record: it has expired, or never was.
	ErrNoRecord = errors.New("no such record")
	// ErrBehind is returned when no server has had the end of a scan for some seconds.
	ErrBehind = errors.New("the log does not reach the end of the scan")
	// ErrEnded is returned when Run has ended.
	ErrEnded = errors.New("the log of this edge has ended")
)

// The pace of looking at the streams.
const (
	lookEvery   = 10 * time.Second
	retryEvery  = time.Second
	doubtPause  = 250 * time.Millisecond // between two looks
	lookTimeout = 5 * time.Second        // for each request
)

// Settings are what the streams must be like.
type Settings struct {
	Conn     *nats.Conn
	Prefix   subjects.Prefix
	Storage  string        // StorageFile or StorageMemory, of both streams
	Replicas int           // of both streams: 1, 3 or 5
	MaxBytes int64         // of the log
	MaxAge   time.Duration // of the log
	Subjects []string      // which the log captures, such as "sio.chat.emit.>"
	Log      *slog.Logger
}

// Log is the log of events and the records of sockets. It is safe for concurrent use.
type Log struct {
	set        Settings // static
	js         jetstream.JetStream
	complaints *throttle.Logger
	onEpoch    func(string) // static once Run has begun
	doubt      wake.Flag
	wentBack   atomic.Bool // see WentBack
	reader     *reader
	writer     *writer
	stats      stats

	mu    sync.Mutex
	why   []string // guarded by mu: see Ready
	epoch string   // guarded by mu
	found bool     // guarded by mu: the streams were in order at the last look that had an answer

	lastSeq uint64 // of Run's goroutine: the largest at a look, in this epoch
	lower   int    // of Run's goroutine: looks since then that found a lower one
}

// stats is what the log counts.
type stats struct {
	bytes, messages, records             tally.Gauge
	scans, pages, entries, scansFailed   tally.Counter
	written, claimed, away, writesFailed tally.Counter
}

// New returns a log. It does nothing until Run.
func New(set Settings) *Log {
	l := &Log{
		set: set, complaints: throttle.New(set.Log), onEpoch: func(string) {}, doubt: wake.New(),
		why: []string{"the streams of JetStream have not been looked at yet"},
	}
	l.js, _ = jetstream.New(set.Conn) // fails for its options, and has none
	l.reader, l.writer = newReader(l), newWriter(l)
	return l
}

// OnEpoch sets what is called when the log is found, and again each time it was made again. Call it before Run, on
// whose goroutine fn runs; fn must not block.
func (l *Log) OnEpoch(fn func(epoch string)) { l.onEpoch = fn }

// Run keeps the streams in order, reads and writes until ctx ends. Scans and writes that have not ended get ErrEnded.
// Run must be called once, and ends before the connection is closed.
func (l *Log) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { l.reader.run(ctx) })
	running.Go(func() { l.writer.run(ctx) })
	for ctx.Err() == nil {
		wait := lookEvery
		if err := l.look(ctx); err != nil && ctx.Err() == nil {
			wait = retryEvery
			l.complaints.Warn("cannot use the streams of JetStream", l.Stream(), err)
		}
		pause(ctx, doubtPause, nil)
		pause(ctx, wait-doubtPause, l.doubt)
	}
	running.Wait()
}

// pause waits for a duration, or until ctx ends or early has a value.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-early:
	case <-ctx.Done():
	}
}

// Ready returns why the log cannot be used: nothing while both streams are as they must be. An election of JetStream
// changes nothing.
func (l *Log) Ready() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// Stream returns the name of the log: "SIO_LOG" with the prefix "sio".
func (l *Log) Stream() string { return l.set.Prefix.Stream(subjects.StreamLog) }

// records returns the name of the stream of records.
func (l *Log) records() string { return l.set.Prefix.Stream(subjects.StreamSessions) }

// Epoch returns the name of the log's present life, or "" before the log was found. Sequences of different epochs
// cannot be compared.
func (l *Log) Epoch() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// Doubt has the streams looked at now. Call it when a mark has not come back. It never blocks.
func (l *Log) Doubt() { l.doubt.Raise() }

// WentBack gives the log a new epoch, unless it has one already. Call it when the log continues with sequences that it
// has used before: NATS has lost the end of the stream with its memory or disk, so all offsets may be wrong. It never
// blocks.
func (l *Log) WentBack() {
	l.wentBack.Store(true)
	l.Doubt()
}

// Metrics lists what the log counts.
func (l *Log) Metrics() *tally.Set {
	set, s := &tally.Set{}, &l.stats
	set.Gauge(&s.bytes, "log_bytes", "Bytes in the log of events in JetStream, as of the last look.")
	set.Gauge(&s.messages, "log_messages", "Messages in the log of events in JetStream, as of the last look.")
	set.Gauge(&s.records, "log_records", "Records of sockets and edges in JetStream, as of the last look.")
	set.Counter(&s.scans, "log_scans_total", "Scans of the log.")
	set.Counter(&s.scansFailed, "log_scans_failed_total", "Scans of the log that did not reach their end.")
	set.Counter(&s.pages, "log_pages_total", "Pages of up to 1,000 messages requested from the log.")
	set.Counter(&s.entries, "log_read_total", "Messages read from the log.")
	set.Counter(&s.written, "log_records_written_total", "Records of sockets that were stored.")
	const failed, help = "log_records_failed_total", "Records of sockets that were not stored: claimed by another edge, " +
		"away without an answer from JetStream, or refused by it."
	set.LabelledCounter(&s.claimed, failed, help, "reason", "claimed")
	set.LabelledCounter(&s.away, failed, help, "reason", "away")
	set.LabelledCounter(&s.writesFailed, failed, help, "reason", "refused")
	l.complaints.Metrics(set, "eventlog")
	return set
}
