// Package edge gives Engine.IO sessions their Socket.IO meaning: sockets, namespaces, rooms, acks, and relay rules,
// all of it in terms of publishes on NATS subjects (docs/subjects.md).
//
// Up: connection.Message → sio.Parse → the event's subject → bus.Publish, on the goroutine that reads from the client.
// Down: bus.Run → Edge.handle → the room's members → one eio.Frame → each session's queue; and when nothing more
// waits, Edge.flush writes to the clients. All of it is done by the NATS reader: one message after the other, mostly
// on the goroutine that reads from NATS. It never waits: whatever needs an answer from NATS goes through an outbox to
// the bus's worker.
package edge

import (
	"log/slog"
	"sync/atomic"
	"time"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/edge/presence"
	"partyline/edge/recovery"
	"partyline/edge/registry"
	"partyline/internal/bearer"
	"partyline/internal/wake"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
)

// Settings is what an Edge needs.
type Settings struct {
	ID             string                    // see ids.NewEdge
	Prefix         subjects.Prefix           // of every subject
	Replies        subjects.Replies          // where requests are answered
	Namespaces     map[string]rule.Namespace // by name or pattern
	Limits         Limits
	ConnectTimeout time.Duration // how long a session may be without a namespace
	MaxPayload     func() int    // the largest event with its attachments, in bytes
	Bus            *bus.Bus
	Log            *slog.Logger

	Journal recovery.Store                               // of namespaces with a log; nil if there are none
	Stream  string                                       // the name of the log
	IsHeard func(edge string, within time.Duration) bool // whether another edge has announced itself
	Silence time.Duration                                // how long a broken connection may look alive
	Edges   func() []string                              // lists the live edges, this one included
	Token   Token

	key [32]byte // of the public names of sessions; New draws it
}

// Keys verify tokens. Package token implements it.
type Keys interface {
	// TryVerify returns what a token grants, which one of the named issuers must have made. An error is for the
	// client. waits: its key is not there yet; call Verify. It never waits.
	TryVerify(issuers []string, token string) (issuer string, g msg.Grant, waits bool, err error)
	// Verify calls then once with what a token grants, which one of the named issuers must have made: before it
	// returns if its key is known, else on another goroutine when keys have been fetched, within a time at the latest.
	// It never waits. An error is for the client; one that may pass is a temporary.
	Verify(issuers []string, token string, within time.Duration, then func(issuer string, g msg.Grant, err error))
}

// Token is how clients show tokens.
type Token struct {
	From  bearer.Places // where one is looked for when a client connects
	Event string        // by which a client shows a new one
	Grace time.Duration // how long a socket lives on when its grant has expired
	Keys  Keys          // nil: no namespace asks for tokens
}

// Edge holds the sockets of one process.
type Edge struct {
	set        Settings
	prefix     subjects.Prefix
	rules      *rule.Book
	limits     atomic.Pointer[Limits]
	out        bus.Outbox    // all that the way down may use: it never waits
	up         bus.Publisher // for readers of clients and the bus's worker
	stats      stats
	complaints *complaints

	// reg knows who is where. Its lock may be taken while a connection's is held, and the outbox's and that of owners
	// while it is.
	reg    *registry.Registry[client]
	owners *owner.Table // has a lock of its own, which may be taken while that of reg or of a connection is held
	wake   wake.Flag    // something is due earlier than Attend expects

	presence *presence.Table // nil if no room shows who is in it

	down
}

// down is the way from NATS to clients.
type down struct {
	logged   logged
	fanout   fanout
	rewinds  *rewinds
	answers  *answers
	commands *commands
	grants   *grants
	asks     *asks
	pauses   *pauses
}

// Sockets is the number of sockets now.
func (e *Edge) Sockets() int { return e.reg.Sockets() }

// Namespaces returns how many sockets each namespace has now; nil if there are more than most.
func (e *Edge) Namespaces(most int) map[string]int { return e.reg.Namespaces(most) }

// Rooms is the number of rooms with a member now.
func (e *Edge) Rooms() int { return e.reg.Rooms() }

// MayAnswer reports whether a request of other packages has a reply subject that may be answered. It counts and logs
// those that may not. It never waits.
func (e *Edge) MayAnswer(m *bus.Message) bool { return m.Reply != "" && !e.answers.withholds(m) }
