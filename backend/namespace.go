package backend

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// Namespace is one Socket.IO namespace, or, when its name is a pattern, all that match it. Service.Of makes it.
//
// Handlers are registered before Service.Start. A wrong handler, or one that comes too late, panics, as in net/http:
// the program is wrong, not its input. Everything else may be used at any time and from several goroutines.
type Namespace struct {
	Target // all sockets of the namespace; it fails for a pattern

	svc   *Service
	name  string // or the pattern
	token string // how the name stands in subjects; empty for a pattern
	rules *rules
}

func newNamespace(svc *Service, name, token string, rules *rules) *Namespace {
	n := &Namespace{svc: svc, name: name, token: token, rules: rules}
	if n.Target.ns = n; token == "" {
		n.Target.err = failure(BadArguments, "namespace %s is a pattern; take a socket's Namespace, or Service.Of with a name", name)
	}
	return n
}

// rules are the options and handlers of a name or pattern. They do not change once the service has started.
type rules struct {
	owned      bool
	eventsOnly bool

	admit      []func(*Socket) error
	connection []func(*Socket)
	service    map[string][]*handler
	closures
}

// Packet is an event on its way to the handlers, for packet middleware, which may change it.
type Packet struct {
	Event    string
	Args     Args
	WantsAck bool // whether the client wants an ack
	ack      Ack
	m        *nats.Msg
}

// Ack answers the event; see the type Ack. It is for a middleware that handles events itself.
func (p *Packet) Ack(args ...any) error { return p.ack(args...) }

// Body returns the event as it came: the JSON array of its name and arguments, and what its placeholders stand for. The
// caller must not change them.
func (p *Packet) Body() (event json.RawMessage, attachments [][]byte, err error) {
	text, attachments, err := msg.SplitAttachments(nil, p.m.Header.Get(msg.HeaderAttachments), p.m.Data)
	return text, attachments, err
}

// namespaces are those that the service has handlers for.
type namespaces struct {
	mu       sync.Mutex
	byName   map[string]*Namespace // guarded by mu; by name or pattern
	all      []*Namespace          // set by start, then constant; sorted by name
	byToken  map[string]*Namespace // set by start, then constant; those without a pattern
	patterns []*Namespace          // set by start, then constant; longest first
}

// add returns the Namespace that has n's name, which is n if there was none. It keeps n only before the service has
// started.
func (ns *namespaces) add(n *Namespace, fresh bool) *Namespace {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if known := ns.byName[n.name]; known != nil {
		return known
	}
	if fresh {
		ns.byName[n.name] = n
	}
	return n
}

// start checks what was registered, and prepares find.
func (ns *namespaces) start() error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.byToken = make(map[string]*Namespace)
	for _, name := range slices.Sorted(maps.Keys(ns.byName)) {
		n := ns.byName[name]
		if err := n.check(); err != nil {
			return err
		}
		ns.all = append(ns.all, n)
		if isPattern(name) {
			ns.patterns = append(ns.patterns, n)
		} else {
			ns.byToken[n.token] = n
		}
	}
	slices.SortStableFunc(ns.patterns, func(a, b *Namespace) int { return len(b.name) - len(a.name) })
	return nil
}

// find returns what handles a namespace, or nil if nothing does.
func (ns *namespaces) find(token string) *Namespace {
	if n := ns.byToken[token]; n != nil {
		return n
	}
	name, err := subjects.Namespace(token)
	for _, p := range ns.patterns {
		if err == nil && subjects.Matches(p.name, name) {
			return newNamespace(p.svc, name, token, p.rules)
		}
	}
	return nil
}

// names are the names and patterns, sorted.
func (ns *namespaces) names() (names []string) {
	for _, n := range ns.all {
		names = append(names, n.name)
	}
	return names
}

// isPattern reports whether a namespace's name stands for several.
func isPattern(name string) bool { return strings.Contains(name, "*") }

// Name is the namespace's name, such as "/chat", or the pattern.
func (n *Namespace) Name() string { return n.name }

// Use adds a middleware, which decides whether a socket may connect. They are called one after the other, in the order
// in which they were added, before the socket is in any room. nil admits. A *Refusal refuses, and its message and data
// go to the client. Any other error, and a panic, refuses with the message "not admitted", and goes to the log. What
// the middleware does with Socket.SetUser, SetGrant, SetData and Join becomes part of the admission.
//
// An edge asks again until it has a decision. This instance calls the middleware once and repeats its answer. The edge
// waits for it for up to the namespace's connect_timeout, 20 s by default. If this instance cannot be reached, another
// copy of the service is asked, so a middleware should be idempotent.
//
// A socket that this instance takes over from another one has been admitted before, and is not asked again. Where the
// edges' configuration says connect: open, a client is connected before middleware runs; a refused one is
// disconnected. For a recovered socket (Socket.Recovered) middleware runs only where the edges' configuration says
// skip_admission: false. Then User, Rooms and Data begin with what the socket had.
func (n *Namespace) Use(middleware func(*Socket) error) {
	n.register("Use", middleware != nil)
	n.rules.admit = append(n.rules.admit, middleware)
}

// OnConnection adds a handler that runs for each new socket, and, in an Owned namespace, for each that is taken over
// (see Socket.TakenOver), and for each whose client has come back (see Socket.Recovered). What it emits reaches the
// client right after CONNECT. Events of the socket wait until it returns.
func (n *Namespace) OnConnection(handler func(*Socket)) {
	n.register("OnConnection", handler != nil)
	n.rules.connection = append(n.rules.connection, handler)
}

// On adds a handler for an event, a function of the form
//
//	func([ctx context.Context], [s *backend.Socket], arguments…, [ack backend.Ack]) ([results…], [error])
//
// The arguments of the event are unmarshalled into the parameters as encoding/json does; []byte, at any depth,
// receives binary data. As in JavaScript, arguments without a parameter are ignored, unless the last one is variadic,
// and missing ones, and null, are zero values. With a single parameter of the type Args, it gets all of them as they
// are.
//
// The ack of the event is what the handler gives to its Ack, or its results: none of them makes an empty ack if the
// handler returns an error and that is nil. A handler without results, error and Ack acks nothing. An error that it
// returns, arguments that do not fit, and a panic go to the hook of OnError and to the log.
//
// A client whose arguments do not fit gets an error as its ack, [{"error":"argument 2 does not fit"}], also if the
// handler acks nothing by itself. The same happens when a handler returns the *ArgumentError of Args.Decode.
// WithoutErrorAcks switches it off. After another error and after a panic there is no ack: the client's own timeout
// counts. What a client is to read about a failure of the handler is its result, or goes to its Ack.
//
// An event can have several handlers, which run one after the other; the first to answer gives the ack. Events of one
// socket are handled one after the other by one instance. In an Owned namespace that is all; else other instances may
// handle further events of the same socket at the same time.
func (n *Namespace) On(event string, fn any) {
	n.register("On", true)
	h := newHandler(fmt.Sprintf("On(%q) of %s", event, n.name), fn, true)
	checkEvent("On", event)
	n.rules.events[event] = append(n.rules.events[event], h)
}

// checkEvent panics for a name that no event of a client has.
func checkEvent(method, event string) {
	switch event {
	case "connection", "connect":
		panic(fmt.Sprintf("backend: %s(%q): use OnConnection", method, event))
	case "disconnect", "disconnecting":
		panic(fmt.Sprintf("backend: %s(%q): use OnDisconnect, in which Socket.Rooms are those that the socket has left", method, event))
	}
	if msg.IsReserved(event) {
		panic(fmt.Sprintf("backend: %s(%q): the name is reserved by Socket.IO", method, event))
	}
	if _, err := subjects.AppendEvent(nil, event); err != nil {
		panic(fmt.Sprintf("backend: %s(%.64q): %v", method, event, err))
	}
}

// OnAny adds a handler that sees every event of clients, before packet middleware and the handlers of On, and also one
// that a packet middleware stops.
func (n *Namespace) OnAny(handler func(s *Socket, event string, args Args)) {
	n.register("OnAny", handler != nil)
	n.rules.any = append(n.rules.any, handler)
}

// UsePacket adds a middleware for events. They run in order in front of the handlers of On. One that returns an error
// stops the event; the error goes to the hook of OnError and to the log.
func (n *Namespace) UsePacket(middleware func(*Socket, *Packet) error) {
	n.register("UsePacket", middleware != nil)
	n.rules.packets = append(n.rules.packets, middleware)
}

// OnDisconnect adds a handler that runs when a socket has gone, behind its last event, with the reason in the
// reference's words, such as "transport close" or "client namespace disconnect". Socket.Rooms are the rooms that it
// has left.
func (n *Namespace) OnDisconnect(handler func(s *Socket, reason string)) {
	n.register("OnDisconnect", handler != nil)
	n.rules.disconnect = append(n.rules.disconnect, handler)
}

// OnHandover adds a handler that runs, in an Owned namespace, when this instance stops owning a socket that is still
// connected: the reasons are "leaving" (this instance closes; what the handler saves with Socket.SetData reaches the
// next owner) and "owner changed" (the edge took this instance for dead, got no answer from it, or it was cut off
// from NATS). OnDisconnect does not run here then, but at a later owner.
func (n *Namespace) OnHandover(handler func(s *Socket, reason string)) {
	n.register("OnHandover", handler != nil)
	n.rules.handover = append(n.rules.handover, handler)
}

// OnServerSide adds a handler for an event of other services, see ServerSideEmit. It has the form of a handler of On
// without the socket.
func (n *Namespace) OnServerSide(event string, fn any) {
	n.register("OnServerSide", true)
	h := newHandler(fmt.Sprintf("OnServerSide(%q) of %s", event, n.name), fn, false)
	checkEvent("OnServerSide", event)
	n.rules.service[event] = append(n.rules.service[event], h)
}

// register panics if nothing can be registered any more.
func (n *Namespace) register(method string, given bool) {
	if !given {
		panic(fmt.Sprintf("backend: %s of %s: the function is nil", method, n.name))
	}
	if n.svc.state.Load() != fresh {
		panic(fmt.Sprintf("backend: %s of %s: the service has started; register before Start", method, n.name))
	}
}

// admits reports whether this service answers connect requests.
func (r *rules) admits() bool {
	return !r.eventsOnly && (r.owned || r.hearsClients() || len(r.admit) > 0 || len(r.connection) > 0)
}

// hearsClients reports whether there are handlers of clients' events.
func (r *rules) hearsClients() bool {
	return len(r.events) > 0 || len(r.any) > 0 || len(r.disconnect) > 0 || len(r.packets) > 0
}

// isAnnounced reports whether the namespace is in the announcements of this instance.
func (n *Namespace) isAnnounced() bool {
	return n.rules.admits() || n.rules.hearsClients() || len(n.rules.service) > 0
}

// check finds what does not go together, when the service starts.
func (n *Namespace) check() error {
	r := n.rules
	if r.eventsOnly && (r.owned || isPattern(n.name) || len(r.admit) > 0 || len(r.connection) > 0) {
		return failure(BadArguments, "namespace %s: EventsOnly cannot be combined with Owned, a pattern, Use or OnConnection", n.name)
	}
	return nil
}

// Socket is a handle for a socket of the namespace by its id. It costs no round trip: whether the socket is there
// shows when something is asked of it. For a socket that this instance owns it is the one that its handlers have.
func (n *Namespace) Socket(id string) *Socket {
	if o := n.svc.owners.find(id); o != nil && o.ns.token == n.token {
		return o
	}
	return &Socket{ns: n, id: id}
}
