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
	"slices"
	"sync"
	"time"

	"partyline/internal/tally"
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
	out    io.Writer
	format func(io.Writer) slog.Handler
	lost   tally.Counter
	failed int           // owned by run: lines that could not be written and are not in the log's count yet
	cut    bool          // owned by run: the output ends inside a line
	wake   chan struct{} // capacity 1
	quit   chan struct{} // closed by Close
	done   chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	waiting []byte // guarded by mu: whole lines
	dropped int    // guarded by mu: lines that did not fit; until their number is written, all are dropped
	closed  bool   // guarded by mu
}

// New returns a queue in front of out, and a handler that writes to it. format makes a handler for a writer; it must
// write each record in one call, as those of log/slog do.
func New(out io.Writer, format func(io.Writer) slog.Handler) (*Queue, slog.Handler) {
	q := &Queue{out: out, format: format, wake: make(chan struct{}, 1), quit: make(chan struct{}),
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
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// run writes the queue until Close.
func (q *Queue) run() {
	defer close(q.done)
	var spare []byte
	for ended := false; !ended; {
		select {
		case <-q.wake:
		case <-q.quit:
			ended = true // after the rest of the queue
		}
		for {
			lines, dropped := q.swap(spare)
			if len(lines) == 0 && dropped == 0 {
				break
			}
			q.write(lines, dropped)
			if spare = lines; cap(spare) > keptBytes {
				spare = nil
			}
		}
	}
}

// swap empties the queue into its result, and makes spare the queue's buffer if there was anything. dropped is how
// many lines were dropped after those.
func (q *Queue) swap(spare []byte) (lines []byte, dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 && q.dropped == 0 {
		return nil, 0
	}
	lines, dropped = q.waiting, q.dropped
	q.waiting, q.dropped = spare[:0], 0
	return lines, dropped
}

// notice returns the line about dropped ones.
func (q *Queue) notice(dropped int) []byte {
	var line bytes.Buffer
	record := slog.NewRecord(time.Now(), slog.LevelWarn, lostMessage, 0)
	record.AddAttrs(slog.Int("lines", dropped))
	_ = q.format(&line).Handle(context.Background(), record) // a buffer does not fail
	return line.Bytes()
}

// write writes lines, and the number of lines that were dropped after them. Lines that cannot be written are lost;
// the next write begins with their number.
func (q *Queue) write(lines []byte, dropped int) {
	var head, tail []byte
	if q.failed > 0 {
		head = q.notice(q.failed)
		if q.cut {
			head = slices.Insert(head, 0, '\n')
		}
	}
	if dropped > 0 {
		tail = q.notice(dropped)
	}
	all := lines
	if len(head)+len(tail) > 0 {
		all = slices.Concat(head, lines, tail)
	}
	n, err := q.out.Write(all)
	if err == nil {
		q.failed, q.cut = 0, false
		return
	}
	if n >= len(head) {
		q.failed = 0
	}
	lost := bytes.Count(lines[min(max(n-len(head), 0), len(lines)):], []byte("\n"))
	q.lost.Add(lost)
	q.failed += lost
	if n < len(all) {
		q.failed += dropped
	}
	if n > 0 {
		q.cut = all[n-1] != '\n'
	}
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
