package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"partyline/subjects"
	"partyline/wire/msg"
)

// Socket is one client in one namespace. There are two kinds, with the same methods:
//
//   - In an Owned namespace, the instance that owns the socket has one Socket for it from its middleware to its last
//     disconnect handler, and knows its rooms, data, user and handshake: reading them costs no round trip.
//   - Else a Socket is little more than the socket's id. Each event brings a new one; it can be kept. What it does not
//     know it asks the socket's edge.
//
// All methods may be called from several goroutines. Those with a context wait for an answer of the edge: until the
// context ends, but not longer than Limits.Wait. Inside the middleware of Namespace.Use nothing is asked yet: Join,
// SetUser, SetGrant and SetData become part of the admission.
type Socket struct {
	ns        *Namespace
	id        string
	handshake *Handshake // static; nil if it is not known here
	recovered bool       // static

	mu        sync.Mutex
	user      string         // guarded by mu; of an owned socket, own.state has it
	admission *msg.State     // guarded by mu; what the middleware has decided so far; nil once it has
	granted   map[string]any // guarded by mu; with admission: what it has granted, see Grant.change
	left      []string       // guarded by mu; in disconnect handlers: the rooms that the socket was in
	gone      bool           // guarded by mu
	lost      bool           // guarded by mu; with gone: the connection broke, so that the client may come back

	own *ownership // nil unless this instance owns the socket
}

// Handshake is the request with which a client connected, as the edge reports it.
type Handshake struct {
	ID      string `json:"sid"`     // the socket's id
	Session string `json:"session"` // a name of the session, the same for all its sockets; public
	// Transport is that of the session when the edge reported it: "polling" or "websocket".
	Transport string            `json:"transport"`
	Auth      json.RawMessage   `json:"auth"`    // what the client gave as auth, a JSON object
	Query     map[string]string `json:"query"`   // of a repeated key the last value
	Headers   map[string]string `json:"headers"` // names in lower case, several values joined
	Address   string            `json:"address"` // the client's IP address, behind trusted proxies
	URL       string            `json:"url"`     // path and query
	Secure    bool              `json:"secure"`  // whether the client came over TLS
	XDomain   bool              `json:"xdomain"` // whether a browser sent an Origin
	Issued    int64             `json:"issued"`  // when the socket asked, in milliseconds since 1970
	Time      string            `json:"time"`    // the same in words
}

// DecodeAuth unmarshals what the client gave as auth. Nothing is an empty object.
func (h *Handshake) DecodeAuth(target any) error {
	return decodeJSON("auth", h.Auth, target)
}

// decodeJSON unmarshals what a client or a service gave. Nothing is an empty object.
func decodeJSON(what string, text json.RawMessage, target any) error {
	if len(text) == 0 {
		text = json.RawMessage("{}")
	}
	if err := json.Unmarshal(text, target); err != nil {
		return because(BadArguments, err, "%s does not fit %T", what, target)
	}
	return nil
}

// ID is the socket's id. It is public and opens nothing.
func (s *Socket) ID() string { return s.id }

// Namespace is the namespace that the socket is in, by its name also where the handler's one is a pattern.
func (s *Socket) Namespace() *Namespace { return s.ns }

// User is the user to whom the middleware, SetGrant or the client's token gave the socket. It is known in middleware,
// in handlers of events, as it was at the event, and for owned sockets; else it is empty, and Fetch tells.
func (s *Socket) User() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admission != nil {
		return s.admission.User
	}
	if s.own != nil {
		return s.own.state().User
	}
	return s.user
}

// Handshake is the client's connect request. It is known in middleware, in connection handlers, and for owned sockets;
// else it is nil, and Fetch tells.
func (s *Socket) Handshake() *Handshake { return s.handshake }

// Recovered reports whether the connection of the client broke, and it has come back in time (recovery in the edge's
// configuration): to the same socket, with its rooms, user and data, and with all events that it missed. It is known
// in middleware, in connection handlers, and for owned sockets.
func (s *Socket) Recovered() bool { return s.recovered }

// Context ends when an owned socket has gone and its last handler has run, or was handed over to another instance; of
// other sockets, when the service has closed. Handlers get it as their context.
func (s *Socket) Context() context.Context {
	if s.own != nil {
		return s.own.ctx
	}
	return s.ns.svc.ctx
}

// SetUser gives the socket to a user, or with "" to none. It works inside the middleware of Namespace.Use only; later,
// SetGrant gives the socket to another user. A user must fit into a header: no control characters, no spaces around
// it.
func (s *Socket) SetUser(user string) error {
	s.mu.Lock()
	isAsked := s.admission != nil
	s.mu.Unlock()
	if !isAsked {
		return failure(BadArguments, "SetUser works in the middleware of Use only; use SetGrant")
	}
	g := Grant{User: user}
	if user == "" {
		g.TakeBack = GrantUser
	}
	return s.SetGrant(s.Context(), g)
}

// target is the socket itself.
func (s *Socket) target() Target {
	t := s.ns.Target
	t.self = s.id
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case t.err != nil:
	case s.gone && !s.lost:
		t.err = failure(UnknownSocket, "socket %s has gone", s.id)
	case s.admission != nil:
		t.err = failure(BadArguments, "socket %s is not admitted yet: emit from OnConnection", s.id)
	}
	return t
}

// Emit sends an event to the socket's client; see Target.Emit. While the client of a socket may come back after its
// connection broke, a namespace with recovery keeps the event. The error is UnknownSocket in a disconnect handler of a
// socket that the client or a service has ended.
func (s *Socket) Emit(event string, args ...any) error { return s.target().Emit(event, args...) }

// EmitWithAck sends an event to the socket's client and returns what it acks. It waits for the time of Timeout, 30 s
// by default, and not longer than ctx. The errors are those of Target.Emit, and UnknownSocket (it is not there, or
// went away meanwhile), NoAnswer (the client did not ack in time) and TooMany (the edge waits for too many acks). In a
// handler, the further events of the socket wait meanwhile.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	return s.target().askOne(ctx, event, args)
}

// Timeout is a target of this socket alone whose EmitWithAck waits so long for the ack.
func (s *Socket) Timeout(d time.Duration) Target { return s.target().Timeout(d) }

// Volatile is a target of this socket alone whose events are dropped when its connection is busy. Followed by To or
// Except, it is a broadcast as To is.
func (s *Socket) Volatile() Target { return s.target().Volatile() }

// Compress is a target of this socket alone whose events are, or are not, worth compressing.
func (s *Socket) Compress(worthIt bool) Target { return s.target().Compress(worthIt) }

// Broadcast is all sockets of the namespace but this one.
func (s *Socket) Broadcast() Target {
	t := s.ns.Target // not the socket's own: a socket that has gone may still send
	t.sender = s.id
	return t
}

// To is the members of rooms, and other sockets by their ids, but not this socket.
func (s *Socket) To(roomsOrIDs ...string) Target { return s.Broadcast().To(roomsOrIDs...) }

// In is To.
func (s *Socket) In(roomsOrIDs ...string) Target { return s.Broadcast().To(roomsOrIDs...) }

// Except is all sockets of the namespace but this one, the members of rooms, and other sockets by their ids.
func (s *Socket) Except(roomsOrIDs ...string) Target { return s.Broadcast().Except(roomsOrIDs...) }

// Join puts the socket into rooms. Events that this instance sends to them reach the socket once Join has begun, those
// of other senders once it has returned.
func (s *Socket) Join(ctx context.Context, rooms ...string) error {
	if err := checkRooms(rooms); err != nil {
		return err
	}
	return s.change(ctx, subjects.VerbJoin, rooms, func(state *msg.State) { state.Rooms = union(state.Rooms, rooms) })
}

// Leave takes the socket out of rooms.
func (s *Socket) Leave(ctx context.Context, rooms ...string) error {
	if err := checkRooms(rooms); err != nil {
		return err
	}
	return s.change(ctx, subjects.VerbLeave, rooms, func(state *msg.State) { state.Rooms = without(state.Rooms, rooms) })
}

// change asks the edge for a change of the socket, and applies it here at once, for reads that follow. While the
// middleware decides, it changes the admission alone.
func (s *Socket) change(ctx context.Context, verb string, body any, apply func(*msg.State)) error {
	s.mu.Lock()
	if s.admission != nil {
		defer s.mu.Unlock()
		apply(s.admission)
		return nil
	}
	s.mu.Unlock()
	answer, err := s.target().command(ctx, verb, body)
	if err == nil && s.own != nil {
		s.own.changed(answer.Rev, apply)
	}
	return err
}

// Disconnect ends the socket, and with closeConnection the client's whole connection with its sockets in other
// namespaces. Either way the official client does not come back by itself.
func (s *Socket) Disconnect(ctx context.Context, closeConnection bool) error {
	_, err := s.target().command(ctx, subjects.VerbDisconnect, []bool{closeConnection})
	return err
}

// Rooms are the rooms that the socket is in; in disconnect handlers, those that it was in. The socket's own id is not
// among them. For an owned socket this costs nothing.
func (s *Socket) Rooms(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	gone, left := s.gone, s.left
	s.mu.Unlock()
	if gone {
		return slices.Clone(left), nil
	}
	if state, ok := s.known(); ok {
		return slices.Clone(state.Rooms), nil
	}
	counts, err := s.target().Rooms(ctx)
	rooms := slices.AppendSeq([]string{}, maps.Keys(counts))
	slices.Sort(rooms)
	return rooms, err
}

// known returns the socket's rooms and data if they are known here, so that its edge need not be asked.
func (s *Socket) known() (state msg.State, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.admission != nil:
		return *s.admission, true
	case s.own != nil:
		return s.own.state(), true
	}
	return state, false
}

// Data unmarshals the value that SetData, here or at any other service, has set into what target points to. If
// nothing was set it is an empty object. For an owned socket this costs nothing.
func (s *Socket) Data(ctx context.Context, target any) error {
	var text json.RawMessage
	if state, ok := s.known(); ok {
		text = state.Data
	} else if all, err := s.target().Data(ctx); err != nil {
		return err
	} else {
		text = all[s.id]
	}
	return decodeJSON("the data of socket "+s.id, text, target)
}

// SetData keeps a value with the socket, at its edge: it outlives this instance, and is replaced as a whole. It must
// marshal as JSON of at most 65,536 bytes; the errors are BadArguments and TooLarge, and those of Join.
func (s *Socket) SetData(ctx context.Context, data any) error {
	text, err := dataJSON(data)
	if err != nil {
		return err
	}
	return s.change(ctx, subjects.VerbData, []json.RawMessage{text}, func(state *msg.State) { state.Data = text })
}

// Fetch asks the socket's edge for the state of the socket.
func (s *Socket) Fetch(ctx context.Context) (Snapshot, error) {
	all, err := s.target().Fetch(ctx)
	if err != nil || len(all) == 0 {
		return Snapshot{}, err
	}
	return all[0], nil
}

// String is the namespace and the id, for logs.
func (s *Socket) String() string { return fmt.Sprintf("%s %s", s.ns.name, s.id) }

// dataJSON marshals what SetData gets.
func dataJSON(data any) (json.RawMessage, error) {
	text, err := appendJSON(nil, data)
	if err != nil {
		return nil, because(BadArguments, err, "data")
	}
	if err := msg.CheckData(text); err != nil {
		return nil, because(TooLarge, err, "data")
	}
	return text, nil
}

// checkRooms finds names that cannot be rooms before an edge is asked.
func checkRooms(rooms []string) error {
	if len(rooms) == 0 {
		return failure(BadArguments, "no room is given")
	}
	for _, room := range rooms {
		if subjects.IsSocketID(room) {
			return failure(BadArguments, "a room cannot have the form of a socket id: %s", room)
		}
		if _, err := subjects.AppendRoom(nil, room); err != nil {
			return because(BadArguments, err, "room %.64q", room)
		}
	}
	return nil
}

// union and without return new lists, with each room once.

func union(rooms, more []string) []string {
	rooms = slices.Clone(rooms)
	for _, room := range more {
		if !slices.Contains(rooms, room) {
			rooms = append(rooms, room)
		}
	}
	return rooms
}

func without(rooms, fewer []string) []string {
	return slices.DeleteFunc(slices.Clone(rooms), func(room string) bool { return slices.Contains(fewer, room) })
}
