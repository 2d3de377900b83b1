// Package logqueue keeps whatever reads the log from holding up the program.
//
// A record is formatted by its caller, appended to a queue of bounded size, and written by a goroutine of its own. Where the
// output stands still (a pipe that is not read, a full disk) the queue fills up; records that do not fit are dropped and
// counted, and the log names their number when there is room again.
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
	// MaxBytes is how much may wait to be written, besides what is being written.
	MaxBytes = 1 << 20
	// keptBytes is the largest buffer that is kept while nothing waits.
	keptBytes = 64 << 10
)

// lostMessage is what the log says of dropped records.
const lostMessage = "log lines were dropped: the log was not read, or could not be written"

// Queue is an slog.Handler's way to an output. Close ends it.
type Queue struct {
	out    io.Writer
	format func(io.Writer) slog.Handler
	lost   tally.Counter
	failed int           // owned by run: lines that the output did not take, not told yet
	cut    bool          // owned by run: the output ends inside a line
	wake   chan struct{} // capacity 1
	quit   chan struct{} // closed by Close
	done   chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	waiting []byte // guarded by mu: whole lines
	dropped int    // guarded by mu: lines that did not fit behind waiting; while there are any, no line is taken
	closed  bool   // guarded by mu
}

// New returns the handler that format makes, with a queue in front of out. format is called with the writer that the
// handler must use, and must return a handler that writes each record in one call, as those of log/slog do.
func New(out io.Writer, format func(io.Writer) slog.Handler) (*Queue, slog.Handler) {
	q := &Queue{out: out, format: format, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go q.run()
	return q, format(q)
}

// Write queues a line. It never blocks and returns no error.
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

// run writes what waits until Close.
func (q *Queue) run() {
	defer close(q.done)
	var spare []byte
	for ended := false; !ended; {
		select {
		case <-q.wake:
		case <-q.quit:
			ended = true // after what waits
		}
		for {
			lines, dropped := q.take(spare)
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

// take returns all that waits, and how many lines were dropped behind it. If there is anything, the next lines go into spare.
func (q *Queue) take(spare []byte) (lines []byte, dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 && q.dropped == 0 {
		return nil, 0
	}
	lines, dropped = q.waiting, q.dropped
	q.waiting, q.dropped = spare[:0], 0
	return lines, dropped
}

// notice is the line about dropped ones.
func (q *Queue) notice(dropped int) []byte {
	var line bytes.Buffer
	record := slog.NewRecord(time.Now(), slog.LevelWarn, lostMessage, 0)
	record.AddAttrs(slog.Int("lines", dropped))
	_ = q.format(&line).Handle(context.Background(), record) // a buffer takes everything
	return line.Bytes()
}

// write writes lines, and how many were dropped behind them. Those that the output does not take are lost, and counted; the
// next write tells of them.
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

// Close writes what waits and ends the writer. It returns after timeout at the latest, though the output may stand still:
// then it reports false, and the writer ends with the write that it is in. What is logged later is dropped.
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
	if file, ok := q.out.(interface{ SetWriteDeadline(time.Time) error }); ok && file.SetWriteDeadline(time.Now()) == nil {
		<-q.done // a pipe or socket: its write fails now
	}
	return false
}

// Metrics adds to a set how many lines were lost.
func (q *Queue) Metrics() *tally.Set {
	set := &tally.Set{}
	set.Counter(&q.lost, "log_lines_lost_total", "Log lines that were not written because the log was not read or could not be written.")
	return set
}
