package bus

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// lastPasses is how many passes the worker makes when the bus closes: an entry may add another, up to three in a row
// (a session's end, that of its socket, the notice to its owner).
const lastPasses = 4

// worker does everything that may wait for NATS and must not block the reader: it processes the outbox, makes
// subscriptions, flushes, and ends subscriptions after their linger.
type worker struct {
	bus  *Bus
	quit chan struct{}
	done chan struct{}

	stale    atomic.Bool                        // the connection is new and was not flushed yet
	giveUp   atomic.Pointer[context.CancelFunc] // ends the flush that waits for NATS; nil while there is none
	measured time.Time                          // owned by the worker's goroutine: when the last flush was tried
	kept     []entry                            // owned by the worker's goroutine: entries that wait for NATS, in order, before those of the outbox
}

// connectionChanged is called for each connection that begins or ends.
func (w *worker) connectionChanged(online bool) {
	w.stale.Store(true) // before it is online, so that the bus is not ready too early
	w.bus.state.online.Store(online)
	if giveUp := w.giveUp.Load(); giveUp != nil && !online {
		(*giveUp)()
	}
	w.bus.out.wake.Raise()
}

// stop ends the worker after its last passes, or when ctx ends.
func (w *worker) stop(ctx context.Context) {
	close(w.quit)
	defer context.AfterFunc(ctx, w.bus.nc.Close)() // ends a flush that waits for NATS
	<-w.done
}

func (w *worker) run() {
	defer close(w.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(min(w.bus.subscriptions.Sweep(time.Now()), w.bus.permits.Report(time.Now()), measureEvery))
		select {
		case <-w.quit:
			for range lastPasses {
				w.pass()
			}
			return
		case <-w.bus.out.wake:
		case <-timer.C:
		}
		w.pass()
	}
}

// pass does all that can be done now: the entries up to the first barrier, the subscriptions that are wanted, one
// flush for all barriers, and the other entries.
func (w *worker) pass() {
	online := w.bus.state.online.Load()
	entries := w.bus.out.take()
	if online {
		entries, w.kept = append(w.kept, entries...), nil
	}
	first := slices.IndexFunc(entries, func(e entry) bool { return e.kind == confirmation || e.kind == barrier })
	if first < 0 {
		first = len(entries)
	}
	w.process(entries[:first], online)
	if online {
		subscribed := w.bus.subscriptions.Subscribe()
		asking := w.bus.permits.Due(time.Now())
		if first < len(entries) || w.stale.Load() || subscribed || asking || time.Since(w.measured) >= measureEvery {
			if asking {
				w.bus.permits.Ask()
			}
			online = w.flush()
			if asking {
				w.bus.conclude(online)
			}
		}
	}
	w.process(entries[first:], online)
}

// process processes entries. Those that wait for NATS are kept.
func (w *worker) process(entries []entry, online bool) {
	for i := range entries {
		e := &entries[i]
		switch {
		case !online && (e.kind == notice || e.kind == confirmation):
			w.kept = append(w.kept, *e)
		case e.fn == nil:
			w.publish(e, online)
		default:
			w.bus.out.done(e)
			e.fn()
		}
	}
}

// publish sends a letter. If the connection has just ended, a notice is kept. An answer would come too late.
func (w *worker) publish(e *entry, online bool) {
	if e.kind == answer { // before it is sent: its receiver may send the next request at once
		w.bus.out.done(e)
	}
	l, err := &e.letter, ErrOffline
	if online {
		err = w.bus.Publish([]byte(l.Subject), []byte(l.Reply), l.Header, l.Body)
	}
	switch {
	case e.kind == notice && err == ErrOffline:
		w.kept = append(w.kept, *e)
		return
	case e.kind == notice:
		w.bus.out.done(e)
	}
	if err != nil {
		w.bus.stats.unsent[e.kind].Inc()
		if err != ErrOffline {
			w.bus.complaints.Warn("an answer could not be published", l.Subject, err)
		}
	}
}

// flush makes a round trip to the server, which has processed everything written before when flush returns true. It
// returns false at once if the connection ends: a flush that begins just then would wait for an answer that cannot
// come.
func (w *worker) flush() bool {
	w.measured = time.Now()
	stale := w.stale.Load() // the connection may be another one when the answer arrives
	ctx, giveUp := context.WithTimeout(context.Background(), flushTimeout)
	defer giveUp()
	w.giveUp.Store(&giveUp)
	defer w.giveUp.Store(nil)
	if !w.bus.state.online.Load() { // connectionChanged may have been too early for giveUp
		return false
	}
	err := w.bus.nc.FlushWithContext(ctx)
	if errors.Is(err, context.Canceled) {
		return false
	}
	if err != nil {
		w.bus.complaints.Warn("NATS did not answer a flush", "", err)
		// A connection that is slow but stays gives no further signal, so try again.
		time.AfterFunc(flushAgain, w.bus.out.wake.Raise)
		return false
	}
	w.bus.stats.roundTrip.Set(int(time.Since(w.measured)))
	if stale {
		w.stale.Store(false)
	}
	return true
}
