package bus

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// maxHeld bounds the callbacks that wait for NATS while it is away.
const maxHeld = 100_000

// maxEnding is how many subscriptions are ended before what else waits for the worker has its turn: about 20 ms.
const maxEnding = 2000

// interest is a subject with a subscription, or one that is wanted. It is the only one of its subject, so no subject ever
// has two subscriptions.
type interest struct {
	subject string             // static
	users   int                // guarded by worker.mu
	sub     *nats.Subscription // owned by the worker's goroutine, read under worker.mu; nil until subscribed
	since   time.Time          // guarded by worker.mu: when the last user left
}

// lingerer is an interest as it was left; it counts no more if it found a user since, and was left again.
type lingerer struct {
	in   *interest
	left time.Time
}

// held is called once what was wanted before it holds at the server.
type held struct {
	fn      func()
	offline bool // call it at once when there is no connection
}

// worker does all that may wait for NATS and must not hold up the reader: it subscribes, flushes, calls back,
// unsubscribes after the linger, and publishes answers and notices.
type worker struct {
	bus  *Bus
	wake chan struct{} // capacity 1
	quit chan struct{}
	done chan struct{}

	measured time.Time // owned by the worker's goroutine: when the last flush was tried

	mu        sync.Mutex
	interests map[string]*interest // guarded by mu
	wanted    map[string]*interest // guarded by mu: those of interests that are not subscribed yet
	lingering []lingerer           // guarded by mu: oldest first
	// ending are those of interests that have lingered: unsubscribed as soon as NATS is there, unless they find a user first.
	ending    map[*interest]struct{} // guarded by mu
	waiting   []held                 // guarded by mu
	insisting int                    // guarded by mu: callbacks of WhenHeld that were not called yet
	letters   []letter               // guarded by mu
	stale     bool                   // guarded by mu: the connection is new and was not flushed yet

	backlog [unsentConfirmation]backlog // added to under mu: what letters hold, by kind
}

func newWorker(b *Bus) *worker {
	return &worker{
		bus: b, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		interests: make(map[string]*interest), wanted: make(map[string]*interest), ending: make(map[*interest]struct{}), stale: true,
	}
}

// Subscribe wants a subject to be heard by Run. It never blocks; WhenHeld tells when it is so. Every Subscribe needs one
// Unsubscribe; the same subject may be wanted many times.
//
// Subscriptions are in no queue group: NATS keeps a connection that died without a word for minutes, and would go on giving that
// dead member of the group its share. So a message comes once for each subscription that matches it. Message.Subscription tells
// the copies apart.
func (b *Bus) Subscribe(subject string) { b.work.want(subject) }

func (w *worker) want(subject string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := w.interests[subject]
	if in == nil {
		in = &interest{subject: subject}
		w.interests[subject] = in
	}
	in.users++
	delete(w.ending, in)
	if in.sub == nil {
		w.wanted[subject] = in
		w.nudge()
	}
}

// Unsubscribe takes one Subscribe back. After the last, the subscription lingers: clients that leave a room often
// come back, or somebody else enters it.
func (b *Bus) Unsubscribe(subject string) { b.work.release(subject) }

func (w *worker) release(subject string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := w.interests[subject]
	if in == nil || in.users == 0 {
		return
	}
	if in.users--; in.users > 0 {
		return
	}
	in.since = time.Now()
	w.lingering = append(w.lingering, lingerer{in, in.since})
	if len(w.lingering) == 1 {
		w.nudge()
	}
}

// WhenHeld calls fn once every subscription wanted before is in place at the NATS server, which one round trip for all
// that wait shows. While NATS is away fn waits too. fn runs on the bus's worker and must not block; it is not called
// any more once the bus closes. WhenHeld returns false, counts that, and does not keep fn, when 100,000 wait already.
func (b *Bus) WhenHeld(fn func()) bool { return b.work.when(held{fn: fn}) }

// WhenHeldOrOffline is WhenHeld, but without a connection to NATS it does not wait.
func (b *Bus) WhenHeldOrOffline(fn func()) { b.work.when(held{fn: fn, offline: true}) }

func (w *worker) when(h held) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !h.offline {
		if w.insisting >= maxHeld {
			w.bus.stats.unsent[unsentConfirmation].Inc()
			return false
		}
		w.insisting++
	}
	w.waiting = append(w.waiting, h)
	w.nudge()
	return true
}

// nudge wakes the worker. It never blocks.
func (w *worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// connectionChanged is told of each connection that begins or ends.
func (w *worker) connectionChanged(online bool) {
	w.mu.Lock()
	w.stale = true // before it is online, so that nobody takes it for ready
	w.bus.online.Store(online)
	w.nudge()
	w.mu.Unlock()
}

func (w *worker) start() { go w.run() }

// stop lets the worker finish what waits and ends it, at the latest when ctx does.
func (w *worker) stop(ctx context.Context) {
	close(w.quit)
	select {
	case <-w.done:
	case <-ctx.Done():
		w.bus.nc.Close() // ends a flush that waits for NATS
		<-w.done
	}
}

func (w *worker) run() {
	defer close(w.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(min(w.sweep(time.Now()), w.bus.report(time.Now()), measureEvery))
		select {
		case <-w.quit:
			w.round()
			return
		case <-w.wake:
		case <-timer.C:
		}
		w.round()
	}
}

// round does all that can be done now.
func (w *worker) round() {
	connected := w.bus.online.Load()
	var wanted map[string]*interest
	w.mu.Lock()
	waiting, stale := w.waiting, w.stale
	w.waiting = nil
	if connected && len(w.wanted) > 0 { // nats.go may not be reached while it tries to connect
		wanted, w.wanted = w.wanted, make(map[string]*interest)
	}
	w.mu.Unlock()

	for _, in := range wanted {
		w.subscribe(in)
	}
	if connected {
		w.publish(true)
	}
	asking := connected && w.bus.permits.due(time.Now())
	if connected && (len(waiting) > 0 || stale || len(wanted) > 0 || asking || time.Since(w.measured) >= measureEvery) {
		connected = w.roundTrip(stale, asking)
		if connected {
			w.call(waiting)
			w.publish(true) // the callbacks' answers, behind what they promise
			return
		}
	}
	if !connected {
		w.publish(false)
		w.putBack(waiting)
	}
}

// roundTrip flushes. With asking it also finds out what NATS permits, before anybody can take the bus for ready.
func (w *worker) roundTrip(stale, asking bool) bool {
	if !asking {
		return w.flush(stale)
	}
	q := w.ask()
	answered := w.flush(stale)
	if answered {
		w.bus.awaitErrors()
	}
	w.bus.permits.settle(q, answered)
	if answered && w.bus.permits.due(time.Now()) { // there is more to ask
		w.nudge()
	}
	return answered
}

// call calls what waited for the flush that has just succeeded.
func (w *worker) call(waiting []held) {
	insisted := 0
	for _, h := range waiting {
		if !h.offline {
			insisted++
		}
		h.fn()
	}
	w.mu.Lock()
	w.insisting -= insisted
	w.mu.Unlock()
}

// flush makes a round trip to the server; what was written before it has been processed there when it returns true.
func (w *worker) flush(stale bool) bool {
	w.measured = time.Now()
	if err := w.bus.nc.FlushTimeout(flushTimeout); err != nil {
		w.bus.complaints.Warn("NATS did not answer a flush", "", err)
		// A connection that is slow but stays gives no further signal, so try again by ourselves.
		time.AfterFunc(reconnectWait, func() { w.nudge() })
		return false
	}
	w.bus.stats.roundTrip.Set(int(time.Since(w.measured)))
	if stale {
		w.mu.Lock()
		w.stale = false
		w.mu.Unlock()
	}
	return true
}

// putBack keeps the callbacks that insist on a connection in front of newer ones and calls the others.
func (w *worker) putBack(waiting []held) {
	kept := waiting[:0:0]
	for _, h := range waiting {
		if h.offline {
			h.fn()
		} else {
			kept = append(kept, h)
		}
	}
	if len(kept) > 0 {
		w.mu.Lock()
		w.waiting = append(kept, w.waiting...)
		w.mu.Unlock()
	}
}

func (w *worker) subscribe(in *interest) {
	if in.sub != nil { // wanted again after it was taken from the list
		return
	}
	// If the connection was lost just now, this only registers the subscription: nats.go sends all of them when it is back.
	sub, err := w.bus.nc.ChanSubscribe(in.subject, w.bus.channel)
	if err != nil {
		w.bus.stats.asyncErrors.Inc()
		w.bus.log.Error("cannot subscribe", "subject", in.subject, "error", err)
		return
	}
	w.mu.Lock()
	in.sub = sub
	w.mu.Unlock()
}

// sweep ends what has lingered long enough and says when to look again.
func (w *worker) sweep(now time.Time) time.Duration {
	next := w.collect(now)
	if !w.end() {
		return 0
	}
	return next
}

// collect moves what has lingered long enough to ending, and says when there will be more.
func (w *worker) collect(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, l := range w.lingering {
		if left := l.left.Add(w.bus.linger).Sub(now); left > 0 {
			w.lingering = w.lingering[i:]
			return left
		}
		in := l.in
		switch {
		case in.users > 0 || !l.left.Equal(in.since): // it found a user since
		case in.sub == nil:
			delete(w.interests, in.subject)
			delete(w.wanted, in.subject)
		default:
			w.ending[in] = struct{}{}
		}
	}
	w.lingering = nil
	return time.Hour
}

// end unsubscribes what is in ending, while NATS is there: nats.go may not be reached while it tries to connect. If a subject is
// wanted again after that, the same goroutine subscribes it, so behind its end: NATS never knows it twice. nats.go throws away what
// still comes by an ended subscription, which has no user. It returns false if more could be ended now.
func (w *worker) end() bool {
	for range maxEnding {
		if !w.bus.online.Load() {
			return true
		}
		sub := w.nextToEnd()
		if sub == nil {
			return true
		}
		if n, err := sub.Dropped(); err == nil {
			w.bus.stats.dropped.Add(n)
		}
		if err := sub.Unsubscribe(); err != nil && w.bus.online.Load() {
			w.bus.log.Warn("cannot unsubscribe", "subject", sub.Subject, "error", err)
		}
	}
	return false
}

// nextToEnd takes a subscription from ending, nil if there is none.
func (w *worker) nextToEnd() *nats.Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	for in := range w.ending {
		delete(w.ending, in)
		delete(w.interests, in.subject)
		return in.sub
	}
	return nil
}

// caughtUp says whether all that is wanted holds on the present connection.
func (w *worker) caughtUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.stale
}

// count is how many subjects are subscribed or wanted, without those that end.
func (w *worker) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.interests) - len(w.ending)
}

func (w *worker) droppedNow() uint64 {
	w.mu.Lock()
	subs := make([]*nats.Subscription, 0, len(w.interests))
	for _, in := range w.interests {
		if in.sub != nil {
			subs = append(subs, in.sub)
		}
	}
	w.mu.Unlock()
	var sum uint64
	for _, sub := range subs {
		if n, err := sub.Dropped(); err == nil {
			sum += uint64(n)
		}
	}
	return sum
}
