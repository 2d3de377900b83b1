// Package edge gives Engine.IO sessions their Socket.IO meaning: sockets, namespaces, rooms, acks, and relay rules, all
// of it in terms of publishes on NATS subjects (docs/subjects.md).
//
// Up: connection.Message → sio.Parse → the event's subject → bus.Publish, on the goroutine that reads from the client.
// Down: bus.Run → Edge.handle → the room's members → one engine.Frame → each session's queue; and when nothing more waits,
// Edge.flush writes to the clients. All of it is done by the NATS reader: one message after the other, mostly on the goroutine that
// reads from NATS. It never waits: whatever needs an answer from NATS goes through an outbox to the bus's worker.
package edge

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"time"

	"partyline/bus"
	"partyline/edge/query"
	"partyline/edge/registry"
	"partyline/edge/rule"
	"partyline/engine"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/subjects"
	"partyline/wire/msg"
)

// Settings is what an Edge needs.
type Settings struct {
	ID             string               // see NewID
	Prefix         subjects.Prefix      // of every subject
	Namespaces     map[string]Namespace // by name or pattern
	Limits         Limits
	ConnectTimeout time.Duration // how long a session may be without a namespace
	QueueBytes     int           // what may wait for one session, also before its CONNECT; 0: engine.DefaultQueueBytes
	MaxPayload     func() int    // the largest event with its attachments, in bytes
	Bus            *bus.Bus
	Log            *slog.Logger
}

// Edge holds the sockets of one process.
type Edge struct {
	set        Settings
	prefix     subjects.Prefix
	rules      *rule.Book
	out        bus.Outbox    // all that the way down may use: it never waits
	up         bus.Publisher // for readers of clients and the bus's worker
	stats      stats
	complaints *complaints

	// reg knows who is where. Its lock may be taken while a connection's is held, and the outbox's and that of owners while it is.
	reg      *registry.Registry[client]
	owners   *owners         // has a lock of its own, which may be taken while that of reg or of a connection is held
	requests connectRequests // the same

	fanout   fanout
	answers  *answers
	commands *commands
	asks     *asks
	pauses   *pauses
}

// New makes an edge. Its Listen must be called, its Accept given to the engine.
func New(set Settings) *Edge {
	if set.QueueBytes == 0 {
		set.QueueBytes = engine.DefaultQueueBytes
	}
	if set.Limits.QueuePackets == 0 {
		set.Limits.QueuePackets = engine.DefaultQueuePackets
	}
	e := &Edge{set: set, prefix: set.Prefix, rules: rule.NewBook(set.Namespaces), out: set.Bus, up: set.Bus, owners: newOwners()}
	e.requests.init()
	e.reg = registry.New(e.prefix, set.Limits.RoomsPerSocket, e.follow)
	e.complaints = &complaints{throttle.New(set.Log), e.prefix, e.rules, &e.stats, set.Bus.Connected}
	e.answers = &answers{set.ID, e.prefix, e.out, &e.stats, e.complaints}
	found := targets{e.reg}
	e.commands = &commands{e.answers, found, query.NewQueue(set.ID, set.Bus.MaxPayload, e.out.Do), e.disconnect}
	d := &deliveries{out: e.out, round: engine.NewFanout(), queueBytes: set.QueueBytes, stats: &e.stats, complaints: e.complaints}
	e.fanout = fanout{
		deliveries: d, targets: found, prefix: e.prefix,
		most: min(maxFanout, set.Limits.QueuePackets/4), mostSize: min(maxFanoutBytes, set.QueueBytes/4),
	}
	e.asks = &asks{commands: e.commands, deliveries: d, waiting: set.Bus.Waiting}
	e.pauses = &pauses{commands: e.commands, holds: make(map[*hold]struct{})}
	e.subscribe()
	return e
}

// subscribe asks for what every edge receives.
func (e *Edge) subscribe() {
	e.out.Subscribe(e.prefix.Sockets(e.set.ID))
	e.out.Subscribe(e.prefix.Acks(e.set.ID))
	e.out.Subscribe(e.prefix.Pongs(e.set.ID))
	for _, word := range []string{subjects.WordHello, subjects.WordBeat, subjects.WordLeaving, subjects.WordLeft, subjects.WordBye} {
		e.out.Subscribe(e.prefix.EveryInstance(word))
	}
	for _, verb := range everyEdge {
		e.out.Subscribe(e.prefix.EveryAll(verb))
		e.out.Subscribe(e.prefix.EveryRoom(verb))
	}
	e.require()
}

// follow puts what follows from a change in the registry into the outbox. The registry calls it with its lock held.
func (e *Edge) follow(f registry.Effects[client]) {
	for _, subject := range f.Subscribe {
		e.out.Subscribe(subject)
	}
	for _, subject := range f.Unsubscribe {
		e.out.Unsubscribe(subject)
	}
	for _, s := range f.Changed {
		e.changed(s)
	}
}

// isCopy reports whether a message is a command to all or a room that came by a subscription for events: it comes by that for
// commands, too, and counts there. Subscriptions for events name a namespace (sio.chat.*.room.x), those for commands have a
// wildcard in its place (sio.*.join.room.>). To leave commands out of what is subscribed for events would take two
// subscriptions a room.
func (e *Edge) isCopy(m *bus.Message, sub *subjects.Subject) bool {
	namespace := len(e.prefix.String()) + 1
	return sub.Target != subjects.TargetSocket && slices.Contains(everyEdge, sub.Verb) &&
		len(m.Subscription) > namespace && m.Subscription[namespace] != '*'
}

// everyEdge are the verbs that concern every edge, also one that has nobody in the namespace or room: each answers.
var everyEdge = []string{
	subjects.VerbJoin, subjects.VerbLeave, subjects.VerbDisconnect,
	subjects.VerbAsk, subjects.VerbFetch, subjects.VerbData, subjects.VerbRooms,
}

// NewID makes the id of an edge: 8 random characters, new at each start of a process.
func NewID() string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	for i, c := range b {
		b[i] = letters[int(c)%len(letters)]
	}
	return string(b[:])
}

// newSocketID makes a socket's id, which is public and opens nothing.
func (e *Edge) newSocketID() string {
	var b [15]byte
	_, _ = rand.Read(b[:])
	return e.set.ID + "." + base64.RawURLEncoding.EncodeToString(b[:])
}

// Sockets is the number of sockets now.
func (e *Edge) Sockets() int { return e.reg.Sockets() }

// Rooms is the number of rooms with a member now.
func (e *Edge) Rooms() int { return e.reg.Rooms() }

// errClaim is logged of a connect reply whose headers claim the socket in a way that cannot be.
var errClaim = errors.New(msg.HeaderOwner + " needs " + msg.HeaderGroup + ", and both must be one token")

// Metrics lists what the edge counts.
func (e *Edge) Metrics() *tally.Set {
	set := &tally.Set{}
	set.Func(tally.KindGauge, "sockets", "Socket.IO sockets that are connected to a namespace.", func() float64 { return float64(e.Sockets()) })
	set.Func(tally.KindGauge, "rooms", "Rooms with a member on this edge.", func() float64 { return float64(e.Rooms()) })
	e.stats.metrics(set)
	e.asks.metrics(set)
	e.pauses.metrics(set)
	e.requests.metrics(set)
	e.rules.Metrics(set)
	e.complaints.Metrics(set, "edge")
	return set
}

// address is the subject that reaches a socket, which names it as a sender.
func (e *Edge) address(dst []byte, s *socket) []byte {
	return e.prefix.AppendToSocket(dst, s.Namespace.Token, subjects.VerbEmit, s.ID)
}

// userHeader is the header of what a socket with a user causes, or nil.
func userHeader(user string) bus.Header {
	if user == "" {
		return nil
	}
	return bus.Header{msg.HeaderUser: {user}}
}
