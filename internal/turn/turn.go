// Package turn keeps the processors free for what quiet clients send.
//
// Go runs goroutines in the order in which they became ready, lets one that never waits run for 10 ms, and looks at the
// network only when none is ready. So a message of a quiet client, which passes several goroutines, would wait for
// seconds beside hundreds of clients that send all the time.
//
// Therefore busy clients take turns: half as many at once as there are processors. And a turn, a new connection, a
// request without a session, a part of a large message, and a part of a long answer to a service give way while
// processors are short: they begin one after the other, when half of the processors are free and no goroutine waits
// for one.
package turn

import (
	"context"
	"runtime"
	"time"
)

// Turns gives turns to the busy clients of a process.
type Turns struct{ free chan struct{} }

const (
	// BusyFrom is how many packets a second make a client busy. A packet counts once more for each chunkSize bytes.
	BusyFrom  = 100
	chunkSize = 4 << 10
)

// Most is how many turns there are at once.
func Most() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// New makes Turns of which none has begun.
func New() *Turns { return &Turns{free: make(chan struct{}, Most())} }

// Running returns how many turns there are now, with those that give way.
func (t *Turns) Running() int { return len(t.free) }

// Begin waits until a turn may begin.
func (t *Turns) Begin(turn *Turn) {
	t.free <- struct{}{}
	Busy.GiveWay(context.Background(), 0)
	turn.turns, turn.began = t, time.Now()
}

// Take waits until a packet of a client may be handled, of a size in bytes. a is nil for a client that was quiet. If
// the client is busy and has no turn yet, it has that of turn then. If it is not busy, and isWaitedFor, other work gives
// way.
func (t *Turns) Take(turn *Turn, a *Activity, size int, now time.Time, isWaitedFor bool) {
	switch {
	case a == nil || !a.isBusy(size, now):
		if at := int64(now.Sub(epoch)); isWaitedFor && at-way.quiet.Load() > int64(quietEvery) {
			way.quiet.Store(at)
		}
	case turn.began.IsZero():
		t.Begin(turn)
		a.since = a.since.Add(turn.began.Sub(now)) // who waits for a turn is not quiet
	}
}

// Activity tells whether a client is busy. The caller guards it.
type Activity struct {
	since   time.Time // a second begins
	packets int       // that came in it
	wasBusy bool      // in the second before
}

// isBusy counts a packet, and reports whether its client is busy.
func (a *Activity) isBusy(size int, now time.Time) bool {
	if now.Sub(a.since) >= time.Second {
		a.wasBusy = a.packets > BusyFrom
		a.since, a.packets = now, 0
	}
	a.packets += 1 + size/chunkSize
	return a.wasBusy || a.packets > BusyFrom
}

// Turn is one turn, or none yet. The goroutine that handles packets owns it. It may last for several packets, so that
// their answers are written together.
type Turn struct {
	turns *Turns
	began time.Time // zero while there is none
}

// IsLong reports whether others should go on.
func (t *Turn) IsLong() bool { return !t.began.IsZero() && time.Since(t.began) > 2*longWork }

// End ends the turn, if there is one.
func (t *Turn) End() {
	if !t.began.IsZero() {
		Busy.worked.Add(int64(time.Since(t.began)))
		t.began = time.Time{}
		<-t.turns.free
	}
}
