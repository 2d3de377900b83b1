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

// Publish sends a message, with headers or without (nil). reply may be empty. It keeps nothing: the caller may reuse subject, reply and
// body at once. It may block while NATS reads slowly, for at most pingInterval, so the handler of Run must use Later instead.
// Errors: ErrOffline, ErrSubjectTooLong, ErrTooLarge.
func (b *Bus) Publish(subject, reply []byte, header Header, body []byte) error {
	switch {
	case len(subject)+len(reply) > MaxSubjects:
		b.stats.publishFailed.Inc()
		return ErrSubjectTooLong
	case !b.Connected(): // nats.go may be busy with an attempt to connect
		b.stats.publishFailed.Inc()
		return ErrOffline
	}
	// nats.go copies subject and reply into its write buffer before it returns and keeps neither, so no string of
	// our own is needed for each message (two allocations less on the path of an event).
	switch {
	case header != nil:
		return b.published(b.nc.PublishMsg(&nats.Msg{
			Subject: asString(subject), Reply: asString(reply), Header: nats.Header(header), Data: body,
		}), len(body))
	case len(reply) == 0:
		return b.published(b.nc.Publish(asString(subject), body), len(body))
	}
	return b.published(b.nc.PublishRequest(asString(subject), asString(reply), body), len(body))
}

// ErrNoResponders is returned by Request if nobody subscribes to the subject.
var ErrNoResponders = nats.ErrNoResponders

// Request sends a message and waits for one answer, until ctx ends. It must not be called by a handler of messages.
func (b *Bus) Request(ctx context.Context, subject string, body []byte) (Message, error) {
	if !b.Connected() {
		return Message{}, ErrOffline
	}
	m, err := b.nc.RequestWithContext(ctx, subject, body)
	if err != nil {
		return Message{}, fmt.Errorf("request over NATS: %w", err)
	}
	return Message{Subject: m.Subject, Header: Header(m.Header), Data: m.Data}, nil
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

// isNetwork reports whether a write to the connection failed: nats.go will notice and connect again.
func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
