package bus

import (
	"container/list"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// maxEnding is how many subscriptions are ended before the worker's other work: about 20 ms.
const maxEnding = 2000

// interest is a subject with a subscription, or one that is wanted. It is the only one of its subject, so no subject
// ever has two subscriptions.
type interest struct {
	subject string             // static
	users   int                // guarded by interests.mu
	sub     *nats.Subscription // written by the worker, with interests.mu held; nil until subscribed
	left    time.Time          // guarded by interests.mu: when the last user left
	idle    *list.Element      // guarded by interests.mu: of interests.idle; nil while there is a user
}

// interests are the subscriptions of a bus. Any goroutine asks for them and never waits; the worker makes and ends
// them.
type interests struct {
	bus    *Bus
	linger time.Duration                                    // static
	open   func(subject string) (*nats.Subscription, error) // static

	mu        sync.Mutex
	bySubject map[string]*interest // guarded by mu
	wanted    map[string]*interest // guarded by mu: those of bySubject that are not subscribed yet
	// idle are those of bySubject without a user, in the order in which the last one left. After linger they are ended
	// as soon as NATS is there, unless they find a user first.
	idle list.List // guarded by mu
}

// Subscribe adds a user of a subject, whose messages Run then receives. It never blocks; AfterSubscribed reports when
// the subscription is active. Every Subscribe needs one Unsubscribe; a subject may have many users.
//
// Subscriptions are in no queue group: NATS keeps a dead connection for minutes, and would keep delivering its
// share to it. So a message comes once for each subscription that matches it. Message.Subscription tells
// the copies apart.
func (b *Bus) Subscribe(subject string) {
	i := b.interests
	i.mu.Lock()
	defer i.mu.Unlock()
	in := i.bySubject[subject]
	if in == nil {
		in = &interest{subject: subject}
		i.bySubject[subject] = in
	}
	in.users++
	if in.idle != nil {
		i.idle.Remove(in.idle)
		in.idle = nil
	}
	if in.sub == nil {
		i.wanted[subject] = in
		b.out.wake.Raise()
	}
}

// Unsubscribe removes a user. After the last, the subscription lingers: clients that leave a room often
// come back, or others enter it.
func (b *Bus) Unsubscribe(subject string) {
	i := b.interests
	i.mu.Lock()
	defer i.mu.Unlock()
	in := i.bySubject[subject]
	if in == nil || in.users == 0 {
		return
	}
	if in.users--; in.users > 0 {
		return
	}
	if in.sub == nil && !b.Connected() { // nothing to keep; make ends a subscription that the worker is making
		delete(i.bySubject, subject)
		delete(i.wanted, subject)
		return
	}
	in.left, in.idle = time.Now(), i.idle.PushBack(in)
	if i.idle.Len() == 1 {
		b.out.wake.Raise()
	}
}

// subscribe makes the subscriptions that are wanted, and reports whether it made any. One that fails is tried again in
// the next pass of the worker, which comes within measureEvery. The worker calls it while NATS is there: nats.go may
// not be reached while it tries to connect.
func (i *interests) subscribe() (made bool) {
	i.mu.Lock()
	wanted := slices.Collect(maps.Values(i.wanted))
	clear(i.wanted)
	i.mu.Unlock()
	for _, in := range wanted {
		if in.sub == nil { // else it was wanted again after it was taken from the list
			made = i.make(in) || made
		}
	}
	return made
}

// make subscribes one subject.
func (i *interests) make(in *interest) bool {
	// If the connection was lost just now, this only registers the subscription: nats.go sends all of them when it is
	// back.
	sub, err := i.open(in.subject)
	i.mu.Lock()
	isWanted := i.bySubject[in.subject] == in // else its last user left meanwhile
	if in.sub = sub; err != nil && isWanted {
		i.wanted[in.subject] = in
	}
	i.mu.Unlock()
	if err != nil {
		i.bus.stats.asyncErrors.Inc()
		i.bus.complaints.Log(slog.LevelError, "cannot subscribe", in.subject, err.Error(), "subject", in.subject, "error", err)
	} else if !isWanted {
		_ = sub.Unsubscribe()
	}
	return err == nil
}

// renew makes a subscription that NATS has refused again, if it is still wanted. It runs on the worker.
func (i *interests) renew(subject string) {
	i.mu.Lock()
	in := i.bySubject[subject]
	i.mu.Unlock()
	if in == nil || in.sub == nil {
		return
	}
	_ = in.sub.Unsubscribe() // NATS does not have it
	i.make(in)
}

// sweep ends what has lingered long enough, while NATS is there: nats.go may not be reached while it tries to connect.
// If a subject is wanted again after that, the same goroutine subscribes it, after its end: NATS never has it twice.
// nats.go drops what still comes by an ended subscription, which has no user. sweep returns when to call it again.
func (i *interests) sweep(now time.Time) time.Duration {
	for range maxEnding {
		sub, wait := i.nextToEnd(now)
		if sub == nil {
			return wait
		}
		if err := sub.Unsubscribe(); err != nil && i.bus.Connected() {
			i.bus.log.Warn("cannot unsubscribe", "subject", sub.Subject, "error", err)
		}
	}
	return 0
}

// nextToEnd takes a subscription that has lingered long enough. It returns nil and when there will be one if there is
// none, or NATS is away.
func (i *interests) nextToEnd(now time.Time) (sub *nats.Subscription, wait time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	first := i.idle.Front()
	if first == nil || !i.bus.Connected() {
		return nil, time.Hour
	}
	in := first.Value.(*interest)
	if wait := in.left.Add(i.linger).Sub(now); wait > 0 {
		return nil, wait
	}
	i.idle.Remove(first)
	delete(i.bySubject, in.subject)
	delete(i.wanted, in.subject)
	return in.sub, 0
}

// count is how many subjects are subscribed or wanted, without those that have lingered long enough.
func (i *interests) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.bySubject)
	for e := i.idle.Front(); e != nil && time.Since(e.Value.(*interest).left) >= i.linger; e = e.Next() {
		n--
	}
	return n
}

// subjects lists what is subscribed or wanted.
func (i *interests) subjects() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Collect(maps.Keys(i.bySubject))
}

// lacks reports whether a subject is wanted and not subscribed yet.
func (i *interests) lacks(subject string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wanted[subject] != nil
}
