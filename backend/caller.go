package backend

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"partyline/wire/msg"
)

// caller calls handlers of the user, and reports what goes wrong in them.
type caller struct {
	*connection
	*reports
	name     func() string      // of this instance
	disowned func(*Socket) bool // see Service.disowned
	silent   bool               // WithoutErrorAcks
}

// deliver gives an event to the catch-all handlers, the middleware and the handlers, in the order of the reference.
func (c *caller) deliver(so *Socket, p *Packet) {
	ns := so.ns
	own := so.handlers()
	for _, any := range slices.Concat(ns.rules.any, own.any) {
		c.try(so, p.Event, func() error { any(so, p.Event, p.Args); return nil })
	}
	for _, middleware := range slices.Concat(ns.rules.packets, own.packets) {
		if !c.try(so, p.Event, func() error { return middleware(so, p) }) {
			return
		}
	}
	handlers := slices.Concat(ns.rules.events[p.Event], so.take(p.Event))
	if len(handlers)+len(ns.rules.any)+len(own.any) == 0 {
		c.stats.unhandled.Add(1)
	}
	c.callAll(handlers, so, p)
}

// try calls a function of the user. It reports an error or a panic, and returns false then.
func (c *caller) try(so *Socket, event string, fn func() error) bool {
	err := guarded(fn)
	if err != nil {
		c.report(so.ns, event, so.id, err)
	}
	return err == nil
}

// callAll calls the handlers of an event. If one does not fit its arguments, and no other one answers, the client's
// ack is an error. Without it, a client could not tell a wrong argument from a service that is away.
func (c *caller) callAll(handlers []*handler, so *Socket, p *Packet) {
	var unfit *ArgumentError
	promised := false // a handler has the Ack, and may call it later
	for _, h := range handlers {
		// As late as possible: a process may be stopped anywhere, while many events have come this far and wait for a
		// lock.
		if c.disowned(so) {
			return
		}
		var bad *ArgumentError
		err := h.call(so.Context(), so, p.Args, p.ack)
		if err != nil {
			c.report(so.ns, p.Event, so.id, err)
		}
		if errors.As(err, &bad) {
			unfit = bad
		} else if h.wantsAck {
			promised = true
		}
	}
	if unfit != nil && !promised {
		c.ackError(p.ack, fmt.Sprintf("argument %d does not fit", unfit.Argument))
	}
}

// ackError answers an event that no handler could be called for. Its text is for clients, so it names no Go type.
func (c *caller) ackError(ack Ack, text string) {
	if c.silent {
		return
	}
	if err := ack(map[string]string{"error": text}); err != nil && !errors.Is(err, Answered) {
		c.log.Debug("the error could not be sent as an ack", "error", err)
	}
}

// runAll calls disconnect or handover handlers.
func (c *caller) runAll(list []func(*Socket, string), so *Socket, reason string) {
	for _, handler := range list {
		c.try(so, "disconnect", func() error { handler(so, reason); return nil })
	}
}

// connected runs the connection handlers.
func (c *caller) connected(so *Socket) {
	for _, handler := range so.ns.rules.connection {
		c.try(so, "connect", func() error { handler(so); return nil })
	}
}

// settleOpen applies an admission to a socket of an open namespace, which is connected already.
func (c *caller) settleOpen(so *Socket, a *msg.State) {
	if a.User != "" {
		c.log.Error("SetUser has no effect in a namespace that is open at the edge: configure connect: service", "namespace", so.ns.name)
	}
	var err error
	if len(a.Rooms) > 0 {
		err = so.Join(so.Context(), a.Rooms...)
	}
	if a.Data != nil && err == nil {
		err = so.SetData(so.Context(), a.Data)
	}
	if err != nil {
		c.report(so.ns, "connect", so.id, err)
	}
}

// ackTo returns an Ack that answers to a subject, if an answer is wanted. from names the sender; nil for none.
func (c *caller) ackTo(reply string, wanted bool, from func() string) Ack {
	return newAck(func(args []any) error {
		if !wanted {
			return nil
		}
		body, header, err := ackBody(args)
		if err != nil {
			return err
		}
		m := &nats.Msg{Subject: reply, Data: body, Header: header}
		if from != nil {
			setHeader(m, msg.HeaderFrom, from())
		}
		return c.publish(m)
	})
}

// newAck returns an Ack that sends once. If sending fails, it may be called again, for instance with less.
func newAck(send func(args []any) error) Ack {
	var answered atomic.Bool
	return func(args ...any) error {
		if !answered.CompareAndSwap(false, true) {
			return failure(Answered, "the event has been answered already")
		}
		err := send(args)
		if err != nil {
			answered.Store(false)
		}
		return err
	}
}
