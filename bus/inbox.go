package bus

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// Header holds the header lines of a message. Names are case-sensitive, as NATS has them.
type Header map[string][]string

// Get is the first value of a name, or "".
func (h Header) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Has reports whether the name is there.
func (h Header) Has(name string) bool { return len(h[name]) > 0 }

// Message is what arrived. Data may be kept: it is never used again.
type Message struct {
	Subject string
	Reply   string // "" if no answer is wanted
	Header  Header // nil for a message without headers
	Data    []byte
	// Subscription is the subject of the subscription by which it came. A message that several match comes by each of them.
	Subscription string
}

// NoResponders reports whether this is the server's own answer that the subject of a request has no subscriber.
func (m *Message) NoResponders() bool {
	return len(m.Data) == 0 && m.Header != nil && m.Header.Get("Status") == "503"
}

// maxBatch is how many messages are handed on before flush is called, though more wait.
const maxBatch = 256

// inbox is what has come from NATS and has not been handed on.
type inbox struct {
	bus     *Bus
	channel chan *nats.Msg
	full    atomic.Bool // the last read from NATS filled its buffer: more waits
	// overflowed is when nats.go reported last that it dropped a message, in unix nanoseconds; 0 once the bus has caught up.
	overflowed atomic.Int64
	// behind is set while Run's goroutine, which wake wakes, hands on what is in the channel, instead of the NATS reader.
	behind atomic.Bool
	wake   chan struct{} // capacity 1

	mu     sync.Mutex          // held while a batch is handed on
	handle func(*Message) bool // guarded by mu: nil unless Run runs
	flush  func()              // guarded by mu
}

// Run hands every message to handle, one at a time and in the order of their arrival, until ctx ends. After a batch, when nothing
// more waits or much does, it calls flush: handle may leave until then what costs less for several messages
// together. Neither may wait for NATS, nor call nats.go: mostly they are called on the goroutine that
// reads from it, and perhaps with its lock held. handle must not keep the message; its strings and Data may be kept. It returns
// false for a message that is not to be counted. Run may be called again when it has returned.
func (b *Bus) Run(ctx context.Context, handle func(*Message) bool, flush func()) {
	i := b.inbox
	i.mu.Lock()
	i.handle, i.flush = handle, flush
	i.mu.Unlock()
	for i.batch() { // what came earlier
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-i.wake:
			i.catchUp()
		}
	}
	i.mu.Lock()
	i.handle, i.flush = nil, nil
	i.mu.Unlock()
}

// deliver hands on what is in the channel. The goroutine that fills the channel calls it before it reads more. If more
// waits than one read brings, it leaves that to Run's own goroutine: reading must go on, or NATS's own words would come too
// late, the answers to pings among them, and the server would close the connection. What finds no room in the channel
// then is dropped, and counted.
func (i *inbox) deliver() {
	if len(i.channel) == 0 || i.behind.Load() {
		return
	}
	if i.full.Load() {
		i.behind.Store(true)
		i.wake <- struct{}{} // has room: catchUp resets behind
		return
	}
	for i.batch() {
	}
}

// catchUp hands on what is in the channel until it is empty.
func (i *inbox) catchUp() {
	for i.batch() {
	}
	i.behind.Store(false)
	for i.batch() { // what came since the last look, and was left to this goroutine
	}
}

// batch hands on some messages. It returns false if there are none, or Run does not run.
func (i *inbox) batch() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.handle == nil {
		return false
	}
	var m Message
	messages := 0
	for more := true; more && messages < maxBatch; {
		select {
		case raw := <-i.channel:
			m = Message{
				Subject: raw.Subject, Reply: raw.Reply, Header: Header(raw.Header), Data: raw.Data, Subscription: raw.Sub.Subject,
			}
			messages++
			if i.handle(&m) {
				i.bus.stats.received.Inc()
				i.bus.stats.receivedBytes.Add(len(raw.Data))
			}
		default:
			more = false
		}
	}
	if messages > 0 {
		i.flush()
	}
	return messages > 0
}

// Lagging reports whether much waits for Run: a quarter of what may.
func (b *Bus) Lagging() bool { return len(b.inbox.channel) > cap(b.inbox.channel)/4 }
