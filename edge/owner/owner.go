// Package owner is what an edge knows of the instances of services that own sockets, and what it decides about them
// (docs/subjects.md, Groups and owners): which instance a socket is assigned to, when it is assigned again, and which
// events wait meanwhile.
//
// The edge is the only one who decides. Each assignment of a socket has a number, and every word about ownership
// carries it: a late word ends no newer assignment.
//
//	CONNECT ──▶ Begin ──▶ Ask ──▶ Answer: admitted ──▶ Event … Event ──▶ End
//	                       ▲                               │
//	                       └── the instance left, died, or does not own the socket: events are held
//
// The package has no connection to NATS and no clock of its own. Wire is how it speaks. What may wait for NATS runs on
// the client's reader (Event) or on the edge's worker (Ask, and whatever is given to Wire.Do).
package owner

import (
	"sync"
	"time"

	"partyline/internal/liveness"
	"partyline/internal/pace"
	"partyline/internal/share"
	"partyline/internal/tally"
	"partyline/internal/throttle"
)

// Client is a socket as its edge has it. Its methods, except Siblings, may be called with any lock of this package
// held.
type Client interface {
	ID() string
	Namespace() string             // its name, such as /chat
	ConnectTimeout() time.Duration // how long services may take to admit it
	Charge(bytes int)              // counts memory of what is held for it; taken back if negative
	Refuses() bool                 // its client is refused, and does not wait, while no service decides
	Siblings() []*Socket           // the other sockets of its session that have an owner, or about which services are asked
}

// Request is a connect request as it is published.
type Request struct {
	To       string // an instance; "": any service that subscribes to on.connect
	Number   uint64 // of the assignment that an admission makes; 0 without To
	Handover bool   // the socket was admitted before
	From     string // with Handover: the instance that owned it last; "": none has
}

// Wire is how a Table speaks to services. The first methods may wait for NATS and take locks of the edge, so they are
// called on the client's reader or on the worker, never with Table.mu held. The others never wait.
type Wire interface {
	// Event publishes an event of a client to the owner of its socket; to is "" if it goes to all services.
	Event(s *Socket, to string, event, reply []byte, header map[string][]string, body []byte) error
	// Ask publishes a connect request. It returns the revision of the socket's rooms and data that it tells.
	Ask(s *Socket, r Request) (rev uint64, err error)
	// State tells an owner the rooms and data of a socket, and the transport of its session, unless it knows this
	// revision, or to is "". It returns the revision.
	State(s *Socket, to string, known uint64) uint64
	// Ping asks an instance whether it is there.
	Ping(group, instance string)

	// Connected reports whether NATS is there.
	Connected() bool
	// Do runs fn on the worker, behind everything that was given to it before.
	Do(fn func())
	// AfterSubscribed runs fn like Do, once earlier subscriptions are active.
	AfterSubscribed(fn func())
	// Ended tells an owner that the socket has ended. The word is kept while NATS is away.
	Ended(s *Socket, to string, header map[string][]string, body []byte)
	// Changed tells an instance that an assignment and all older ones of a socket have ended.
	Changed(s *Socket, to string, number uint64)
	// Marker tells an instance that nothing more comes from this edge in a namespace.
	Marker(to, namespace string)
	// Died is called when an instance has fallen silent.
	Died(instance string)
	// Undecided is called when no service has answered, or there is none. refuse: the client must be refused.
	Undecided(s *Socket, why Reason, refuse bool)
}

// Settings is what a Table needs.
type Settings struct {
	Wire   Wire
	Log    *throttle.Logger
	Wake   func()           // Due has something earlier than Wait said; must not wait
	Now    func() time.Time // the clock
	Random func(n int) int  // a number from 0 to n-1
}

// Table is what an edge knows of instances and of the sockets that they own. Its methods may be called from several
// goroutines.
//
// Everything that an owner gets is published with the socket's lock held, so that a held socket has published all
// earlier events. Lock order: Socket.mu, the locks of Client and Wire, Table.mu.
type Table struct {
	set  Settings
	wire Wire
	// Clock is ticked while services can hear this edge. It shows that the edge was away.
	Clock liveness.Clock

	mu        sync.Mutex
	requests                     // guarded by mu
	instances instances          // guarded by mu: those that have announced themselves
	arrived   *arrivals          // guarded by mu: those that came since hurryArrived ran; nil: none
	ended     map[string]*Socket // guarded by mu; by id: sockets whose client has left while their events are held
	again     time.Time          // guarded by mu: when all sockets were assigned again last
	fearing   bool               // guarded by mu: they are about to be, because this edge was away
	stats     stats
}

type stats struct {
	asked     [reasons]tally.Counter
	held      tally.Counter
	failed    *tally.Counter
	handovers tally.Counter
	died      tally.Counter
	unheard   tally.Counter
}

// New makes a Table. failed counts the events that could not be published.
func New(set Settings, failed *tally.Counter) *Table {
	t := &Table{
		set: set, wire: set.Wire, ended: make(map[string]*Socket), stats: stats{failed: failed},
		instances: instances{byName: make(map[string][]*Instance), places: share.New(maxInstances)},
	}
	t.requests = requests{
		set:     &t.set,
		repeats: pace.NewQueue[*request](RepeatsPerSecond, set.Wake),
		ends:    pace.NewQueue[*request](ClosingsPerSecond, set.Wake),
	}
	return t
}

// Metrics adds what is counted to a set.
func (t *Table) Metrics(set *tally.Set) {
	s := &t.stats
	set.Counter(&s.held, "events_held_total", "Events that waited for a new owner of their socket.")
	set.Counter(&s.handovers, "takeovers_total", "Sockets that another instance took over.")
	set.Counter(&s.died, "instances_died_total", "Instances that owned sockets here and fell silent.")
	set.Counter(&s.unheard, "instance_announcements_unheard_total",
		"Announcements of instances that did not count: there were too many instances of their group, or the same came just before.")
	set.Gauge(&t.waiting, "connects_waiting", "Sockets about which no service has decided yet.")
	set.LabelledCounters(s.asked[:], "connects_asked_again_total", "Connect requests that were published again, by reason.", "reason", reasonWords[:])
}
