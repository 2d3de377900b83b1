package backend

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"partyline/wire/msg"
)

// Ack answers an event. It may be called once, during the handler or later, from any goroutine; a second call returns
// Answered. When the client wants no ack, the arguments go nowhere and the call returns nil. The other errors are
// those of Target.Emit. []byte anywhere in the arguments travel as binary data.
type Ack func(args ...any) error

var (
	contextType = reflect.TypeFor[context.Context]()
	socketType  = reflect.TypeFor[*Socket]()
	ackType     = reflect.TypeFor[Ack]()
	argsType    = reflect.TypeFor[Args]()
	errorType   = reflect.TypeFor[error]()
)

// handler is a function of the user, whose signature was examined when it was registered.
type handler struct {
	fn       reflect.Value
	front    []reflect.Type // context.Context and *Socket, in the order wanted
	args     []reflect.Type // the event's arguments; without the variadic one
	rest     reflect.Type   // what further arguments become, nil if they are ignored
	all      bool           // the one argument is Args, all of them
	wantsAck bool           // the last parameter is an Ack
	answers  bool           // results are the ack
	fails    bool           // the last result is an error
	once     bool           // it runs for one event only
}

// newHandler checks a handler's signature. It panics, as net/http does for a bad pattern: the program is wrong.
func newHandler(place string, fn any, withSocket bool) *handler {
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Func || v.IsNil() {
		panic(fmt.Sprintf("backend: %s: the handler is %T, not a function", place, fn))
	}
	h, t := &handler{fn: v}, v.Type()
	in := make([]reflect.Type, t.NumIn())
	for i := range in {
		in[i] = t.In(i)
	}
	for len(in) > 0 && len(h.front) < 2 && (in[0] == contextType || in[0] == socketType) {
		if in[0] == socketType && !withSocket {
			panic(fmt.Sprintf("backend: %s: events between services come from no socket; remove the parameter *Socket", place))
		}
		h.front, in = append(h.front, in[0]), in[1:]
	}
	if t.IsVariadic() {
		h.rest, in = in[len(in)-1].Elem(), in[:len(in)-1]
	} else if len(in) > 0 && in[len(in)-1] == ackType {
		h.wantsAck, in = true, in[:len(in)-1]
	}
	h.all = len(in) == 1 && in[0] == argsType && h.rest == nil
	h.args = in
	for i, arg := range in {
		if arg == contextType || arg == socketType || arg == ackType || arg == argsType && !h.all || !decodable(arg) {
			panic(fmt.Sprintf("backend: %s: parameter %d of %s cannot be %s; a handler has the form "+
				"func([ctx context.Context], [s *backend.Socket], arguments…, [ack backend.Ack]) ([results…], [error])", place, i+1+len(h.front), t, arg))
		}
	}
	out := t.NumOut()
	if out > 0 && t.Out(out-1) == errorType {
		h.fails = true
		out--
	}
	h.answers = out > 0 || h.fails && !h.wantsAck
	if h.wantsAck && out > 0 {
		panic(fmt.Sprintf("backend: %s: %s has an Ack and results; the ack is one or the other", place, t))
	}
	return h
}

// decodable reports whether encoding/json can decode into a type.
func decodable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128, reflect.Uintptr:
		return false
	case reflect.Interface:
		return t.NumMethod() == 0
	}
	return true
}

// call runs the handler and sends its results as the ack. The error is an *ArgumentError if the arguments do not fit,
// the handler's own, a *PanicError, or that of the ack.
func (h *handler) call(ctx context.Context, s *Socket, args Args, ack Ack) (err error) {
	in, err := h.parameters(ctx, s, args, ack)
	if err != nil {
		return err
	}
	var out []reflect.Value
	if err := guarded(func() error {
		out = h.fn.Call(in)
		return nil
	}); err != nil {
		return err
	}
	if h.fails {
		if failed, _ := out[len(out)-1].Interface().(error); failed != nil {
			return failed
		}
		out = out[:len(out)-1]
	}
	if !h.answers {
		return nil
	}
	results := make([]any, len(out))
	for i := range out {
		results[i] = out[i].Interface()
	}
	// Guarded, because encoding/json calls methods of the results.
	if err := guarded(func() error { return ack(results...) }); !errors.Is(err, Answered) { // of several handlers, the first answers
		return err
	}
	return nil
}

// parameters returns the arguments of the call. If the event has fewer than the handler takes, the others are zero
// values, as they are undefined in JavaScript.
func (h *handler) parameters(ctx context.Context, s *Socket, args Args, ack Ack) ([]reflect.Value, error) {
	in := make([]reflect.Value, 0, len(h.front)+args.Len()+1)
	for _, t := range h.front {
		if t == contextType {
			in = append(in, reflect.ValueOf(ctx))
		} else {
			in = append(in, reflect.ValueOf(s))
		}
	}
	types := h.args
	if h.rest != nil {
		types = slices.Concat(types, slices.Repeat([]reflect.Type{h.rest}, max(0, args.Len()-len(types))))
	}
	if h.all {
		in, types = append(in, reflect.ValueOf(args)), nil
	}
	for i, t := range types {
		v, err := args.parameter(i, t)
		if err != nil {
			return nil, err
		}
		in = append(in, v)
	}
	if h.wantsAck {
		in = append(in, reflect.ValueOf(ack))
	}
	return in, nil
}

// guarded calls a function of the user and returns its panic as an error.
func guarded(fn func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return fn()
}

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
func (c *caller) settleOpen(so *Socket, a *msg.State, granted map[string]any) {
	var err error
	if delete(granted, "rooms"); len(granted) > 0 { // they are among those of the state
		err = so.grant(so.Context(), granted)
	}
	if len(a.Rooms) > 0 && err == nil {
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
