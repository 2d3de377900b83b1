// Package presence shows who is in rooms (docs/subjects.md, Presence).
//
// Each edge publishes which of its sockets enter and leave a room, and keeps, edge by edge, the members of the rooms in
// which it has sockets itself. Its clients get the differences.
//
//	a socket changes ──▶ Touch ──▶ every 100 ms: what is different from what was published ──▶ all edges
//	all edges, this one, too ──▶ Handle ──▶ every 100 ms: what is different from what clients have ──▶ clients
//
// Both halves compare what is with what was told, so the order of Touch does not matter. What has changed and is again
// as it was is published, too: an edge that read the room meanwhile got something else.
package presence

import (
	"context"
	"sync"
	"time"

	"partyline/internal/members"
	"partyline/internal/tally"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// every is the least time between two messages about a room.
	every = 100 * time.Millisecond
	// grace is how long a socket whose client may recover stays a member.
	grace = 3 * time.Second
	// linger is how long an edge keeps the members of a room in which it has no socket any more.
	linger = 2 * time.Second
	// restartEvery is how often all is published and read again at most, if messages are lost.
	restartEvery = 5 * time.Second
	// maxListed is how many sockets are in one message.
	maxListed = 100
)

// Wire is how a Table speaks to the edge and to NATS. All but Run calls it within Exclusive, and nothing may block.
type Wire interface {
	// Exclusive runs fn while nothing from NATS is handled.
	Exclusive(fn func()) bool
	// Look returns how a socket is now; the zero Socket if no member has the id.
	Look(id string) members.Socket
	// Publish publishes a message.
	Publish(subject string, body []byte)
	// Read publishes the question who is in a room, once what was subscribed before is active.
	Read(p members.Place, reply string)
	// Subscribe and Unsubscribe change what this edge receives.
	Subscribe(subject string)
	Unsubscribe(subject string)
	// Deliver hands the body of an event to the sockets of this edge that are in a room.
	Deliver(p members.Place, body []byte)
	// Connected reports whether there is a connection to NATS, and Losses counts what may have cost messages.
	Connected() bool
	Losses() uint64
	// Edges lists the live edges, this one included.
	Edges() []string
	// MaxPayload is the largest message in bytes that NATS takes.
	MaxPayload() int
}

// Table is what an edge knows of the members of rooms. It is guarded by Wire.Exclusive.
type Table struct {
	edge   string // its id
	prefix subjects.Prefix
	wire   Wire

	mu      sync.Mutex      // may be taken while any lock of the edge is held
	touched members.Changes // guarded by mu

	own       *members.Own
	rooms     map[members.Place]*room
	changed   map[*room]bool   // rooms to look at: something came, they are being read, or this edge has no socket in them
	due       map[*room]bool   // rooms to read
	readings  map[string]*room // rooms that are being read, by the end of the reply subject
	edges     members.Edges    // as of the last look
	losses    uint64           // Wire.Losses when all was published
	restarted time.Time        // when that was
	stats     struct{ published, read, unread tally.Counter }
}

// New makes a Table. Run must be called.
func New(edge string, prefix subjects.Prefix, wire Wire) *Table {
	return &Table{
		edge: edge, prefix: prefix, wire: wire, touched: make(members.Changes), own: members.NewOwn(edge),
		rooms: make(map[members.Place]*room), changed: make(map[*room]bool), due: make(map[*room]bool), readings: make(map[string]*room),
	}
}

// Touch notes what may have changed of a socket. mayRecover: its client may come back in time. It never waits.
func (t *Table) Touch(id string, c members.Change, mayRecover bool) {
	if mayRecover {
		time.AfterFunc(grace, func() { t.Touch(id, c, false) })
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.touched.Add(id, c)
}

// room is who is in one room.
type room struct {
	members.Place
	*members.Room
	rules *rule.Rules
	used  time.Time // when a socket of this edge was in it, or a client asked
	asks  []func(msg.Presence)

	// Of the question to all edges who is in the room.
	isRead bool   // there was an answer
	token  string // the end of the reply subject; "": none is under way
	until  time.Time
}

// Run publishes, and tells clients, until ctx ends. t may be nil.
func (t *Table) Run(ctx context.Context) {
	for t != nil && ctx.Err() == nil {
		select { // two looks are never closer
		case <-ctx.Done():
		case <-time.After(every):
		}
		t.wire.Exclusive(func() { t.look(time.Now()) })
	}
}

// look publishes what has changed here, and tells clients what has changed anywhere.
func (t *Table) look(now time.Time) {
	if !t.wire.Connected() {
		return
	}
	areOther, isStale := t.edges.Compare(t.wire.Edges())
	if losses := t.wire.Losses(); losses != t.losses && now.Sub(t.restarted) >= restartEvery {
		t.losses, t.restarted, isStale = losses, now, true
		for _, id := range t.own.Restart() {
			t.Touch(id, members.Change{Reason: members.ReasonGone}, false)
		}
	}
	t.mu.Lock()
	touched := t.touched
	t.touched = make(members.Changes)
	t.mu.Unlock()
	t.own.Compare(touched, t.wire.Look)
	most := max(1, min(maxListed, t.wire.MaxPayload()>>12)) // a socket has at most 4 KiB
	t.own.Take(most, func(p members.Place, rules *rule.Rules) {
		r := t.room(p, rules)
		r.used, t.changed[r] = now, true
	}, func(p members.Place, m msg.RoomMembers) {
		t.stats.published.Inc()
		t.wire.Publish(string(t.prefix.AppendToRoom(nil, p.Namespace, subjects.VerbMember, p.Room)), m.Body())
	})
	if areOther || isStale {
		for _, r := range t.rooms {
			t.changed[r] = true
			if isStale {
				t.due[r] = true
			}
		}
	}
	for r := range t.changed {
		t.visit(r, now)
	}
	t.readDue(now)
}

// visit tells clients what has changed in a room, and forgets a room that is of no use any more.
func (t *Table) visit(r *room, now time.Time) {
	isIn := t.own.Has(r.Place)
	if !isIn && now.Sub(r.used) >= linger && len(r.asks) == 0 {
		delete(t.readings, r.token)
		delete(t.rooms, r.Place)
		delete(t.changed, r)
		delete(t.due, r)
		t.wire.Unsubscribe(t.interest(r))
		return
	}
	t.endReading(r, now)
	if news, is := r.News(); is {
		news.Room, _ = subjects.Room(r.Place.Room) // an edge's token
		t.wire.Deliver(r.Place, news.Event(r.rules.Presence.Event))
	}
	if r.answer(); isIn && r.token == "" {
		delete(t.changed, r)
	}
}

// room returns a room, and begins to look after it if need be.
func (t *Table) room(p members.Place, rules *rule.Rules) *room {
	r := t.rooms[p]
	if r == nil {
		r = &room{Place: p, Room: members.New(rules), rules: rules, used: time.Now()}
		t.rooms[p], t.changed[r], t.due[r] = r, true, true
		t.wire.Subscribe(t.interest(r))
	}
	return r
}

// interest is what is subscribed for a room.
func (t *Table) interest(r *room) string {
	return t.prefix.MemberInterest(r.Namespace, r.Place.Room, r.rules.IsLogged())
}

// Handle takes what an edge has published about a room. The NATS reader calls it.
func (t *Table) Handle(p members.Place, body []byte) error {
	m, err := msg.ParseMembers(body)
	if r := t.rooms[p]; err == nil && r != nil {
		if t.changed[r] = true; !r.Apply(&m) {
			t.due[r] = true
		}
	}
	return err
}

// Ask calls answer with the list of a room's members, at once or when it has been read. It is called within
// Wire.Exclusive, and so is answer.
func (t *Table) Ask(p members.Place, rules *rule.Rules, answer func(msg.Presence)) {
	r := t.room(p, rules)
	r.asks = append(r.asks, answer)
	r.answer()
}

// answer answers the clients that have asked for the list, once there is one: it is what the others have by now.
func (r *room) answer() {
	if !r.isRead || len(r.asks) == 0 {
		return
	}
	list := r.List()
	list.Room, _ = subjects.Room(r.Place.Room)
	for _, answer := range r.asks {
		answer(list)
	}
	r.asks = nil
}

// Metrics adds what is counted to a set.
func (t *Table) Metrics(set *tally.Set) {
	set.Counter(&t.stats.published, "presence_published_total", "Messages that this edge published about the members of rooms.")
	set.Counter(&t.stats.read, "presence_reads_total", "Times this edge asked all edges who is in a room.")
	set.Counter(&t.stats.unread, "presence_reads_failed_total", "Times an edge that lives did not answer; tried again.")
}
