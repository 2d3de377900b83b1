package bus

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// maxHeld bounds the callbacks that wait for NATS while it is away.
const maxHeld = 100_000

// Ending a subscription costs nats.go a goroutine and a round trip, so a few at a time.
const (
	maxEnding   = 500
	endingPause = 20 * time.Millisecond
)

// interest is one subject that somebody wants to hear.
type interest struct {
	subject string
	plain   bool               // outside the queue group; static
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

	ending   []*nats.Subscription // owned by the worker's goroutine: swept, not unsubscribed yet
	draining []*nats.Subscription // owned by the worker's goroutine: unsubscribed; nats.go may not be done with them
	measured time.Time            // owned by the worker's goroutine: when the last flush was tried

	mu        sync.Mutex
	interests map[string]*interest // guarded by mu
	wanted    map[string]*interest // guarded by mu: those of interests that are not subscribed yet
	lingering []lingerer           // guarded by mu: oldest first
	dropped   []*interest          // guarded by mu: not to linger; may hold interests that found a user again
	waiting   []held               // guarded by mu
	insisting int                  // guarded by mu: those of waiting that are WhenHeld's
	letters   []letter             // guarded by mu
	stale     bool                 // guarded by mu: the connection is new and was not flushed yet

	backlog [unsentConfirmation]backlog // added to under mu: what letters hold, by kind
}

func newWorker(b *Bus) *worker {
	return &worker{
		bus: b, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		interests: make(map[string]*interest), wanted: make(map[string]*interest), stale: true,
	}
}

// Subscribe wants a subject to be heard by Run. It never blocks; WhenHeld tells when it is so. Every Subscribe needs one
// Unsubscribe; the same subject may be wanted many times.
func (b *Bus) Subscribe(subject string) { b.work.want(subject, false) }

// SubscribeReplies is Subscribe for subjects that stand as reply subjects in what the bus publishes. Only such a
// subscription hears the server's word that nobody subscribes the subject of a request: NATS does not say it to queue
// groups. It must not overlap with others, or messages come twice.
func (b *Bus) SubscribeReplies(subject string) { b.work.want(subject, true) }

func (w *worker) want(subject string, plain bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := w.interests[subject]
	if in == nil {
		in = &interest{subject: subject, plain: plain}
		w.interests[subject] = in
	}
	in.users++
	if in.sub == nil {
		w.wanted[subject] = in
		w.nudge()
	}
}

// Unsubscribe takes one Subscribe back. After the last, the subscription lingers: clients that leave a room often
// come back, or somebody else enters it.
func (b *Bus) Unsubscribe(subject string) { b.work.release(subject, true) }

// Drop is Unsubscribe without the linger.
func (b *Bus) Drop(subject string) { b.work.release(subject, false) }

func (w *worker) release(subject string, linger bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := w.interests[subject]
	if in == nil || in.users == 0 {
		return
	}
	if in.users--; in.users > 0 {
		return
	}
	if !linger {
		w.dropped = append(w.dropped, in)
		w.nudge()
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
		timer.Reset(min(w.sweep(time.Now()), measureEvery))
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
	w.waiting, w.insisting = nil, 0
	if connected && len(w.wanted) > 0 { // nats.go may not be reached while it tries to connect
		wanted, w.wanted = w.wanted, make(map[string]*interest)
	}
	w.mu.Unlock()

	if stale {
		w.forgetDraining()
	}
	for _, in := range wanted {
		w.subscribe(in)
	}
	if connected {
		w.publish(true)
	}
	if connected && (len(waiting) > 0 || stale || len(wanted) > 0 || time.Since(w.measured) >= measureEvery) {
		connected = w.flush(stale)
		if connected {
			for _, h := range waiting {
				h.fn()
			}
			w.publish(true) // the callbacks' answers, behind what they promise
			return
		}
	}
	if !connected {
		w.publish(false)
		w.putBack(waiting)
	}
}

// flush makes a round trip to the server; what was written before it has been processed there when it returns true.
func (w *worker) flush(stale bool) bool {
	w.measured = time.Now()
	if err := w.bus.nc.FlushTimeout(flushTimeout); err != nil {
		w.bus.log.Warn("NATS did not answer a flush", "error", err)
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
		w.insisting += len(kept)
		w.mu.Unlock()
	}
}

func (w *worker) subscribe(in *interest) {
	if in.sub != nil { // wanted again after it was taken from the list
		return
	}
	// If the connection was lost just now, this only registers the subscription: nats.go sends all of them when it is back.
	group := w.bus.group
	if in.plain {
		group = ""
	}
	sub, err := w.bus.nc.ChanQueueSubscribe(in.subject, group, w.bus.channel)
	if err != nil {
		w.bus.stats.asyncErrors.Inc()
		w.bus.log.Error("cannot subscribe", "subject", in.subject, "error", err)
		return
	}
	w.mu.Lock()
	in.sub = sub
	w.mu.Unlock()
}

// sweep unsubscribes what has lingered long enough and says when to look again.
func (w *worker) sweep(now time.Time) time.Duration {
	gone := w.ending
	next := time.Hour
	w.mu.Lock()
	end := func(in *interest) {
		if in.users == 0 && w.interests[in.subject] == in {
			delete(w.interests, in.subject)
			delete(w.wanted, in.subject)
			if in.sub != nil {
				gone = append(gone, in.sub)
			}
		}
	}
	for _, in := range w.dropped {
		end(in)
	}
	w.dropped = nil
	i := 0
	for ; i < len(w.lingering); i++ {
		l := w.lingering[i]
		if left := l.left.Add(w.bus.linger).Sub(now); left > 0 {
			next = left
			break
		}
		if l.left.Equal(l.in.since) {
			end(l.in)
		}
	}
	if w.lingering = w.lingering[i:]; len(w.lingering) == 0 {
		w.lingering = nil
	}
	w.mu.Unlock()
	for len(w.draining) > 0 && !w.draining[0].IsValid() {
		w.draining = w.draining[1:]
	}
	if !w.bus.online.Load() {
		// nats.go would keep silent to the server and still subscribe them again (see forgetDraining). They wait.
		w.ending = gone
		return next
	}
	if len(gone) > maxEnding {
		gone, w.ending, next = gone[:maxEnding], gone[maxEnding:], endingPause
	} else {
		w.ending = nil
	}
	for _, sub := range gone {
		if n, err := sub.Dropped(); err == nil {
			w.bus.stats.dropped.Add(n)
		}
		// Not Unsubscribe: the server may have chosen this subscription for a message that another one of ours matches,
		// too, and nats.go would throw away what is on its way (2,500 of 20,000 messages in the test that covers it).
		if err := sub.Drain(); err != nil && w.bus.online.Load() {
			w.bus.log.Warn("cannot unsubscribe", "subject", sub.Subject, "error", err)
		}
		w.draining = append(w.draining, sub)
	}
	return next
}

// forgetDraining takes the subscriptions that were draining away at once when the connection has been lost. nats.go goes
// on draining them over the next connection: it subscribes them again with all others, and forgets them without telling
// the server. Such a subscription is read by nobody, and as a member of our queue group it would take every second
// message away from those that are.
func (w *worker) forgetDraining() {
	for _, sub := range w.draining {
		_ = sub.Unsubscribe() // it may be gone already
	}
	w.draining = nil
}

// caughtUp says whether all that is wanted holds on the present connection.
func (w *worker) caughtUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.stale
}

func (w *worker) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.interests)
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
