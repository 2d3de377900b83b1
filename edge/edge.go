// Package edge gives Engine.IO sessions their Socket.IO meaning: sockets, namespaces, rooms, acks, and relay rules, all
// of it in terms of publishes on NATS subjects (docs/subjects.md).
//
// Up: connection.Message → sio.Parse → the event's subject → bus.Publish, on the goroutine that reads from the client.
// Down: bus.Run → Edge.handle → the room's members → one engine.Frame → each session's queue; and when nothing more waits,
// Edge.flush writes to the clients. All of it is done in one turn after the other, mostly on the goroutine that reads from
// NATS, and never waits: whatever needs an answer from NATS is left to the bus's worker.
package edge

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"partyline/bus"
	"partyline/edge/query"
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
	set    Settings
	id     string
	prefix subjects.Prefix
	bus    *bus.Bus
	out    bus.Outbox    // all that the way down may use: it never waits
	up     bus.Publisher // for readers of clients and the bus's worker
	log    *slog.Logger
	rules  ruleBook

	// mu guards who is where: the fields below and those of namespaces, rooms and sockets that say so. It is held
	// for moments only, never while a frame goes to many sessions.
	mu         sync.Mutex
	namespaces map[string]*namespace // guarded by mu; by token in subjects
	sockets    map[string]*socket    // guarded by mu; by id
	generation uint64                // guarded by mu: marks the sockets of a union
	holds      map[*hold]struct{}    // guarded by mu: sessions that are paused, or whose events are not all published yet

	queries  *query.Queue    // fetch, data and rooms under way
	owners   *owners         // has a lock of its own, which may be taken while mu is held
	requests connectRequests // the same

	name       []byte        // owned by the turn of Listen: scratch for event names
	lastAsk    uint64        // owned by the turn of Listen: the ack id of the latest ask
	run        run           // owned by the turn of Listen
	round      *engine.Round // owned by the turn of Listen
	complaints complaints
	stats      stats
}

type stats struct {
	sockets, rooms             tally.Gauge
	eventsIn, eventsFailed     tally.Counter
	acksIn                     tally.Counter
	eventsOut, deliveries      tally.Counter
	acksOut                    tally.Counter
	relayed                    tally.Counter
	volatileDropped            tally.Counter
	unwanted, discardedBytes   tally.Counter
	noResponders               tally.Counter
	connectRefused             [refusals]tally.Counter
	disconnected               [socketEnds]tally.Counter
	dropped                    [drops]tally.Counter
	answersWithheld, commanded tally.Counter
	held, takeovers            tally.Counter
	paused                     tally.Gauge
	pauses, eventsPaused       tally.Counter
	instancesDied              tally.Counter
	acksAwaited                tally.Gauge
	asks, asksRefused          tally.Counter
	acksPassed, acksExpired    tally.Counter
}

// New makes an edge. Its Listen must be called, its Accept given to the engine.
func New(set Settings) *Edge {
	if set.QueueBytes == 0 {
		set.QueueBytes = engine.DefaultQueueBytes
	}
	if set.Limits.QueuePackets == 0 {
		set.Limits.QueuePackets = engine.DefaultQueuePackets
	}
	e := &Edge{
		set: set, id: set.ID, prefix: set.Prefix, bus: set.Bus, out: set.Bus, up: set.Bus, log: set.Log,
		rules:      newRuleBook(set.Namespaces),
		namespaces: make(map[string]*namespace), sockets: make(map[string]*socket), owners: newOwners(),
		holds: make(map[*hold]struct{}),
		round: engine.NewRound(), complaints: complaints{throttle.New(set.Log)},
	}
	e.queries = query.NewQueue(e.id, e.bus.MaxPayload, e.out.Do)
	e.requests.init()
	e.out.Subscribe(e.prefix.Sockets(e.id))
	e.out.Subscribe(e.prefix.Acks(e.id))
	e.out.Subscribe(e.prefix.Pongs(e.id))
	for _, word := range []string{subjects.WordHello, subjects.WordBeat, subjects.WordLeaving, subjects.WordLeft, subjects.WordBye} {
		e.out.Subscribe(e.prefix.EveryInstance(word))
	}
	for _, verb := range everyEdge {
		e.out.Subscribe(e.prefix.EveryAll(verb))
		e.out.Subscribe(e.prefix.EveryRoom(verb))
	}
	e.require()
	return e
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
	return e.id + "." + base64.RawURLEncoding.EncodeToString(b[:])
}

// Sockets is the number of sockets now.
func (e *Edge) Sockets() int { return int(e.stats.sockets.Value()) }

// Rooms is the number of rooms with a member now.
func (e *Edge) Rooms() int { return int(e.stats.rooms.Value()) }

// Why the edge refuses a socket. What a service says is one reason.
const (
	refusedNamespace = iota
	refusedByService
	refusedNoService
	refusedTimeout
	refusedAnswer
	refusedHandshake
	refusedLimit
	refusals
)

var refusalWords = [refusals]string{
	refusedNamespace: "Invalid namespace",
	refusedByService: "refused by service",
	refusedNoService: "no service",
	refusedTimeout:   "service timeout",
	refusedAnswer:    "invalid answer",
	refusedHandshake: "handshake too large",
	refusedLimit:     "too many namespaces",
}

// Why a socket left its namespace, for the count; sessions' ends are engine.Reasons.
const (
	endClient  = iota // "client namespace disconnect"
	endServer         // "server namespace disconnect"
	endSession        // the session ended
	socketEnds
)

var socketEndWords = [socketEnds]string{
	endClient:  "client namespace disconnect",
	endServer:  "server namespace disconnect",
	endSession: "session ended",
}

// Why a message from NATS came to nothing.
const (
	notDropped     = -1
	dropBadSubject = iota - 1
	dropBadBody
	dropUnknownSocket
	dropWrongNamespace
	dropUnknownVerb
	dropLateAnswer
	dropNoReply
	drops
)

var dropWords = [drops]string{
	dropBadSubject:     "bad subject",
	dropBadBody:        "bad body",
	dropUnknownSocket:  "unknown socket",
	dropWrongNamespace: "wrong namespace",
	dropUnknownVerb:    "unknown verb",
	dropLateAnswer:     "answer to a connect that is over",
	dropNoReply:        "no reply subject",
}

// errWithheld is logged when an answer may not go where the asker wants it.
var errWithheld = errors.New("the reply subject lies inside the edge's own prefix or begins with $; no answer is sent there")

// errClaim is logged of a connect reply whose headers claim the socket in a way that cannot be.
var errClaim = errors.New(msg.HeaderOwner + " needs " + msg.HeaderGroup + ", and both must be one token")

// drop counts a message from NATS that is dropped, and logs it at most once a minute a subject and reason.
func (e *Edge) drop(m *bus.Message, why int, err error) {
	e.stats.dropped[why].Inc()
	e.stats.discardedBytes.Add(len(m.Data))
	subject := m.Subject
	if why == dropBadBody {
		if open := e.answersNotice(m); open != "" { // one subject a socket, too
			e.complaints.about(open, "a service answered the connect notice of an open namespace, where everybody gets in; for services to decide, "+
				"set connect: service", nil)
			return
		}
	}
	if why == dropLateAnswer { // one subject a socket: of a whole namespace one line is enough
		if sub, ok := e.prefix.Parse(subject); ok {
			subject = string(e.prefix.AppendOn(nil, sub.Namespace, msg.EventConnect))
		}
	}
	if why != dropUnknownSocket && why != dropUnknownVerb { // those happen in good order: sockets go, contracts grow
		e.complaints.about(subject, "dropped a message from NATS: "+dropWords[why], explain(m.Data, err))
	}
}

// Metrics lists what the edge counts.
func (e *Edge) Metrics() *tally.Set {
	set, s := &tally.Set{}, &e.stats
	set.Gauge(&s.sockets, "sockets", "Socket.IO sockets that are connected to a namespace.")
	set.Gauge(&s.rooms, "rooms", "Rooms with a member on this edge.")
	set.Counter(&s.eventsIn, "events_in_total", "Events from clients that were published.")
	set.Counter(&s.eventsFailed, "events_failed_total", "Events from clients that could not be published, or came to an instance that does not own their socket; their clients get no ack.")
	set.Counter(&s.acksIn, "acks_in_total", "Acks from clients.")
	set.Counter(&s.eventsOut, "events_out_total", "Events from NATS that had receivers here.")
	set.Counter(&s.deliveries, "deliveries_total", "Events handed to sessions: one for each receiver.")
	set.Counter(&s.acksOut, "acks_out_total", "Acks from services to clients.")
	set.Counter(&s.relayed, "relayed_total", "Events passed on by a relay rule.")
	set.Counter(&s.volatileDropped, "volatile_dropped_total", "Volatile events not handed to a busy session.")
	set.Counter(&s.unwanted, "unwanted_total", "Events from NATS that had no receiver here.")
	set.Counter(&s.discardedBytes, "discarded_bytes_total", "Bytes of bodies from NATS that had no receiver here or came to nothing.")
	set.Counter(&s.noResponders, "no_responders_total", "Publishes that nobody subscribed to, as NATS says.")
	set.Counter(&s.commanded, "commands_total", "Joins, leaves, disconnects, fetches, data and rooms asked for over NATS.")
	set.Counter(&s.asks, "asks_total", "Asks over NATS that were put to the sockets here.")
	set.Counter(&s.asksRefused, "asks_refused_total", "Asks refused because too many acks were waited for.")
	set.Gauge(&s.acksAwaited, "asks_awaited", "Acks of clients that asks wait for.")
	set.Counter(&s.acksPassed, "asks_acks_total", "Acks of clients that were passed on to who asked.")
	set.Counter(&s.acksExpired, "asks_expired_total", "Acks of clients that did not come in time.")
	set.Counter(&s.held, "events_held_total", "Events that waited for a new owner of their socket.")
	set.Gauge(&s.paused, "sessions_paused", "Sessions whose events are held because a service does not keep up.")
	set.Counter(&s.pauses, "pauses_total", "Times a session was paused.")
	set.Counter(&s.eventsPaused, "events_paused_total", "Events that were held because their session was paused.")
	set.Counter(&s.takeovers, "takeovers_total", "Sockets that another instance took over.")
	set.Counter(&s.instancesDied, "instances_died_total", "Instances that owned sockets here and fell silent.")
	set.Counter(&s.answersWithheld, "answers_withheld_total", "Answers not sent because of their reply subject.")
	set.Gauge(&e.requests.waiting, "connects_waiting", "Sockets about which no service has decided yet.")
	for i := range e.requests.repeated {
		set.LabelledCounter(&e.requests.repeated[i], "connects_asked_again_total", "Connect requests that were published again, by reason.", "reason", repeatWords[i])
	}
	set.Counter(&e.requests.closed, "connects_given_up_total", "Sessions closed because no service decided about a socket in time; their clients come back.")
	for i := range s.connectRefused {
		set.LabelledCounter(&s.connectRefused[i], "connects_refused_total", "Sockets refused, by reason.", "reason", refusalWords[i])
	}
	for i := range s.disconnected {
		set.LabelledCounter(&s.disconnected[i], "sockets_ended_total", "Sockets that left their namespace or went while being admitted, by reason.", "reason", socketEndWords[i])
	}
	for i := range s.dropped {
		set.LabelledCounter(&s.dropped[i], "dropped_total", "Messages from NATS that came to nothing, by reason.", "reason", dropWords[i])
	}
	e.rules.metrics(set)
	e.complaints.Metrics(set, "edge")
	return set
}

// userHeader is the header of what a socket with a user causes, or nil.
func userHeader(user string) bus.Header {
	if user == "" {
		return nil
	}
	return bus.Header{msg.HeaderUser: {user}}
}
