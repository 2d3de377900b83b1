package backend

import (
	"container/list"
	"strconv"
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
	inbox     string                      // guarded by mu: prefix of the reply subjects; "": not subscribed yet
	sub       *nats.Subscription          // guarded by mu
	closed    bool                        // guarded by mu
	last      uint64                      // guarded by mu: number of the latest confirmation
	rooms     map[roomKey]roomState       // guarded by mu
	waiting   map[string]*confirmation    // guarded by mu: by reply subject
	oldest    list.List                   // guarded by mu: all confirmations, in the order in which they end by time
	kept      int                         // guarded by mu: rooms of these
	confirmed [2]map[roomAtEdge]time.Time // guarded by mu: asked for when; of this second, and of the one before
	since     time.Time                   // guarded by mu: when confirmed[0] was begun
	logged    time.Time                   // guarded by mu: when too many rooms were logged last
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
	// mostConfirmed is how many confirmed rooms a second are remembered.
	mostConfirmed = 50_000
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
	edge   string         // static: where the socket is; "" for a request to all edges
	reply  string         // static: where the answer comes; "" for a request to all edges
	all    []roomKey      // static: the rooms of the request
	at     time.Time      // static: when the request was made
	answer chan *nats.Msg // capacity 1; nil if no caller waits

	rooms []roomKey     // guarded by unconfirmed.mu: those of all that it keeps unconfirmed
	place *list.Element // guarded by unconfirmed.mu: in unconfirmed.oldest; nil once its rooms are unconfirmed no longer
	alone bool          // guarded by unconfirmed.mu: the caller waits for answer no longer
}

func (u *unconfirmed) init(c *connection, log func(string, ...any)) {
	u.connection, u.log = c, log
	u.rooms, u.waiting = make(map[roomKey]roomState), make(map[string]*confirmation)
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
// where the socket is, "" for a request to all edges, whose answers the caller takes. asks makes the edge answer to
// reply. begin returns nil, for nothing to wait for, if the edge has confirmed all rooms just now and asks is false.
func (u *unconfirmed) begin(namespace string, names []string, edge string, asks bool) (*confirmation, error) {
	c := &confirmation{edge: edge, at: time.Now()}
	for _, name := range names {
		tail, err := subjects.AppendRoom(nil, name)
		if err != nil {
			return nil, because(BadArguments, err, "room %.64q", name)
		}
		c.all = append(c.all, roomKey{namespace, string(tail)})
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.expire(c.at)
	for _, room := range c.all {
		if edge == "" || !u.isConfirmed(roomAtEdge{room, edge}, c.at) {
			c.rooms = append(c.rooms, room)
		}
	}
	if len(c.rooms) == 0 && !asks {
		return nil, nil
	}
	if edge != "" {
		if err := u.listen(); err != nil {
			return nil, err
		}
		u.last++
		c.reply = u.inbox + strconv.FormatUint(u.last, 36)
		u.waiting[c.reply] = c
	}
	if asks {
		c.answer = make(chan *nats.Msg, 1)
	}
	u.add(c)
	return c, nil
}

// add makes the rooms of a confirmation unconfirmed. mu must be held.
func (u *unconfirmed) add(c *confirmation) {
	c.place = u.oldest.PushBack(c)
	if u.kept += len(c.all); u.kept+u.oldest.Len() > mostUnconfirmed {
		u.wide.Store(c.at.Add(unconfirmedFor).UnixNano())
		c.rooms = nil
		if c.at.Sub(u.logged) >= time.Minute {
			u.logged = c.at
			u.log("edges do not confirm joins as fast as they are asked for: for some seconds events to rooms are sent to all edges",
				"rooms", len(u.rooms))
		}
		if c.answer == nil {
			u.end(c)
		}
		return
	}
	until := c.at.Add(unconfirmedFor)
	for _, room := range c.rooms {
		u.rooms[room] = roomState{u.rooms[room].requests + 1, until}
	}
	u.count.Store(int64(len(u.rooms)))
}

// end forgets a confirmation that has come, or is not worth waiting for. mu must be held.
func (u *unconfirmed) end(c *confirmation) {
	delete(u.waiting, c.reply)
	u.forget(c)
}

// forget ends that a confirmation keeps its rooms unconfirmed. mu must be held.
func (u *unconfirmed) forget(c *confirmation) {
	if c.place == nil {
		return
	}
	u.oldest.Remove(c.place)
	u.kept -= len(c.all)
	for _, room := range c.rooms {
		state := u.rooms[room]
		if state.requests--; state.requests == 0 {
			delete(u.rooms, room)
		} else {
			u.rooms[room] = state
		}
	}
	c.rooms, c.place = nil, nil
	u.count.Store(int64(len(u.rooms)))
}

// release ends that a confirmation keeps its rooms unconfirmed. A caller that waits for the answer may still get it.
// mu must be held.
func (u *unconfirmed) release(c *confirmation) {
	if c.answer != nil && !c.alone {
		u.forget(c)
	} else {
		u.end(c)
	}
}

// expire ends what has waited for too long. mu must be held.
func (u *unconfirmed) expire(now time.Time) {
	for first := u.oldest.Front(); first != nil; first = u.oldest.Front() {
		c := first.Value.(*confirmation)
		if now.Sub(c.at) < unconfirmedFor {
			break
		}
		u.release(c)
	}
	if wide := u.wide.Load(); wide != 0 && now.UnixNano() >= wide {
		u.wide.Store(0)
	}
	if now.Sub(u.since) >= confirmedFor {
		u.confirmed[0], u.confirmed[1], u.since = nil, u.confirmed[0], now
	}
}

// tidy ends what has waited for too long.
func (u *unconfirmed) tidy(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.expire(now)
}

// isConfirmed reports whether an edge is known to subscribe a room. mu must be held.
func (u *unconfirmed) isConfirmed(room roomAtEdge, now time.Time) bool {
	at := u.confirmed[0][room]
	if at.IsZero() {
		at = u.confirmed[1][room]
	}
	return now.Sub(at) < confirmedFor
}

// confirm notes that an edge subscribes the rooms of a request. mu must be held.
func (u *unconfirmed) confirm(c *confirmation, edge string) {
	if u.confirmed[0] == nil {
		u.confirmed[0] = make(map[roomAtEdge]time.Time)
	}
	for _, room := range c.all {
		if len(u.confirmed[0]) < mostConfirmed {
			u.confirmed[0][roomAtEdge{room, edge}] = c.at
		}
	}
}

// listen subscribes the inbox for answers, once. mu must be held.
func (u *unconfirmed) listen() error {
	if u.closed {
		return failure(Closed, "the service is closed")
	}
	if u.sub != nil {
		return nil
	}
	inbox := u.nc.NewInbox() + "."
	sub, err := u.subscribe(inbox+"*", "", u.answered)
	if err != nil {
		return err
	}
	u.inbox, u.sub = inbox, sub
	return nil
}

// answered handles a message for a confirmation: an edge's answer, its error, or NATS's report that the edge is not
// there. Anything else, such as the PubAck of a stream that records the request, confirms nothing.
func (u *unconfirmed) answered(m *nats.Msg) {
	a, bad := msg.ParseAnswer(m.Data)
	fails := isNoResponders(m) || answerError(m.Header) != nil
	if bad != nil && !fails {
		return
	}
	u.mu.Lock()
	c := u.waiting[m.Subject]
	if c == nil {
		u.mu.Unlock()
		return
	}
	if !fails && a.Sockets > 0 {
		u.confirm(c, a.Edge)
	}
	u.end(c)
	u.mu.Unlock()
	if c.answer != nil {
		c.answer <- m // has room: no other answer finds c
	}
}

// finish ends a confirmation whose answers the caller has taken, or whose request was not sent.
func (u *unconfirmed) finish(c *confirmation, edges []string) {
	if c == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, edge := range edges {
		u.confirm(c, edge)
	}
	u.end(c)
}

// giveUp ends the caller's waiting. The confirmation stays if it keeps rooms unconfirmed.
func (u *unconfirmed) giveUp(c *confirmation) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if c.alone = true; len(c.rooms) == 0 {
		u.end(c)
	}
}

// edgeDied ends what an edge will not answer any more.
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
	for first := u.oldest.Front(); first != nil; first = u.oldest.Front() {
		u.end(first.Value.(*confirmation))
	}
}

// isNoResponders reports whether a message is NATS's report that a published message has no subscriber.
func isNoResponders(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }

// reply answers a connect request. An edge confirms the rooms of an admission. namespace is as in subjects.
func (u *unconfirmed) reply(namespace, to string, header nats.Header, d *decision) error {
	m := &nats.Msg{Subject: to, Header: header, Data: d.body}
	var c *confirmation
	if edge, _, ok := subjects.SplitSocketID(d.id); ok && len(d.rooms) > 0 {
		var err error
		if c, err = u.begin(namespace, d.rooms, edge, false); err != nil {
			return err
		}
		if c != nil {
			m.Reply = c.reply
		}
	}
	err := u.publish(m)
	if err != nil {
		u.finish(c, nil)
	}
	return err
}

// toRoom reports whether an event to one room may be sent on the room's own subject. room is as in subjects.
func (t Target) toRoom(room string) bool {
	return !t.ns.svc.unconfirmed.has(t.ns.token, room)
}
