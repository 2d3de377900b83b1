// Package throttle bounds how often the log repeats itself.
//
// A line has three parts: a message, which is a constant of the program, its subject, and a reason. Lines with the
// same three are logged once a minute. Lines with the same message are logged MaxLines times a minute, whatever their
// subjects. Others are left out and counted; the next line with the message has their number.
package throttle

import (
	"context"
	"hash/maphash"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"partyline/internal/tally"
)

const (
	// Every is the time in which the same line is logged once.
	Every = time.Minute
	// MaxLines is how many lines with the same message are logged in Every.
	MaxLines = 200
	// maxRemembered is how many lines are remembered. Beyond that nothing is logged until some are a minute old.
	maxRemembered = 5000
	// sweepEvery bounds the cost of removing old lines while senders invent subjects.
	sweepEvery = time.Second
	// maxPerSecond is how many lines are looked at in a second before Busy returns true.
	maxPerSecond = 2000
	// maxReason is how much of a reason is compared, in bytes.
	maxReason = 200
)

// Logger logs what it has not logged within the last minute. It is safe for concurrent use.
type Logger struct {
	log        *slog.Logger
	seed       maphash.Seed
	suppressed tally.Counter
	second     atomic.Int64 // since 1970: the current one
	looked     atomic.Int64 // lines that Busy was asked about in that second

	mu    sync.Mutex
	last  map[uint64]time.Time // guarded by mu: when a line was logged, by the hash of its three parts
	kinds map[string]*kind     // guarded by mu: by message
	swept time.Time            // guarded by mu
}

// kind counts the lines with one message.
type kind struct {
	since      time.Time // start of the current minute
	lines      int       // logged in that minute
	suppressed int       // since the last line that was logged
}

// New returns a Logger that writes to log.
func New(log *slog.Logger) *Logger {
	return &Logger{log: log, seed: maphash.MakeSeed(), last: make(map[uint64]time.Time), kinds: make(map[string]*kind)}
}

// Busy reports whether so many lines come now that the next one is left out, which is counted. It costs less than Log,
// so it comes before a reason is worked out: what others send in a flood must not cost the time to explain each fault.
func (l *Logger) Busy() bool {
	if now := time.Now().Unix(); l.second.Swap(now) != now {
		l.looked.Store(0)
	}
	if l.looked.Add(1) <= maxPerSecond {
		return false
	}
	l.suppressed.Inc()
	return true
}

// Warn logs an error about a subject as a warning, with the attributes subject and error. what must be a constant.
func (l *Logger) Warn(what, subject string, err error) {
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	l.Log(slog.LevelWarn, what, subject, reason, "subject", subject, "error", err)
}

// Log logs a line with attributes. what must be a constant; about and reason may come from outside.
func (l *Logger) Log(level slog.Level, what, about, reason string, attributes ...any) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	ok, before := l.allow(what, about, reason, time.Now())
	if !ok {
		return
	}
	if before > 0 {
		attributes = append(attributes, "suppressed", before)
	}
	l.log.Log(context.Background(), level, what, attributes...)
}

// allow reports whether a line may be logged now, and how many with the same message were left out before it.
func (l *Logger) allow(what, about, reason string, now time.Time) (ok bool, before int) {
	key := l.key(what, about, reason)
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[what]
	if k == nil {
		k = &kind{since: now}
		l.kinds[what] = k
	}
	if now.Sub(k.since) >= Every {
		k.since, k.lines = now, 0
	}
	if len(l.last) >= maxRemembered && now.Sub(l.swept) >= sweepEvery {
		l.swept = now
		maps.DeleteFunc(l.last, func(_ uint64, at time.Time) bool { return now.Sub(at) >= Every })
	}
	at, known := l.last[key]
	if known && now.Sub(at) < Every || k.lines >= MaxLines || !known && len(l.last) >= maxRemembered {
		k.suppressed++
		l.suppressed.Inc()
		return false, 0
	}
	l.last[key] = now
	k.lines++
	before, k.suppressed = k.suppressed, 0
	return true, before
}

// key returns a hash of a line's three parts, so that long subjects cost no memory. Its seed is random: no sender can
// invent a subject whose line hides another.
func (l *Logger) key(what, about, reason string) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, part := range [...]string{what, about, class(reason)} {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0xFF) // in no UTF-8
	}
	return h.Sum64()
}

// class returns a reason without what varies: numbers, and text in quotes.
func class(reason string) string {
	reason = reason[:min(len(reason), maxReason)]
	var b strings.Builder
	quoted, digits := false, false
	for i := range len(reason) {
		c := reason[i]
		isDigit := '0' <= c && c <= '9'
		switch {
		case c == '"' && (i == 0 || reason[i-1] != '\\'):
			quoted = !quoted
		case quoted || isDigit && digits:
			continue
		}
		if digits = isDigit; isDigit {
			c = '0'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// Metrics adds the number of lines left out to a set. part names the package that logs.
func (l *Logger) Metrics(set *tally.Set, part string) {
	set.LabelledCounter(&l.suppressed, "log_suppressed_total",
		"Log lines left out because the same was logged within a minute, by the part that logs.", "part", part)
}
