package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"unsafe"

	"github.com/nats-io/nats.go"
)

// MaxSubjects is the largest length in bytes of a subject and its reply together. nats-server closes a connection
// whose protocol line passes 4,096 bytes; the rest of the line and a margin stay free.
const MaxSubjects = 3000

// Publish sends a message, with headers or without (nil). reply may be empty. It keeps nothing: the caller may reuse
// subject, reply and body at once. It may block while NATS reads slowly, for at most natsconn.PingInterval, so the handler of
// Run must use Later instead. Errors: ErrOffline, ErrSubjectTooLong, ErrTooLarge.
func (b *Bus) Publish(subject, reply []byte, header Header, body []byte) error {
	// nats.go copies subject and reply into its write buffer before it returns and keeps neither, so no string of
	// our own is needed for each message (two allocations less on the path of an event).
	to, answers := asString(subject), asString(reply)
	var err error
	switch {
	case len(subject)+len(reply) > MaxSubjects:
		err = ErrSubjectTooLong
	case !b.Connected(): // nats.go may be busy with an attempt to connect
		err = ErrOffline
	case header != nil:
		err = b.nc.PublishMsg(&nats.Msg{Subject: to, Reply: answers, Header: nats.Header(header), Data: body})
	case len(reply) == 0:
		err = b.nc.Publish(to, body)
	default:
		err = b.nc.PublishRequest(to, answers, body)
	}
	if err != nil {
		b.stats.publishFailed.Inc()
		return b.publishError(err, len(body))
	}
	b.stats.published.Inc()
	b.stats.publishedBytes.Add(len(body))
	return nil
}

// ErrNoResponders is returned by Request if the subject has no subscriber.
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

// offline are errors of nats.go, and of a write to its connection, after which it connects again.
var offline = []error{
	ErrOffline, nats.ErrReconnectBufExceeded, nats.ErrConnectionClosed, nats.ErrConnectionReconnecting, nats.ErrDisconnected,
	net.ErrClosed, io.ErrClosedPipe,
}

// publishError turns an error of nats.go into one of this package.
func (b *Bus) publishError(err error, size int) error {
	var network net.Error
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, b.nc.MaxPayload())
	case errors.As(err, &network) || slices.ContainsFunc(offline, func(known error) bool { return errors.Is(err, known) }):
		return ErrOffline
	case err == ErrSubjectTooLong:
		return err
	}
	return fmt.Errorf("publish to NATS: %w", err)
}

func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
