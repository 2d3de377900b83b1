package edge

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/edge/recovery"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/internal/countdown"
	"partyline/rule"
	"partyline/wire/eio"
	"partyline/wire/msg"
	wire "partyline/wire/recovery"
	"partyline/wire/sio"
)

// socket is one session in one namespace. Its Edge is a client.
type socket = registry.Socket[client]

// client is what the edge keeps with a socket.
type client struct {
	conn   *connection // static
	rules  *rule.Rules // of its namespace; static
	auth   []byte      // what the client gave as auth, a JSON object; nil for nothing; static
	issued time.Time   // when the client asked to connect; static
	group  string      // written before it is a member, static then: of services that get its events; "": all do
	// owner is set until it is a member, and static then: while services are asked about it, and if an instance owns
	// it.
	owner *owner.Socket

	durable
	granted atomic.Pointer[granted] // nil: nothing; set before it is a member, if a token opened the namespace

	asking       bool         // guarded by conn.mu: services are asked about it
	announced    bool         // guarded by conn.mu: announce has run
	overdue      bool         // guarded by conn.mu: it has waited too long, and the session has another live socket
	repeated     bool         // guarded by conn.mu: services were asked about it more than once
	noticed      bool         // guarded by conn.mu: all services got a notice of an owned socket, and NATS may report no subscriber
	waiting      []*eio.Frame // guarded by conn.mu: frames that came before CONNECT
	waitingBytes int          // guarded by conn.mu
	asked        []*question  // guarded by conn.mu: whose acks are awaited, in the order of their ids
}

// durable is what a socket of a logged namespace has.
type durable struct {
	ticket    *recovery.Ticket // lets the client come back; set by enter, static then; nil where the namespace has no recovery
	recovered *recovered       // of a socket that was taken over; static; nil for others
	past      *past            // what it gets of rooms that it enters; static; nil where the namespace has no rewind
}

// connection is what a session means in Socket.IO: its sockets. It is the session's Receiver.
//
// A packet of its client takes no lock of the whole edge: sockets and what is in them are read atomically. What must
// go together with a frame to the client, such as CONNECT and a socket's becoming live, happens with mu held, so a
// socket's life only changes then.
type connection struct {
	edge    *Edge
	session *engine.Session
	request []byte                    // the members of the handshake that stay the same, as JSON; static
	dialect dialect                   // written by the session's reader before there is any socket, static then
	sockets atomic.Pointer[[]*socket] // replaced as a whole with mu held
	hold    atomic.Pointer[hold]      // what waits while the session is paused, nil while it is not; written with pauses.mu held
	partial *partial                  // owned by the session's reader: a packet whose attachments have not all come
	entered time.Time                 // owned by the session's reader: see pace

	progress atomic.Int32 // of partial; see Beat

	// idle ends a session that joins no namespace in time. It stands still while services are asked about its sockets.
	idle countdown.Timer

	mu      sync.Mutex
	closed  bool // guarded by mu: the session has ended, no socket may begin
	waiting int  // guarded by mu: bytes that wait for the CONNECT of one of its sockets
	joining int  // guarded by mu: joins, leaves and renewals of the client that are not answered yet
	admission
}

// admission is what a connection keeps of sockets that there are not yet, and of what opens namespaces.
type admission struct {
	shown    string       // the token that came with the session's first request, or ""; static
	arriving []string     // guarded by mu: namespaces whose CONNECT waits for a socket to come back, or for a token's key
	again    []sio.Packet // guarded by mu: CONNECTs that wait for the decision about an earlier one; they own their bytes
	denials  time.Time    // guarded by mu: see countDenied
}

// past is what a socket keeps in a namespace with rewind. The NATS reader owns it, so rooms change within
// Bus.Exclusive.
//
//	join ──▶ muted ──▶ mark ──▶ waiting ──▶ read ──▶ live
//
// While a room is muted, the socket gets none of its events: the log has them. From the mark on all that comes for the
// socket waits, until the room's events up to the mark have been read and sent.
type past struct {
	stays   []wire.Span // in which rooms it is, and so which events it has got
	ended   []wire.Span // the same of rooms that it has left
	read    uint64      // up to here the log was read for it
	rewinds []*rewind   // rooms whose past it has not got yet
	waiting []waiting
	bytes   int // guarded by conn.mu: of the frames in waiting
}

// rewind is a room that a socket has entered.
type rewind struct {
	room string
	most int

	isMuted bool           // the mark is not back
	past    *recovery.Past // nil until it was read
	hasLeft bool           // the socket has left the room again
}

// waiting is a frame, or a room's past, that goes to a socket in its turn.
type waiting struct {
	frame  *eio.Frame
	rewind *rewind
}

// partial is a binary packet that waits for its attachments.
type partial struct {
	packet sio.Packet // Namespace and Data are copies
	got    [][]byte   // copies
	size   int        // bytes of Data and attachments
	cost   int        // charged to the session
}

// partialCost is the memory of a partial without its bytes.
const partialCost = 1 << 10

// Values of connection.progress.
const (
	nothingDue  int32 = iota
	partArrived       // attachments are due, and a part of the packet has come since the last heartbeat
	partOverdue       // none has
)

// question is an ask whose acks are awaited. There is no table: each socket knows what it was asked, and the caller
// that removes the question from the socket's list answers for it, so each is answered for once.
type question struct {
	id      uint64    // the ack id in the packet, the same for all sockets; static
	reply   string    // where the answers go; static
	many    bool      // to a room or to all: answers say which socket they are of; static
	sockets []*socket // who was asked; static

	mu    sync.Mutex  // may be taken while a connection's is held
	left  int         // guarded by mu: sockets that have not been answered for
	timer *time.Timer // guarded by mu; nil until all have been asked
}

// pause is the request of one instance that a socket's session sends no further events for a while.
type pause struct {
	socket   *socket
	instance string
	until    time.Time
}

// hold keeps what a paused session's client sends and must stay in order: events, and DISCONNECT and CONNECT behind
// them. It stands in front of owners, and there is one for a session while it is paused, and until all that is in it
// has been published. When it is full the session is not read any more (engine.Session.StopReading).
//
// The path of an event: the session's reader → Session.packet → connection.event → keep, if there is a hold. When no
// pause is left: the bus's worker → publish → connection.act → upward.publish. While there is a hold only the worker
// publishes, so the order stays.
//
// Its mu comes before that of an owned socket (owner.Socket) and a connection's. It is held while events are
// published, so the NATS reader never takes it: pauses change under pauses.mu.
type hold struct {
	conn   *connection // static
	pauses []pause     // guarded by pauses.mu
	paused atomic.Bool // whether there are pauses; written with pauses.mu held

	mu      sync.Mutex
	packets []heldPacket // guarded by mu: in order
	bytes   int          // guarded by mu: size of packets
	full    bool         // guarded by mu: the session is not read
	over    bool         // guarded by mu: the hold is empty and not the connection's any more
}

// heldPacket is a packet of a client that waits. It owns its bytes.
type heldPacket struct {
	socket      *socket // nil for a CONNECT
	packet      sio.Packet
	name, event string // the event's, as in scratch
	header      bus.Header
	body        []byte // with attachments; packet.Data is its beginning
}

// all lists the session's sockets. The list must not be changed, and does not change. It takes no lock.
func (c *connection) all() []*socket {
	if list := c.sockets.Load(); list != nil {
		return *list
	}
	return nil
}

// socket is the session's socket in a namespace, or nil. It takes no lock. The socket may be Gone by now.
func (c *connection) socket(namespace []byte) *socket {
	for _, s := range c.all() {
		if s.Namespace.Name == string(namespace) {
			return s
		}
	}
	return nil
}

// owned lists the sockets of a session, except one, that have an owner, or about which services are asked.
func owned(c *connection, except *socket) (list []*owner.Socket) {
	if all := c.all(); len(all) == 1 && all[0] == except {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.all() {
		if s != except && s.Edge.owner != nil {
			list = append(list, s.Edge.owner)
		}
	}
	return list
}

// isUsed reports whether the session has a socket that was admitted. It takes no lock.
func (c *connection) isUsed() bool {
	for _, s := range c.all() {
		if s.Life().IsMember() {
			return true
		}
	}
	return false
}

// appendHandshake appends the handshake of a socket as services read it, a JSON object.
func appendHandshake(dst []byte, s *socket) []byte {
	return msg.AppendHandshake(dst, s.ID, s.Edge.auth, s.Edge.issued, s.Edge.conn.session.Transport(), s.Edge.conn.request)
}

// invalid ends the session because of a packet that cannot be decoded.
func (c *connection) invalid(err error) {
	c.expel(engine.ForcedClose, "invalid packet, closing the session", "error", err)
}

// outOfTurn ends the session because of a packet that has no place in its state.
func (c *connection) outOfTurn(p sio.Packet) {
	c.expel(engine.ForcedServerClose, "packet out of turn, closing the session", "type", string(p.Type))
}

// expel ends the session and says why in the log, unless it has ended already: then its sockets are gone, and any
// packet that was on its way is out of turn.
func (c *connection) expel(reason engine.Reason, what, name string, value any) {
	c.mu.Lock()
	hasEnded := c.closed
	c.mu.Unlock()
	if !hasEnded {
		c.edge.set.Log.Info(what, name, value, "address", c.session.Address())
		c.session.Close(reason)
	}
}

// excess counts one more of what is free some times at once, and then once every so long. It returns by how much the
// count is above that; at most 0: it is not. counted keeps the count; its zero value is none.
func excess(counted *time.Time, free int, every time.Duration) time.Duration {
	now := time.Now()
	if earliest := now.Add(-time.Duration(free) * every); counted.Before(earliest) {
		*counted = earliest
	}
	*counted = counted.Add(every)
	return counted.Sub(now)
}

func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// dialect is how a client writes its packets, which is for its first message to show: with socket.io-msgpack-parser
// each packet is one binary message, with the default parser the first one, CONNECT, is text.
type dialect uint8

const (
	unheard       dialect = iota // the client has said nothing, and nothing is sent to it
	speaksJSON                   // the default parser
	speaksMsgpack                // socket.io-msgpack-parser
	dialects
)

// arrival is a CONNECT to a namespace that there may be.
type arrival struct {
	sio.Packet        // as the client sent it
	auth       []byte // what the client gave, without what is for the edge alone
	token      string // the namespace's, as in subjects
	rules      *rule.Rules
	shown      *granted  // what a token grants, where one opens the namespace
	back       *comeback // the end of a claim, or nil if there was none
}

// granted is what a socket was granted. It does not change: another takes its place.
type granted struct {
	msg.Grant        // Data is not used
	issuer    string // of the token; "": none
	subject   string // the user whom the token names
	timer     *time.Timer
}

// grant is what the client may do; nil: what its namespace allows.
func (c *client) grant() *msg.Grant {
	if g := c.granted.Load(); g != nil {
		return &g.Grant
	}
	return nil
}

// shown is what the token grants that opened the namespace; nothing if none did.
func (c *client) shown() (g msg.Grant) {
	if shown := c.granted.Load(); shown != nil {
		g = shown.Grant
	}
	return g
}

// stop ends the wait for its end. nil is nothing.
func (g *granted) stop() {
	if g != nil && g.timer != nil {
		g.timer.Stop()
	}
}

// record is what the record of a socket says of it.
func (g *granted) record() []byte {
	if g == nil {
		return nil
	}
	kept := g.Grant
	kept.User, kept.Data = "", nil
	return kept.JSON()
}
