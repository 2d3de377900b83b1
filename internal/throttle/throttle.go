// Package throttle bounds how often the log repeats itself.
//
// A line is known by three things: what it says, which is a constant of the program, what it is about, and why. The same
// three are logged once a minute, and all lines that say the same thing together MaxLines times a minute, whatever they are
// about. What is left out is counted, and the next line that says the same names the count.
package throttle

import (
	"context"
	"hash/maphash"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"partyline/internal/tally"
)

const (
	// Every is the time in which the same is logged once.
	Every = time.Minute
	// MaxLines is how many lines that say the same thing, about whatever, are logged in Every.
	MaxLines = 200
	// maxRemembered is how many lines are remembered. Past that the log is silent until some are a minute old.
	maxRemembered = 5000
	// sweepEvery bounds what it costs to look for old lines while senders make up subjects.
	sweepEvery = time.Second
	// maxReason is how much of a reason counts, in bytes.
	maxReason = 200
)

// Logger writes to a logger what it has not written within the last minute. It is safe for use by several goroutines.
type Logger struct {
	log        *slog.Logger
	seed       maphash.Seed
	suppressed tally.Counter

	mu    sync.Mutex
	last  map[uint64]time.Time // guarded by mu: when a line was logged, by the hash of what it is known by
	kinds map[string]*kind     // guarded by mu: by what lines say
	swept time.Time            // guarded by mu
}

// kind is what is counted of lines that say the same thing.
type kind struct {
	since      time.Time // the minute that lines belongs to began
	lines      int       // logged in that minute
	suppressed int       // since the last line that was logged
}

// New returns a Logger that writes to log.
func New(log *slog.Logger) *Logger {
	return &Logger{log: log, seed: maphash.MakeSeed(), last: make(map[uint64]time.Time), kinds: make(map[string]*kind)}
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

// allow reports whether a line may be logged now, and how many that say the same thing were left out before it.
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

// key is a hash of what a line is known by, so that long subjects cost no memory. Its seed is random: nobody can make up
// a subject whose line hides another.
func (l *Logger) key(what, about, reason string) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, part := range [...]string{what, about, class(reason)} {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0xFF) // in no UTF-8
	}
	return h.Sum64()
}

// class is what texts of the same reason have in common: all but numbers and what stands in quotes.
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

// Metrics adds to a set how many lines were left out. part names the package that complains.
func (l *Logger) Metrics(set *tally.Set, part string) {
	set.LabelledCounter(&l.suppressed, "log_suppressed_total",
		"Log lines left out because the same was logged within a minute, by the part that complains.", "part", part)
}
