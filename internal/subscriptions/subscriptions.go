// Package subscriptions keeps the subscriptions of a connection to NATS, which users share. After its last user left, a
// subscription lingers. Any goroutine adds and removes users, and never waits. One goroutine, the worker of the caller,
// makes and ends the subscriptions while NATS is there: nats.go may not be reached while it tries to connect.
package subscriptions

import (
	"container/list"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// maxEnding is how many subscriptions are ended in one call of Sweep: about 20 ms.
const maxEnding = 2000

// interest is a subject with a subscription, or one that is wanted. It is the only one of its subject, so no subject
// ever has two subscriptions.
type interest struct {
	subject string             // static
	users   int                // guarded by Table.mu
	sub     *nats.Subscription // written by the worker, with Table.mu held; nil until subscribed
	left    time.Time          // guarded by Table.mu: when the last user left
	idle    *list.Element      // guarded by Table.mu: of Table.idle; nil while there is a user
}

// Settings is what a Table needs. Its functions are called on the worker's goroutine, except Wake and Connected.
type Settings struct {
	Linger    time.Duration                                    // how long a subscription is kept after its last user left
	Open      func(subject string) (*nats.Subscription, error) // subscribes
	Failed    func(subject string, err error)                  // counts and logs that Open failed
	Connected func() bool                                      // whether NATS is there; must not block
	Wake      func()                                           // has the worker call Subscribe and Sweep; must not block
	Log       *slog.Logger
}

// Table holds the subscriptions. No subject ever has two.
type Table struct {
	set Settings // static

	mu        sync.Mutex
	bySubject map[string]*interest // guarded by mu
	wanted    map[string]*interest // guarded by mu: those of bySubject that are not subscribed yet
	// idle are those of bySubject without a user, in the order in which the last one left. After Linger they are ended
	// as soon as NATS is there, unless they find a user first.
	idle list.List // guarded by mu
}

// New makes an empty Table.
func New(set Settings) *Table {
	return &Table{set: set, bySubject: make(map[string]*interest), wanted: make(map[string]*interest)}
}

// Add adds a user of a subject. It never blocks.
func (t *Table) Add(subject string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.bySubject[subject]
	if in == nil {
		in = &interest{subject: subject}
		t.bySubject[subject] = in
	}
	in.users++
	if in.idle != nil {
		t.idle.Remove(in.idle)
		in.idle = nil
	}
	if in.sub == nil {
		t.wanted[subject] = in
		t.set.Wake()
	}
}

// Remove removes a user. One too many is ignored. It never blocks.
func (t *Table) Remove(subject string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.bySubject[subject]
	if in == nil || in.users == 0 {
		return
	}
	if in.users--; in.users > 0 {
		return
	}
	if in.sub == nil && !t.set.Connected() { // nothing to keep; make ends a subscription that the worker is making
		delete(t.bySubject, subject)
		delete(t.wanted, subject)
		return
	}
	in.left, in.idle = time.Now(), t.idle.PushBack(in)
	if t.idle.Len() == 1 {
		t.set.Wake()
	}
}

// Subscribe makes the subscriptions that are wanted, and reports whether it made any. One that fails is tried again by
// the next call. The worker calls it while NATS is there.
func (t *Table) Subscribe() (made bool) {
	t.mu.Lock()
	wanted := slices.Collect(maps.Values(t.wanted))
	clear(t.wanted)
	t.mu.Unlock()
	for _, in := range wanted {
		if in.sub == nil { // else it was wanted again after it was taken from the list
			made = t.make(in) || made
		}
	}
	return made
}

// make subscribes one subject.
func (t *Table) make(in *interest) bool {
	// If the connection was lost just now, this only registers the subscription: nats.go sends all of them when it is
	// back.
	sub, err := t.set.Open(in.subject)
	t.mu.Lock()
	isWanted := t.bySubject[in.subject] == in // else its last user left meanwhile
	if in.sub = sub; err != nil && isWanted {
		t.wanted[in.subject] = in
	}
	t.mu.Unlock()
	if err != nil {
		t.set.Failed(in.subject, err)
	} else if !isWanted {
		_ = sub.Unsubscribe()
	}
	return err == nil
}

// Renew makes a subscription that NATS has refused again, if it is still wanted. It runs on the worker.
func (t *Table) Renew(subject string) {
	t.mu.Lock()
	in := t.bySubject[subject]
	t.mu.Unlock()
	if in == nil || in.sub == nil {
		return
	}
	_ = in.sub.Unsubscribe() // NATS does not have it
	t.make(in)
}

// Sweep ends what has lingered long enough, while NATS is there, and returns when to call it again. If a subject is
// wanted again after that, the same goroutine subscribes it, after its end: NATS never has it twice. nats.go drops what
// still comes by an ended subscription, which has no user.
func (t *Table) Sweep(now time.Time) time.Duration {
	for range maxEnding {
		sub, wait := t.nextToEnd(now)
		if sub == nil {
			return wait
		}
		if err := sub.Unsubscribe(); err != nil && t.set.Connected() {
			t.set.Log.Warn("cannot unsubscribe", "subject", sub.Subject, "error", err)
		}
	}
	return 0
}

// nextToEnd takes a subscription that has lingered long enough. It returns nil and when there will be one if there is
// none, or NATS is away.
func (t *Table) nextToEnd(now time.Time) (sub *nats.Subscription, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.idle.Front()
	if first == nil || !t.set.Connected() {
		return nil, time.Hour
	}
	in := first.Value.(*interest)
	if wait := in.left.Add(t.set.Linger).Sub(now); wait > 0 {
		return nil, wait
	}
	t.idle.Remove(first)
	delete(t.bySubject, in.subject)
	delete(t.wanted, in.subject)
	return in.sub, 0
}

// Count is how many subjects are subscribed or wanted, without those that have lingered long enough.
func (t *Table) Count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.bySubject)
	for e := t.idle.Front(); e != nil && time.Since(e.Value.(*interest).left) >= t.set.Linger; e = e.Next() {
		n--
	}
	return n
}

// Subjects lists what is subscribed or wanted.
func (t *Table) Subjects() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.bySubject))
}

// Lacks reports whether a subject is wanted and not subscribed yet.
func (t *Table) Lacks(subject string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wanted[subject] != nil
}
