package bus

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/fair"
	"partyline/internal/wake"
)

// Header holds the header lines of a message. Names are case-sensitive, as NATS has them.
type Header map[string][]string

// Get returns the first value of a name, or "".
func (h Header) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Has reports whether the header has the name.
func (h Header) Has(name string) bool { return len(h[name]) > 0 }

// Message is a message from NATS. Data may be kept: it is never reused.
type Message struct {
	Subject string
	Reply   string // "" if the sender wants no answer
	Header  Header // nil for a message without headers
	Data    []byte
	// Subscription is the subject of the subscription that delivered it. If several match, each delivers the message.
	Subscription string
	// Lost is set instead of the rest, except Subject, which has the same namespace, if messages of a namespace were
	// dropped in its place.
	Lost bool
}

// NoResponders reports whether this is the NATS server's answer that the subject of a request has no subscriber.
func (m *Message) NoResponders() bool {
	return len(m.Data) == 0 && m.Header != nil && m.Header.Get("Status") == "503"
}

const (
	// maxBatch is how many messages are handled at most before flush is called.
	maxBatch = 256
	// maxInline is how many messages of one read are handled by the goroutine that reads.
	maxInline = 4
	// channelSize is how many messages nats.go may hand over before it reads again. It cannot have more: one read
	// takes 32 kB, with TLS up to 100 kB may have been read ahead, and the shortest message needs 13 bytes.
	channelSize = 8192
	// maxChunk is how many messages of one namespace are handled before it is another's turn: about a millisecond of
	// work in a room of a few hundred.
	maxChunk = 8
)

// inbox holds the messages from NATS that have not been handled.
type inbox struct {
	bus     *Bus
	channel chan *nats.Msg         // those of the last read
	full    atomic.Bool            // the last read from NATS filled its buffer: more waits
	lines   *fair.Lines[*nats.Msg] // those that Run's goroutine handles, which wake wakes, by namespace
	wake    wake.Flag
	// overflowed is when a message was dropped last, in unix nanoseconds; 0 once the bus has caught up.
	overflowed atomic.Int64

	mu     sync.Mutex                     // held while a batch is handled
	handle func(*Message) bool            // guarded by mu: nil unless Run runs
	flush  func()                         // guarded by mu
	chunk  [maxChunk]fair.Item[*nats.Msg] // guarded by mu: scratch
}

// newInbox makes the inbox of a bus, for so many messages with subjects below a prefix.
func newInbox(b *Bus, capacity int, prefix string) *inbox {
	name := func(m *nats.Msg) string { return lineOf(m.Subject, prefix+".") }
	mark := func(m *nats.Msg) *nats.Msg { return &nats.Msg{Subject: m.Subject} }
	return &inbox{
		bus: b, channel: make(chan *nats.Msg, channelSize), wake: wake.New(), lines: fair.New(capacity, name, mark),
	}
}

// lineOf returns the line of a subject: its namespace, $edge or $svc, and "$" for subjects without the prefix. All that
// concerns one socket is in one line. What JetStream says of a stream concerns all namespaces, and has no name: see fair.
func lineOf(subject, prefix string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(subject, prefix), ".")
	switch {
	case strings.HasPrefix(subject, prefix):
		return name
	case strings.HasPrefix(subject, "$JS."):
		return ""
	}
	return "$"
}

// Run calls handle with every message, one at a time, until ctx ends. Messages of one namespace come in the order of
// arrival. If many wait, namespaces take turns, so that a flood in one does not delay the others. After each batch Run
// calls flush: handle may defer work until then that costs less for several messages together. Neither may wait for
// NATS, nor call nats.go: usually they run on the goroutine that reads from NATS, and perhaps with a lock of nats.go
// held. handle must not keep the message; its strings and Data may be kept. It returns false for a message that must
// not be counted. Run may be called again after it has returned.
func (b *Bus) Run(ctx context.Context, handle func(*Message) bool, flush func()) {
	i := b.inbox
	i.mu.Lock()
	i.handle, i.flush = handle, flush
	i.mu.Unlock()
	for ctx.Err() == nil {
		if i.batch() {
			continue
		}
		select {
		case <-ctx.Done():
		case <-i.wake:
		}
	}
	i.mu.Lock()
	i.handle, i.flush = nil, nil
	i.mu.Unlock()
}

// deliver handles the messages in the channel. The goroutine that fills the channel calls it before it reads more. If
// there are many, or one read does not bring all that waits, it leaves them to Run's goroutine. Reading must continue:
// otherwise answers to pings would be late, and the server would close the connection; and a message of another
// namespace would wait unseen behind all of them.
func (i *inbox) deliver() {
	waiting := len(i.channel)
	if waiting == 0 || waiting <= maxInline && !i.full.Load() && !i.lines.IsBehind() && i.inline(waiting) {
		return
	}
	dropped, first := i.lines.Keep(i.channel)
	if dropped > 0 {
		i.bus.stats.dropped.Add(dropped)
		i.overflow()
	}
	if first {
		i.wake.Raise()
	}
}

// inline handles messages of the channel. It returns false if Run is not running.
func (i *inbox) inline(messages int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.handle == nil {
		return false
	}
	for range messages {
		i.one(<-i.channel, i.handle)
	}
	i.flush()
	return true
}

// batch handles up to maxBatch messages of one namespace, or fewer if another waits. It returns false if there are
// none, or Run is not running.
func (i *inbox) batch() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.handle == nil {
		return false
	}
	messages := 0
	for others := false; !others && messages < maxBatch; {
		var n int
		if n, others = i.lines.Take(i.chunk[:]); n == 0 {
			break
		}
		for _, item := range i.chunk[:n] {
			if item.Lost {
				i.handle(&Message{Subject: item.Value.Subject, Lost: true})
			} else {
				i.one(item.Value, i.handle)
			}
		}
		clear(i.chunk[:n])
		messages += n
	}
	if messages > 0 {
		i.flush()
	}
	return messages > 0
}

// one handles one message.
func (i *inbox) one(raw *nats.Msg, handle func(*Message) bool) {
	m := Message{Subject: raw.Subject, Reply: raw.Reply, Header: Header(raw.Header), Data: raw.Data, Subscription: raw.Sub.Subject}
	if handle(&m) {
		i.bus.stats.received.Inc()
		i.bus.stats.receivedBytes.Add(len(raw.Data))
	}
}

// Exclusive runs fn while no message is handled, and then flush. fn may do what handle may do. It returns false if Run
// does not run: then nothing happens.
func (b *Bus) Exclusive(fn func()) bool {
	i := b.inbox
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.handle == nil {
		return false
	}
	fn()
	i.flush()
	return true
}

// Losses counts the attempts to connect: what NATS had for this edge between two connections is lost. It changes
// before anything comes by the new one.
func (b *Bus) Losses() uint64 { return b.state.dials.Load() }

// overflow notes that messages were dropped, and logs the first.
func (i *inbox) overflow() {
	i.bus.caughtUp() // an earlier overflow may be over
	if i.overflowed.Swap(time.Now().UnixNano()) == 0 {
		i.bus.stats.overflows.Inc()
		i.bus.log.Error("messages from NATS were dropped: the edge does not keep up",
			"reason", "a namespace's share is full", "channel", i.lines.Capacity())
	}
}

// waiting is how many messages have not been handled.
func (i *inbox) waiting() int { return len(i.channel) + i.lines.Len() }

// Lagging reports whether messages of another namespace wait than those that are being handled, or very many.
func (b *Bus) Lagging() bool { return b.inbox.lines.IsUrgent() }
