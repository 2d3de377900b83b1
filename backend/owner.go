package backend

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"partyline/subjects"
	"partyline/wire/msg"
)

// handingOver is the reason of OnHandover when this instance leaves. Other reasons come from the edge.
const handingOver = "leaving"

// Takeover is where an owned socket comes from that another instance admitted.
type Takeover struct {
	From string // the instance that owned it before
}

// brokenReasons are those after which a client may come back to the same socket.
var brokenReasons = []string{"transport close", "transport error", "ping timeout", "forced close", "forced server close", "server shutting down"}

// ownership is what the owner of a socket has of it.
type ownership struct {
	ctx      context.Context // see Socket.Context
	cancel   context.CancelFunc
	edge     string    // that holds the socket; static
	instance string    // the name under which the socket was assigned; set when it becomes one of owners
	takeover *Takeover // nil if this instance admitted the socket

	mu       sync.Mutex
	number   uint64    // guarded by mu: of the latest assignment that this instance has accepted
	known    msg.State // guarded by mu: as of the latest notice of the edge
	changes  []change  // guarded by mu: made here since, in the order of their rev
	closures closures  // guarded by mu
}

// change is one that this instance made, and that known does not have yet.
type change struct {
	rev   uint64
	apply func(*msg.State) // replaces members, and changes nothing in place
}

// closures are handlers of clients' events: of a namespace, or of one socket.
type closures struct {
	packets    []func(*Socket, *Packet) error
	any        []func(*Socket, string, Args)
	events     map[string][]*handler
	disconnect []func(*Socket, string)
	handover   []func(*Socket, string)
}

// state is what is known now. Nothing in it may be changed.
func (o *ownership) state() msg.State {
	o.mu.Lock()
	defer o.mu.Unlock()
	state := o.known
	for _, c := range o.changes {
		c.apply(&state)
	}
	return state
}

// accept records the number of an assignment, unless it is an older one, and returns the latest. 0 changes nothing.
func (o *ownership) accept(number uint64) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.number = max(o.number, number)
	return o.number
}

// changed records a change that the edge made for this instance. The edge's notice of it may come before or after: rev
// shows whether known has the change already.
func (o *ownership) changed(rev *uint64, apply func(*msg.State)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case rev == nil: // an edge that does not count
		apply(&o.known)
	case *rev > o.known.Rev:
		at, _ := slices.BinarySearchFunc(o.changes, *rev, func(c change, rev uint64) int { return int(c.rev) - int(rev) })
		o.changes = slices.Insert(o.changes, at, change{*rev, apply})
	}
}

// notice records the socket's state as of a notice of its edge.
func (o *ownership) notice(state msg.State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if state.Rev < o.known.Rev {
		return
	}
	o.known = state
	o.changes = slices.DeleteFunc(o.changes, func(c change) bool { return c.rev <= state.Rev })
}

// owners are the sockets that this instance owns.
type owners struct {
	ctx  context.Context // of the service
	byID sync.Map        // of *Socket, by id
}

// ownership returns that of a socket which this instance may own soon. edge holds the socket.
func (os *owners) ownership(edge string) *ownership {
	o := &ownership{edge: edge}
	o.ctx, o.cancel = context.WithCancel(os.ctx)
	return o
}

// add makes a socket an owned one. instance is the name under which it was assigned.
func (os *owners) add(so *Socket, instance string, state msg.State) {
	o := so.own
	o.mu.Lock()
	o.known = state
	o.mu.Unlock()
	o.instance = instance
	os.byID.Store(so.id, so)
}

// remove ends the ownership of a socket, and reports whether it was owned.
func (os *owners) remove(so *Socket) bool { return os.byID.CompareAndDelete(so.id, so) }

// find is the owned socket with an id, or nil.
func (os *owners) find(id string) *Socket {
	found, _ := os.byID.Load(id)
	so, _ := found.(*Socket)
	return so
}

// holder is the edge that holds a socket, as far as it is known here: that of an owned socket, else the one in its id.
func (os *owners) holder(id string) string {
	if so := os.find(id); so != nil {
		return so.own.edge
	}
	began, _, _ := subjects.SplitSocketID(id)
	return began
}

// has reports whether a socket is owned under an instance's name.
func (os *owners) has(instance string) bool {
	return slices.ContainsFunc(os.all(), func(so *Socket) bool { return so.own.instance == instance })
}

// all are the owned sockets, in no order.
func (os *owners) all() (all []*Socket) {
	for _, so := range os.byID.Range {
		all = append(all, so.(*Socket))
	}
	return all
}

// notice records an edge's notice about the rooms and data of an owned socket.
func (os *owners) notice(body []byte) {
	var state msg.State
	if msg.ParseNotice(body, &state) != nil {
		return
	}
	if so := os.find(state.ID); so != nil {
		so.own.notice(state)
	}
}

// mayOwn reports whether this instance may own sockets now.
func (a *admissions) mayOwn() bool { return a.phase.Load() == running && !a.fence.isCutOff() }

// end runs the last handlers of an owned socket whose client has gone. It is called in the socket's lane.
func (a *admissions) end(so *Socket, reason string, rooms []string) {
	if !a.owners.remove(so) {
		return
	}
	so.mu.Lock()
	so.gone, so.left, so.lost = true, rooms, slices.Contains(brokenReasons, reason)
	so.mu.Unlock()
	a.decisions.ended(so)
	a.calls.runAll(slices.Concat(so.ns.rules.disconnect, so.handlers().disconnect), so, reason)
	so.own.end()
}

// release gives up an owned socket whose client is still there. It is called in the socket's lane.
func (s *Service) release(so *Socket, reason string) {
	if s.owners.find(so.id) != so {
		return
	}
	// A socket that is handed over is owned until the edge receives "left": what the handlers save counts.
	if reason != handingOver {
		s.owners.remove(so)
	}
	s.calls.runAll(slices.Concat(so.ns.rules.handover, so.handlers().handover), so, reason)
	s.owners.remove(so)
	so.own.end()
}

// end ends the context of a socket that this instance does not own any more, or never did. o may be nil.
func (o *ownership) end() {
	if o != nil {
		o.cancel()
	}
}

// edgeDied ends the sockets of an edge that has died.
func (s *Service) edgeDied(edge string) {
	s.unconfirmed.edgeDied(edge)
	sockets := slices.DeleteFunc(s.owners.all(), func(so *Socket) bool {
		return so.own.edge != edge
	})
	if len(sockets) > 0 {
		s.edges.mourn(edge, time.Now())
		s.log.Warn("an edge has died or gone, and with it sockets that this instance owns", "edge", edge, "sockets", len(sockets))
	}
	for _, so := range sockets {
		s.lanes.always(laneKey{so.ns.token, so.id}, func() { s.admissions.end(so, "transport close", so.own.state().Rooms) })
	}
}

// TakenOver reports whether this instance took the socket over from another one, and from which.
func (s *Socket) TakenOver() (Takeover, bool) {
	if s.own == nil || s.own.takeover == nil {
		return Takeover{}, false
	}
	return *s.own.takeover, true
}

// handlers are those of the socket itself. Only owned sockets have any.
func (s *Socket) handlers() closures {
	if s.own == nil {
		return closures{}
	}
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	return s.own.closures
}

// take returns the socket's own handlers of an event, and forgets those of Once.
func (s *Socket) take(event string) []*handler {
	if s.own == nil {
		return nil
	}
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	list := s.own.closures.events[event]
	if slices.ContainsFunc(list, func(h *handler) bool { return h.once }) {
		s.own.closures.events[event] = slices.DeleteFunc(slices.Clone(list), func(h *handler) bool { return h.once })
	}
	return list
}

// The following register handlers of one socket. They work for sockets that this instance owns, from its middleware
// on, and panic for others: a further event of those may come to another instance, where the handler is not.

// On adds a handler of an event of this socket; see Namespace.On for its form. It runs behind those of the namespace.
func (s *Socket) On(event string, fn any) { s.on("Socket.On", event, fn, false) }

// Once adds a handler that runs for the next such event only.
func (s *Socket) Once(event string, fn any) { s.on("Socket.Once", event, fn, true) }

func (s *Socket) on(method, event string, fn any, once bool) {
	checkEvent(method, event)
	h := newHandler(fmt.Sprintf("%s(%q)", method, event), fn, true)
	h.once = once
	s.register(method, func(c *closures) {
		if c.events == nil {
			c.events = make(map[string][]*handler)
		}
		c.events[event] = append(slices.Clip(c.events[event]), h)
	})
}

// Off removes all handlers of an event that On and Once have added to this socket.
func (s *Socket) Off(event string) {
	s.register("Socket.Off", func(c *closures) { delete(c.events, event) })
}

// OnAny adds a handler that sees every event of this socket.
func (s *Socket) OnAny(handler func(event string, args Args)) {
	s.register("Socket.OnAny", func(c *closures) {
		c.any = append(slices.Clip(c.any), func(_ *Socket, event string, args Args) { handler(event, args) })
	})
}

// Use adds a middleware for the events of this socket; see Namespace.UsePacket.
func (s *Socket) Use(middleware func(*Packet) error) {
	s.register("Socket.Use", func(c *closures) {
		c.packets = append(slices.Clip(c.packets), func(_ *Socket, p *Packet) error { return middleware(p) })
	})
}

// OnDisconnect adds a handler that runs when this socket has gone; see Namespace.OnDisconnect.
func (s *Socket) OnDisconnect(handler func(reason string)) {
	s.register("Socket.OnDisconnect", func(c *closures) {
		c.disconnect = append(slices.Clip(c.disconnect), func(_ *Socket, reason string) { handler(reason) })
	})
}

// OnHandover adds a handler that runs when this instance stops owning the socket; see Namespace.OnHandover.
func (s *Socket) OnHandover(handler func(reason string)) {
	s.register("Socket.OnHandover", func(c *closures) {
		c.handover = append(slices.Clip(c.handover), func(_ *Socket, reason string) { handler(reason) })
	})
}

func (s *Socket) register(method string, add func(*closures)) {
	if s.own == nil {
		panic(fmt.Sprintf("backend: %s: this instance does not own the socket; it needs a namespace with backend.Owned(); "+
			"else use the handlers of the namespace", method))
	}
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	add(&s.own.closures)
}
