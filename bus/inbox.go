package bus

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
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
}

// NoResponders reports whether this is the NATS server's answer that the subject of a request has no subscriber.
func (m *Message) NoResponders() bool {
	return len(m.Data) == 0 && m.Header != nil && m.Header.Get("Status") == "503"
}

// maxBatch is how many messages are handled at most before flush is called.
const maxBatch = 256

// inbox holds the messages from NATS that have not been handled.
type inbox struct {
	bus     *Bus
	channel chan *nats.Msg
	full    atomic.Bool // the last read from NATS filled its buffer: more waits
	// overflowed is when nats.go reported last that it dropped a message, in unix nanoseconds; 0 once the bus has caught up.
	overflowed atomic.Int64
	// behind is set while Run's goroutine, which wake wakes, handles the messages in the channel, instead of the NATS reader.
	behind atomic.Bool
	wake   chan struct{} // capacity 1

	mu     sync.Mutex          // held while a batch is handled
	handle func(*Message) bool // guarded by mu: nil unless Run runs
	flush  func()              // guarded by mu
}

// Run calls handle with every message, one at a time and in the order of arrival, until ctx ends. After each batch it calls flush:
// handle may defer work until then that costs less for several messages together. Neither may wait for NATS, nor call nats.go:
// usually they run on the goroutine that reads from NATS, and perhaps with a lock of nats.go held. handle must not keep the message;
// its strings and Data may be kept. It returns false for a message that must not be counted. Run may be called again after it
// has returned.
func (b *Bus) Run(ctx context.Context, handle func(*Message) bool, flush func()) {
	i := b.inbox
	i.mu.Lock()
	i.handle, i.flush = handle, flush
	i.mu.Unlock()
	for i.batch() { // earlier messages
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

// deliver handles the messages in the channel. The goroutine that fills the channel calls it before it reads more. If one read does
// not bring all that waits, it leaves the messages to Run's goroutine. Reading must continue: otherwise answers to pings would be late,
// and the server would close the connection. Messages for which the channel has no room are then dropped and counted.
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

// catchUp handles messages until the channel is empty.
func (i *inbox) catchUp() {
	for i.batch() {
	}
	i.behind.Store(false)
	for i.batch() { // messages that deliver left to this goroutine meanwhile
	}
}

// batch handles up to maxBatch messages. It returns false if there are none, or Run is not running.
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

// Lagging reports whether more than a quarter of the channel is in use.
func (b *Bus) Lagging() bool { return len(b.inbox.channel) > cap(b.inbox.channel)/4 }
