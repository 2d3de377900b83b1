// Package logqueue keeps a slow reader of the log from blocking the program.
//
// The caller formats a record and appends it to a queue of bounded size; a goroutine writes the queue. If the output
// blocks (a pipe that is not read, a full disk), the queue fills up. Records that do not fit are dropped and counted,
// and the log has their number once there is room again.
package logqueue

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"partyline/internal/tally"
	"partyline/internal/wake"
)

const (
	// MaxBytes is the largest size of the queue, without what is being written.
	MaxBytes = 1 << 20
	// keptBytes is the largest buffer that is kept while the queue is empty.
	keptBytes = 64 << 10
)

// lostMessage is the log's message about dropped records.
const lostMessage = "log lines were dropped: the log was not read, or could not be written"

// Queue is an io.Writer for an slog.Handler. Close ends it. It is safe for concurrent use.
type Queue struct {
	out     io.Writer
	format  func(io.Writer) slog.Handler
	lost    tally.Counter
	missing int    // owned by run: lines that the log lacks, and has no count of yet
	cut     bool   // owned by run: the output ends inside a line
	spare   []byte // owned by run: the next buffer of the queue
	wake    wake.Flag
	quit    chan struct{} // closed by Close
	done    chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	waiting []byte // guarded by mu: whole lines
	dropped int    // guarded by mu: lines that did not fit; until their number is written, all are dropped
	closed  bool   // guarded by mu
}

// New returns a queue in front of out, and a handler that writes to it. format makes a handler for a writer; it must
// write each record in one call, as those of log/slog do.
func New(out io.Writer, format func(io.Writer) slog.Handler) (*Queue, slog.Handler) {
	q := &Queue{out: out, format: format, wake: wake.New(), quit: make(chan struct{}),
		done: make(chan struct{})}
	go q.run()
	return q, format(q)
}

// Write queues a line, or drops it. It never blocks or fails.
func (q *Queue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.dropped > 0 || len(q.waiting)+len(line) > MaxBytes {
		q.dropped++
		q.lost.Inc()
	} else {
		q.waiting = append(q.waiting, line...)
	}
	q.wake.Raise()
	return len(line), nil
}

// run writes the queue until Close.
func (q *Queue) run() {
	defer close(q.done)
	for ended := false; !ended; {
		select {
		case <-q.wake:
		case <-q.quit:
			ended = true // after the rest of the queue
		}
		for q.write() {
		}
	}
}

// write writes what waits, behind the number of lines that the log lacks. It returns false if there is nothing more to
// write, or that failed: lines that cannot be written are lost.
func (q *Queue) write() bool {
	q.mu.Lock()
	lines, dropped := q.waiting, q.dropped
	q.waiting, q.dropped = q.spare[:0], 0
	q.mu.Unlock()
	if q.spare = lines; cap(lines) > keptBytes {
		q.spare = nil
	}
	all, head := lines, 0
	if q.missing > 0 {
		notice := q.notice()
		head = len(notice)
		all = append(notice, lines...)
	}
	if len(all)+dropped == 0 {
		return false
	}
	n, err := q.out.Write(all)
	if n >= head {
		q.missing = 0
	}
	if err != nil {
		lost := bytes.Count(lines[min(max(n-head, 0), len(lines)):], []byte("\n"))
		q.lost.Add(lost)
		q.missing += lost
	}
	if n > 0 {
		q.cut = all[n-1] != '\n'
	}
	q.missing += dropped // behind lines
	return err == nil
}

// notice returns the line about those that the log lacks.
func (q *Queue) notice() []byte {
	var line bytes.Buffer
	if q.cut {
		line.WriteByte('\n')
	}
	record := slog.NewRecord(time.Now(), slog.LevelWarn, lostMessage, 0)
	record.AddAttrs(slog.Int("lines", q.missing))
	_ = q.format(&line).Handle(context.Background(), record) // a buffer does not fail
	return line.Bytes()
}

// Close writes the rest of the queue and ends its goroutine. If the output blocks, it returns false after timeout;
// the goroutine ends once its write does. Later records are dropped.
func (q *Queue) Close(timeout time.Duration) bool {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	close(q.quit)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-q.done:
		return true
	case <-timer.C:
	}
	if file, ok := q.out.(interface{ SetWriteDeadline(time.Time) error }); ok &&
		file.SetWriteDeadline(time.Now()) == nil {
		<-q.done // a pipe or socket, whose write fails now
	}
	return false
}

// Metrics returns the queue's metrics.
func (q *Queue) Metrics() *tally.Set {
	set := &tally.Set{}
	set.Counter(&q.lost, "log_lines_lost_total",
		"Log lines that were not written because the log was not read or could not be written.")
	return set
}
