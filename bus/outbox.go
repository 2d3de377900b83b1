package bus

import (
	"sync"

	"partyline/internal/tally"
	"partyline/internal/wake"
)

// Publisher publishes at once, and may block while NATS reads slowly. It is for goroutines that may block: readers of
// clients, the bus's worker, HTTP handlers.
type Publisher interface {
	// Publish sends a message. See Bus.Publish.
	Publish(subject, reply []byte, header Header, body []byte) error
}

// Outbox queues work for the bus's worker, and never blocks. Handlers of messages from NATS may use nothing else: they
// run on the goroutine that reads from NATS, and perhaps with a lock of nats.go held.
type Outbox interface {
	// Later publishes a message. See Bus.Later.
	Later(Letter)
	// Do runs fn, without a round trip. See Bus.Do.
	Do(fn func())
	// AfterSubscribed runs fn once earlier subscriptions are active. See Bus.AfterSubscribed.
	AfterSubscribed(fn func()) bool
	// AfterSubscribedOrOffline is AfterSubscribed, but does not wait for NATS to come back. See
	// Bus.AfterSubscribedOrOffline.
	AfterSubscribedOrOffline(fn func())
	// Subscribe and Unsubscribe change what the edge receives. See Bus.Subscribe.
	Subscribe(subject string)
	Unsubscribe(subject string)
}

// Letter is a message that the bus's worker publishes. The bus owns header and body from then on.
type Letter struct {
	Subject, Reply string
	Header         Header
	Body           []byte
	Keep           bool // it is a notice, which waits until NATS is back; others are dropped without a connection
}

func (l *Letter) size() int {
	size := len(l.Subject) + len(l.Reply) + len(l.Body)
	for name, values := range l.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	return size
}

// entryKind is the kind of an entry of the outbox. Kinds before boundedKinds may wait long, and are bounded.
type entryKind uint8

const (
	answer       entryKind = iota // a Letter; dropped while NATS is away: its reader no longer waits
	notice                        // a Letter that is kept while NATS is away
	confirmation                  // a barrier that waits until NATS is back
	boundedKinds
	barrier = iota - 1 // one that does not wait for NATS to come back
	call
)

// bounds are how much of each bounded kind may wait, and its name in metrics. Answers and notices have separate
// bounds: a burst of answers must not displace the notice that a socket has disconnected. An edge may expect 262,144
// acks, which may all arrive at once, in addition to answers to commands. A notice is a few hundred bytes.
var bounds = [boundedKinds]struct {
	name           string
	entries, bytes int
}{
	answer:       {"answer", 1 << 19, 128 << 20},
	notice:       {"notice", 100_000, 64 << 20},
	confirmation: {"confirmation", 100_000, 0},
}

// entry is one thing that the worker does. It has a letter if fn is nil.
type entry struct {
	kind   entryKind
	fn     func()
	letter Letter
}

// backlog is how much of one kind waits.
type backlog struct{ entries, bytes tally.Gauge }

// outbox is the queue of the worker: letters, calls and barriers, in the order in which they came.
type outbox struct {
	wake    wake.Flag // for the worker
	backlog [boundedKinds]backlog

	mu      sync.Mutex
	entries []entry // guarded by mu
}

// take returns what is queued, and empties the queue.
func (o *outbox) take() []entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	entries := o.entries
	o.entries = nil
	return entries
}

// done makes room for another entry of the same kind.
func (o *outbox) done(e *entry) {
	if e.kind < boundedKinds {
		o.backlog[e.kind].entries.Add(-1)
		o.backlog[e.kind].bytes.Add(-e.letter.size())
	}
}

// add queues an entry. If too much of its kind waits, it counts the entry as dropped and returns false.
func (b *Bus) add(e entry) bool {
	o, size := &b.out, e.letter.size()
	o.mu.Lock()
	defer o.mu.Unlock()
	if e.kind < boundedKinds {
		wait, most := &o.backlog[e.kind], &bounds[e.kind]
		if int(wait.entries.Value()) >= most.entries || int(wait.bytes.Value())+size > most.bytes {
			b.stats.unsent[e.kind].Inc()
			return false
		}
		wait.entries.Add(1)
		wait.bytes.Add(size)
	}
	o.entries = append(o.entries, e)
	o.wake.Raise()
	return true
}

// Later publishes a message from the bus's worker, after all earlier entries of the outbox. Without a connection it is
// dropped and counted, unless l.Keep is set: then it is a notice, and kept until NATS is back. At most 524,288 answers
// and
// 100,000 notices wait, of 128 and 64 MiB. Any more are dropped and counted.
func (b *Bus) Later(l Letter) {
	kind := answer
	if l.Keep {
		kind = notice
	}
	b.add(entry{kind: kind, letter: l})
}

// Do runs fn on the bus's worker, after all earlier entries of the outbox. While NATS is away it overtakes notices and
// the callbacks of AfterSubscribed, which wait. fn must not block, but it may publish.
func (b *Bus) Do(fn func()) { b.add(entry{kind: call, fn: fn}) }

// AfterSubscribed runs fn on the bus's worker once every subscription asked for before is active at the NATS server,
// which one round trip shows for all that wait. Later entries of the outbox come later. While NATS is away fn waits.
// It must not block, and is not called after the bus has closed. AfterSubscribed returns false, counts that, and does
// not keep fn, when
// 100,000 wait already.
func (b *Bus) AfterSubscribed(fn func()) bool { return b.add(entry{kind: confirmation, fn: fn}) }

// AfterSubscribedOrOffline is AfterSubscribed, but without a connection to NATS it does not wait.
func (b *Bus) AfterSubscribedOrOffline(fn func()) { b.add(entry{kind: barrier, fn: fn}) }

// Waiting is how many answers of Later wait to be published.
func (b *Bus) Waiting() int { return int(b.out.backlog[answer].entries.Value()) }
