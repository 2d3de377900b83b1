package backend

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
)

// connection sends over the caller's NATS connection, while the service lives.
type connection struct {
	nc     *nats.Conn // the caller's; never closed here
	prefix subjects.Prefix
	wait   time.Duration // Limits.Wait
	phase  *atomic.Int32 // of the service: fresh, running, leaving or closed
}

// publish sends a message, or fails at once if there is no connection. Nothing is kept to be sent later.
func (c *connection) publish(m *nats.Msg) error {
	if err := c.reachable(); err != nil {
		return err
	}
	return sendError(c.nc.PublishMsg(m), m, c.nc)
}

// reply answers a message.
func (c *connection) reply(to string, header nats.Header, body []byte) error {
	return c.publish(&nats.Msg{Subject: to, Header: header, Data: body})
}

// reachable returns why nothing can be sent now, or nil.
func (c *connection) reachable() error {
	switch {
	case c.phase.Load() == closed:
		return failure(Closed, "the service is closed")
	case c.nc.IsClosed():
		return failure(Closed, "the NATS connection is closed")
	case !c.nc.IsConnected():
		return failure(Offline, "NATS is away")
	}
	return nil
}

// flushed waits until NATS has taken all earlier messages: until the context ends, or for Limits.Wait if it has no
// deadline.
func (c *connection) flushed(ctx context.Context) error {
	if _, hasDeadline := ctx.Deadline(); !hasDeadline { // nats.go wants one
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.wait)
		defer cancel()
	}
	return c.nc.FlushWithContext(ctx)
}

// subscribe subscribes, in a queue group unless queue is "".
func (c *connection) subscribe(subject, queue string, handle nats.MsgHandler) (*nats.Subscription, error) {
	sub, err := c.nc.QueueSubscribe(subject, queue, handle)
	return sub, sendError(err, &nats.Msg{Subject: subject}, c.nc)
}
