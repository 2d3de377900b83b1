package backend

import (
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// unconfirmed are the rooms that this instance has put sockets into, by admissions and joins, while no edge has
// confirmed it.
//
// An edge subscribes a room when its first socket enters it. Until that subscription is active at the NATS server, an
// event on the room's own subject does not reach the newcomer. So events to such a room are sent to all, with
// Sio-Rooms, which every edge with a socket in the namespace receives. That costs all of these edges, so it ends as
// soon as possible: when the edge answers, when NATS reports that the edge is not there, when the edge dies, and after
// unconfirmedFor in any case.
type unconfirmed struct {
	*connection
	log func(msg string, args ...any) // about too many rooms

	count atomic.Int64 // len(rooms), so that looking up nothing takes no lock
	wide  atomic.Int64 // until when (in nanoseconds since 1970) all rooms count as unconfirmed; 0: they do not

	mu        sync.RWMutex
	inbox     string                   // guarded by mu: prefix of the reply subjects; "": not subscribed yet
	sub       *nats.Subscription       // guarded by mu
	closed    bool                     // guarded by mu
	last      uint64                   // guarded by mu: number of the latest confirmation
	rooms     map[roomKey]roomState    // guarded by mu
	waiting   map[string]*confirmation // guarded by mu: by id
	kept      int                      // guarded by mu: rooms and requests of these
	confirmed map[roomAtEdge]time.Time // guarded by mu: asked for when
	tidied    time.Time                // guarded by mu: when tidy last looked
}

const (
	// unconfirmedFor is how long a room stays unconfirmed without an answer of the edge.
	unconfirmedFor = 5 * time.Second
	// confirmedFor is how long a room counts as subscribed by an edge that has confirmed it, from the request on. An
	// edge keeps the subscription for 2 seconds after its last member has gone (docs/subjects.md, Emitting to
	// clients).
	confirmedFor = time.Second
	// mostUnconfirmed is how many pairs of a room and a request for it are kept. Past that all rooms count as
	// unconfirmed for a while.
	mostUnconfirmed = 100_000
	// mostConfirmed is how many confirmed rooms are remembered.
	mostConfirmed = 100_000
)

// roomKey is a room of a namespace, both as in subjects.
type roomKey struct{ namespace, room string }

// roomAtEdge is a room of which an edge has a member.
type roomAtEdge struct {
	roomKey
	edge string
}

// roomState is what is known of an unconfirmed room.
type roomState struct {
	requests int
	until    time.Time // the latest end by time
}

// confirmation is what is waited for after one request.
type confirmation struct {
	id     string         // static
	edge   string         // static: where the socket is; "" for a request to all edges
	reply  string         // static: where the answer comes; "" for a request to all edges
	all    []roomKey      // static: the rooms of the request
	at     time.Time      // static: when the request was made
	answer chan *nats.Msg // capacity 1; nil if no caller waits

	rooms []roomKey // guarded by unconfirmed.mu: those of all that it keeps unconfirmed
}

func (u *unconfirmed) init(c *connection, log func(string, ...any)) {
	u.connection, u.log = c, log
	u.rooms, u.waiting = make(map[roomKey]roomState), make(map[string]*confirmation)
	u.confirmed = make(map[roomAtEdge]time.Time)
}

// has reports whether events to a room, as in subjects, must be sent to all.
func (u *unconfirmed) has(namespace, room string) bool {
	wide := u.wide.Load()
	if u.count.Load() == 0 && wide == 0 {
		return false
	}
	if wide != 0 && time.Now().UnixNano() < wide {
		return true
	}
	u.mu.RLock()
	state, found := u.rooms[roomKey{namespace, room}]
	u.mu.RUnlock()
	return found && time.Now().Before(state.until)
}

// begin notes that sockets are about to be put into rooms. It must be called before the request is published. edge is
// where the socket is, "" for a request to all edges, whose answers the caller takes. asks gives the caller the
// answer. begin returns nil, for nothing to wait for, if the edge has confirmed all rooms just now and asks is false.
func (u *unconfirmed) begin(namespace string, names []string, edge string, asks bool) (*confirmation, error) {
	c := &confirmation{edge: edge, at: time.Now()}
	for _, name := range names {
		tail, err := subjects.AppendRoom(nil, name)
		if err != nil {
			return nil, because(BadArguments, err, "room %.64q", name)
		}
		c.all = append(c.all, roomKey{namespace, string(tail)})
	}
	u.tidy(c.at)
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, room := range c.all {
		if edge == "" || c.at.Sub(u.confirmed[roomAtEdge{room, edge}]) >= confirmedFor {
			c.rooms = append(c.rooms, room)
		}
	}
	if len(c.rooms) == 0 && !asks {
		return nil, nil
	}
	if edge != "" && u.sub == nil {
		if u.closed {
			return nil, failure(Closed, "the service is closed")
		}
		inbox := u.nc.NewInbox() + "."
		sub, err := u.subscribe(inbox+"*", "", u.answered)
		if err != nil {
			return nil, err
		}
		u.inbox, u.sub = inbox, sub
	}
	u.last++
	if c.id = strconv.FormatUint(u.last, 36); edge != "" {
		c.reply = u.inbox + c.id
	}
	if asks {
		c.answer = make(chan *nats.Msg, 1)
	}
	if u.kept+c.size() > mostUnconfirmed {
		if u.wide.Swap(c.at.Add(unconfirmedFor).UnixNano()) == 0 {
			u.log("edges do not confirm joins as fast as they are asked for: for some seconds events to rooms are sent to all edges",
				"rooms", len(u.rooms))
		}
		if c.rooms = nil; c.answer == nil {
			return c, nil
		}
	}
	u.waiting[c.id] = c
	u.kept += c.size()
	for _, room := range c.rooms {
		u.rooms[room] = roomState{u.rooms[room].requests + 1, c.at.Add(unconfirmedFor)}
	}
	u.count.Store(int64(len(u.rooms)))
	return c, nil
}

// size is what a confirmation counts of mostUnconfirmed.
func (c *confirmation) size() int { return len(c.all) + 1 }

// tidy ends, at most once a second, what has waited for too long. A caller that waits for its answer may still get it
// later than unconfirmedFor.
func (u *unconfirmed) tidy(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.Sub(u.tidied) < time.Second {
		return
	}
	u.tidied = now
	for _, c := range u.waiting {
		if now.Sub(c.at) >= max(unconfirmedFor, u.wait) {
			u.end(c)
		}
	}
	maps.DeleteFunc(u.confirmed, func(_ roomAtEdge, at time.Time) bool { return now.Sub(at) >= confirmedFor })
	if now.UnixNano() >= u.wide.Load() {
		u.wide.Store(0)
	}
}

// end forgets a confirmation that has come, or is not worth waiting for. mu must be held.
func (u *unconfirmed) end(c *confirmation) {
	if u.waiting[c.id] == c {
		delete(u.waiting, c.id)
		u.kept -= c.size()
		u.release(c)
	}
}

// release ends that a confirmation keeps its rooms unconfirmed. mu must be held.
func (u *unconfirmed) release(c *confirmation) {
	for _, room := range c.rooms {
		state := u.rooms[room]
		if state.requests--; state.requests == 0 {
			delete(u.rooms, room)
		} else {
			u.rooms[room] = state
		}
	}
	c.rooms = nil
	u.count.Store(int64(len(u.rooms)))
}

// answered handles a message for a confirmation: an edge's answer, its error, or NATS's report that the edge is not
// there. Anything else, such as the PubAck of a stream that records the request, confirms nothing.
func (u *unconfirmed) answered(m *nats.Msg) {
	a, bad := msg.ParseAnswer(m.Data)
	fails := answerError(m) != nil
	if bad != nil && !fails {
		return
	}
	u.mu.RLock()
	c := u.waiting[m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]]
	u.mu.RUnlock()
	if c == nil {
		return
	}
	var edges []string
	if !fails && a.Sockets > 0 {
		edges = []string{a.Edge}
	}
	u.finish(c, edges)
	if c.answer != nil {
		c.answer <- m // has room: no other answer finds c
	}
}

// finish ends a confirmation: edges have confirmed its rooms, or, if there are none, its request has failed.
func (u *unconfirmed) finish(c *confirmation, edges []string) {
	if c == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, edge := range edges {
		for _, room := range c.all {
			if len(u.confirmed) < mostConfirmed {
				u.confirmed[roomAtEdge{room, edge}] = c.at
			}
		}
	}
	u.end(c)
}

// edgeDied ends that rooms are unconfirmed because of an edge that will not answer any more.
func (u *unconfirmed) edgeDied(edge string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.waiting {
		if c.edge == edge {
			u.release(c)
		}
	}
}

// close ends everything.
func (u *unconfirmed) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	if u.sub != nil {
		_ = u.sub.Unsubscribe()
	}
	for _, c := range u.waiting {
		u.end(c)
	}
}

// isNoResponders reports whether a message is NATS's report that a published message has no subscriber.
func isNoResponders(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }
