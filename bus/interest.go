package bus

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// maxEnding is how many subscriptions are ended before what else waits for the worker is done: about 20 ms.
const maxEnding = 2000

// interest is a subject with a subscription, or one that is wanted. It is the only one of its subject, so no subject ever
// has two subscriptions.
type interest struct {
	subject string             // static
	users   int                // guarded by interests.mu
	sub     *nats.Subscription // written by the worker, with interests.mu held; nil until subscribed
	since   time.Time          // guarded by interests.mu: when the last user left
}

// lingerer records when an interest lost its last user. It is stale once in.since has changed.
type lingerer struct {
	in   *interest
	left time.Time
}

// interests are the subscriptions of a bus. Any goroutine asks for them and never waits; the worker makes and ends them.
type interests struct {
	bus    *Bus
	linger time.Duration                                    // static
	open   func(subject string) (*nats.Subscription, error) // static

	mu        sync.Mutex
	bySubject map[string]*interest // guarded by mu
	wanted    map[string]*interest // guarded by mu: those of bySubject that are not subscribed yet
	lingering []lingerer           // guarded by mu: oldest first
	// ending are those of bySubject that have lingered: unsubscribed as soon as NATS is there, unless they find a user first.
	ending map[*interest]struct{} // guarded by mu
}

// Subscribe asks for the messages of a subject, which Run hands on. It never waits; AfterSubscribed reports when it is done. Every
// Subscribe needs one Unsubscribe; the same subject may be asked for many times.
//
// Subscriptions are in no queue group: NATS keeps a connection that died silently for minutes, and would go on giving that
// dead member of the group its share. So a message comes once for each subscription that matches it. Message.Subscription tells
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
	delete(i.ending, in)
	if in.sub == nil {
		i.wanted[subject] = in
		b.out.nudge()
	}
}

// Unsubscribe takes one Subscribe back. After the last, the subscription lingers: clients that leave a room often
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
	in.since = time.Now()
	i.lingering = append(i.lingering, lingerer{in, in.since})
	if len(i.lingering) == 1 {
		b.out.nudge()
	}
}

// subscribe makes the subscriptions that are wanted, and reports whether it made any. One that fails is tried again in the next
// pass of the worker, which comes within measureEvery. The worker calls it while NATS is there: nats.go may not be reached while it
// tries to connect.
func (i *interests) subscribe() (made bool) {
	i.mu.Lock()
	wanted := slices.Collect(maps.Values(i.wanted))
	clear(i.wanted)
	i.mu.Unlock()
	for _, in := range wanted {
		made = i.make(in) || made
	}
	return made
}

// make subscribes one subject.
func (i *interests) make(in *interest) bool {
	if in.sub != nil { // wanted again after it was taken from the list
		return false
	}
	// If the connection was lost just now, this only registers the subscription: nats.go sends all of them when it is back.
	sub, err := i.open(in.subject)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.bus.stats.asyncErrors.Inc()
		i.bus.complaints.Log(slog.LevelError, "cannot subscribe", in.subject, err.Error(), "subject", in.subject, "error", err)
		i.wanted[in.subject] = in
		return false
	}
	in.sub = sub
	return true
}

// renew makes a subscription that NATS has refused again, if it is still wanted. It runs on the worker.
func (i *interests) renew(subject string) {
	i.mu.Lock()
	in := i.bySubject[subject]
	i.mu.Unlock()
	if in == nil || in.sub == nil {
		return
	}
	_ = in.sub.Unsubscribe() // NATS does not know it
	i.mu.Lock()
	in.sub = nil
	i.mu.Unlock()
	i.make(in)
}

// sweep ends what has lingered long enough, while NATS is there: nats.go may not be reached while it tries to connect. If a subject
// is wanted again after that, the same goroutine subscribes it, so behind its end: NATS never has it twice. nats.go drops what still
// comes by an ended subscription, which has no user. sweep returns when to call it again.
func (i *interests) sweep(now time.Time) time.Duration {
	for range maxEnding {
		sub, wait := i.nextToEnd(now)
		if sub == nil {
			return wait
		}
		if n, err := sub.Dropped(); err == nil {
			i.bus.stats.dropped.Add(n)
		}
		if err := sub.Unsubscribe(); err != nil && i.bus.Connected() {
			i.bus.log.Warn("cannot unsubscribe", "subject", sub.Subject, "error", err)
		}
	}
	return 0
}

// nextToEnd moves what has lingered long enough to ending, and takes a subscription from there. It returns nil and when there will be
// more if there is none, or NATS is away.
func (i *interests) nextToEnd(now time.Time) (sub *nats.Subscription, wait time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for wait = time.Hour; len(i.lingering) > 0; i.lingering = i.lingering[1:] {
		l := i.lingering[0]
		if left := l.left.Add(i.linger).Sub(now); left > 0 {
			wait = left
			break
		}
		switch in := l.in; {
		case in.users > 0 || !l.left.Equal(in.since): // it found a user since
		case in.sub == nil:
			delete(i.bySubject, in.subject)
			delete(i.wanted, in.subject)
		default:
			i.ending[in] = struct{}{}
		}
	}
	if i.bus.Connected() {
		for in := range i.ending {
			delete(i.ending, in)
			delete(i.bySubject, in.subject)
			return in.sub, 0
		}
	}
	return nil, wait
}

// count is how many subjects are subscribed or wanted, without those that end.
func (i *interests) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.bySubject) - len(i.ending)
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

// dropped is how many messages nats.go has dropped of subscriptions that are there.
func (i *interests) dropped() (sum uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, in := range i.bySubject {
		if n, err := in.sub.Dropped(); err == nil { // an error is returned for nil, too
			sum += uint64(n)
		}
	}
	return sum
}
