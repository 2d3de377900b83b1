package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"unsafe"

	"github.com/nats-io/nats.go"
)

// MaxSubjects is the largest length in bytes of a subject and its reply together. nats-server closes a connection whose
// protocol line passes 4,096 bytes; the rest of the line and a margin stay free.
const MaxSubjects = 3000

// Header holds the header lines of a message. Names are case-sensitive, as NATS has them.
type Header map[string][]string

// Get is the first value of a name, or "".
func (h Header) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Has says whether the name is there at all.
func (h Header) Has(name string) bool { return len(h[name]) > 0 }

// Message is what arrived. Data may be kept as long as the reader likes: it is never used again.
type Message struct {
	Subject string
	Reply   string // "" when nobody waits for an answer
	Header  Header // nil for a message without headers
	Data    []byte
	// Subscription is the subject of the subscription by which it came. A message that several match comes by each of them.
	Subscription string
}

// NoResponders says whether this is the server's own answer that nobody subscribes the subject of a request.
func (m *Message) NoResponders() bool {
	return len(m.Data) == 0 && m.Header != nil && m.Header.Get("Status") == "503"
}

// maxBatch is how many messages are handed on before pause is called, though more wait.
const maxBatch = 256

// Run hands every message to handle, one at a time and in the order of their arrival, until ctx ends. Whenever nothing
// more waits, and every so often when much does, it calls pause: handle may leave what costs less for several messages
// together until then. Neither may ever wait for NATS, nor call nats.go at all: mostly they are called on the goroutine that
// reads from it, and perhaps with its lock held. The message is handle's for the call, its strings and Data for ever. Run
// may be called again when it has returned.
func (b *Bus) Run(ctx context.Context, handle func(*Message) bool, pause func()) {
	b.turn.Lock()
	b.handle, b.pause = handle, pause
	for b.batch() { // what came before
	}
	b.turn.Unlock()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-b.chase:
			b.catchUp()
		}
	}
	b.turn.Lock()
	b.handle, b.pause = nil, nil
	b.turn.Unlock()
}

// deliver hands on what is in the channel. It is called by whoever fills the channel before it waits for more. If more
// waits than one read brings, it leaves that to Run's own goroutine: reading must go on, or NATS's own words would come too
// late, the answers to pings among them, and the server would give the connection up. What has no place in the channel
// then is dropped, and counted.
func (b *Bus) deliver() {
	if len(b.channel) == 0 || b.chasing.Load() {
		return
	}
	if b.full.Load() {
		b.chasing.Store(true)
		b.chase <- struct{}{} // has room: whoever takes it ends the chase
		return
	}
	b.turn.Lock()
	defer b.turn.Unlock()
	for b.handle != nil && b.batch() {
	}
}

// catchUp hands on what is in the channel until it is empty.
func (b *Bus) catchUp() {
	b.turn.Lock()
	defer b.turn.Unlock()
	for b.batch() {
	}
	b.chasing.Store(false)
	for b.batch() { // what came since the last look, and was left to this goroutine
	}
}

// batch hands on some messages, and says no when there are none. Needs turn.
func (b *Bus) batch() bool {
	var m Message
	messages := 0
	for more := true; more && messages < maxBatch; {
		select {
		case raw := <-b.channel:
			m = Message{
				Subject: raw.Subject, Reply: raw.Reply, Header: Header(raw.Header), Data: raw.Data, Subscription: raw.Sub.Subject,
			}
			messages++
			if b.handle(&m) {
				b.stats.received.Inc()
				b.stats.receivedBytes.Add(len(raw.Data))
			}
		default:
			more = false
		}
	}
	if messages > 0 {
		b.pause()
	}
	return messages > 0
}

// Lagging says whether much waits for Run: a quarter of what may.
func (b *Bus) Lagging() bool { return len(b.channel) > cap(b.channel)/4 }

// Publish sends a message without headers. reply may be empty. Nothing is kept: all three may be used again at once.
// It may wait while NATS reads slowly (at the most for pingInterval), so it is not for the handler of Run (see Later).
// Errors: ErrOffline, ErrSubjectTooLong, ErrTooLarge.
func (b *Bus) Publish(subject, reply, body []byte) error {
	if err := b.mayPublish(len(subject) + len(reply)); err != nil {
		return err
	}
	// nats.go copies subject and reply into its write buffer before it returns and keeps neither, so no string of
	// our own is needed for each message (two allocations less on the path of an event).
	if len(reply) == 0 {
		return b.published(b.nc.Publish(asString(subject), body), len(body))
	}
	return b.published(b.nc.PublishRequest(asString(subject), asString(reply), body), len(body))
}

// PublishWithHeader is Publish with headers.
func (b *Bus) PublishWithHeader(subject, reply []byte, header Header, body []byte) error {
	if err := b.mayPublish(len(subject) + len(reply)); err != nil {
		return err
	}
	return b.published(b.nc.PublishMsg(&nats.Msg{
		Subject: asString(subject), Reply: asString(reply), Header: nats.Header(header), Data: body,
	}), len(body))
}

// mayPublish says what can be said without nats.go, which may be busy with an attempt to connect.
func (b *Bus) mayPublish(subjects int) error {
	switch {
	case subjects > MaxSubjects:
		b.stats.publishFailed.Inc()
		return ErrSubjectTooLong
	case !b.online.Load():
		b.stats.publishFailed.Inc()
		return ErrOffline
	}
	return nil
}

func (b *Bus) published(err error, size int) error {
	if err == nil {
		b.stats.published.Inc()
		b.stats.publishedBytes.Add(size)
		return nil
	}
	b.stats.publishFailed.Inc()
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, b.nc.MaxPayload())
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected), isNetwork(err):
		return ErrOffline
	}
	return fmt.Errorf("publish to NATS: %w", err)
}

// isNetwork says whether a write to the connection failed: nats.go will find out and connect again.
func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
