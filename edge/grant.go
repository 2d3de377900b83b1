package edge

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"partyline/bus"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/internal/tally"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
)

// grants changes what sockets are and may do. Changes are made by the NATS reader, or between two of its messages.
type grants struct {
	*commands
	reg   *registry.Registry[client]
	grace time.Duration // how long a socket lives on when its grant has expired

	denied  [deniedKinds]tally.Counter
	expired tally.Counter
}

// begin keeps what a socket is admitted with; isMade: by a service or token. The connection's mu is held.
func (g *grants) begin(s *socket, grant msg.Grant, isMade bool) {
	next := granted{Grant: grant}
	if shown := s.Edge.granted.Load(); shown != nil {
		next.issuer, next.subject = shown.issuer, shown.subject
	} else {
		next.Rooms = nil // a service has joined them, and leaves them if it wants to
	}
	if r := s.Edge.recovered; r != nil && !isMade {
		had := r.grant()
		next.Inherit(&had)
		next.Rooms = append(had.Rooms, next.Rooms...)
	}
	g.keep(s, next)
}

// keep sets what a socket was granted, and ends its session some time after that has expired.
func (g *grants) keep(s *socket, of granted) {
	var next *granted // nil: it says nothing, and costs nothing
	if of.issuer != "" || of.Join != nil || of.Leave != nil || of.Emit != nil || of.Expires != 0 || len(of.Rooms) > 0 {
		next = &granted{Grant: of.Grant, issuer: of.issuer, subject: of.subject}
		next.Data = nil
	}
	if next != nil && next.Expires != 0 {
		next.timer = time.AfterFunc(farOff, func() { g.expire(s, next) })
	}
	s.Edge.granted.Swap(next).stop()
	if next != nil && next.timer != nil { // not before: it may end at once
		left := min(time.Until(time.Unix(next.Expires, 0)), farOff)
		next.timer.Reset(max(0, left+g.grace))
	}
	if s.Life() == registry.Gone {
		next.stop()
	}
}

// farOff is longer than any process runs.
const farOff = 100 * 365 * 24 * time.Hour

// expire closes the transport of a socket's session, so that the client comes back and shows what it has then.
func (g *grants) expire(s *socket, of *granted) {
	if s.Edge.granted.Load() != of || s.Life() == registry.Gone {
		return
	}
	g.expired.Inc()
	s.Edge.conn.session.Close(engine.ForcedServerClose)
}

// handle acts on the verb grant: what it names of each socket's grant changes.
func (g *grants) handle(m *bus.Message, sub *subjects.Subject) {
	change, has, err := msg.ParseChange(m.Data)
	if err != nil {
		g.reject(m, dropBadBody, err)
		return
	}
	change.Data = slices.Clone(change.Data)
	sockets, found := g.find(m, sub)
	switch {
	case !found:
	case sub.Target == subjects.TargetSocket && sockets[0].Life() < registry.Subscribing:
		// A service may answer the notice of an open namespace before the worker, which published it, has admitted.
		later, to := *m, *sub
		g.out.Do(func() { g.rewinds.exclusive(func() { g.change(&later, &to, sockets, &change, has) }) })
	default:
		g.change(m, sub, sockets, &change, has)
	}
}

// change changes the grants of sockets, and answers.
func (g *grants) change(m *bus.Message, sub *subjects.Subject, sockets []*socket, by *msg.Grant, has msg.Members) {
	g.changeEach(m, sub, sockets, "the grant of a socket could not be changed", func(s *socket) error {
		return g.replace(s, changed(s, by, has), by.Data)
	})
}

// changed is a socket's grant with other values of some members.
func changed(s *socket, by *msg.Grant, has msg.Members) *granted {
	var next granted
	if old := s.Edge.granted.Load(); old != nil {
		next = granted{Grant: old.Grant, issuer: old.issuer, subject: old.subject}
	}
	next.User = s.User()
	if by != nil {
		next.Replace(by, has)
	}
	return &next
}

// replace gives a member another grant, with its rooms, and data unless that is nil. With an error nothing has
// changed.
func (g *grants) replace(s *socket, next *granted, data []byte) error {
	if !s.Life().IsMember() {
		return errUnknownSocket
	}
	was := changed(s, nil, 0)
	before, _ := roomsOf(s.Edge.rules, &was.Grant)
	rooms, err := roomsOf(s.Edge.rules, &next.Grant)
	if err != nil {
		return err
	}
	if _, err := g.rewinds.join(s, rooms, byRule); err != nil {
		return err
	}
	own, _ := subjects.RoomTokens(s.Edge.rules.AutoJoin)
	left := slices.DeleteFunc(before, func(room string) bool { return slices.Contains(rooms, room) || slices.Contains(own, room) })
	if len(left) > 0 {
		g.rewinds.leave(s, left)
	}
	user := next.User
	g.keep(s, *next)
	if _, isMember := g.reg.Regrant(s, user, data); !isMember {
		return errUnknownSocket
	}
	return nil
}

// roomsOf lists, as in subjects, the rooms in which a socket is because of a grant.
func roomsOf(rules *rule.Rules, g *msg.Grant) ([]string, error) {
	names, err := rules.RoomsOf(g)
	if err != nil {
		return nil, err
	}
	return subjects.RoomTokens(names)
}

// What a client may not do.
const (
	deniedEmit = iota
	deniedJoin
	deniedLeave
	deniedKinds
)

var deniedWords = [deniedKinds]string{deniedEmit: "emit", deniedJoin: "join", deniedLeave: "leave"}

// denied is the error of what a client may not do.
type denied struct {
	kind int
	name []byte // of the room or event; valid while the packet is handled
}

func (d *denied) Error() string { return fmt.Sprintf("not allowed: %.100s", d.name) }

// A client may try what it may not freeDenials times at once, and then once every denialEvery. One that goes on is
// ended.
const (
	freeDenials = 100
	denialEvery = 100 * time.Millisecond
)

// countDenied counts what a client may not do, and ends its session if it goes on. Other errors, and nil, are no such
// thing.
func (c *connection) countDenied(err error) {
	var d *denied
	if !errors.As(err, &d) {
		return
	}
	c.edge.grants.denied[d.kind].Inc()
	c.mu.Lock()
	goesOn := excess(&c.denials, freeDenials, denialEvery) > 0
	c.mu.Unlock()
	if goesOn {
		c.expel(engine.ForcedServerClose, "a client goes on with what it may not do, closing the session", "error", err)
	}
}

func (g *grants) metrics(set *tally.Set) {
	set.LabelledCounters(g.denied[:], "denied_total", "What clients tried and may not do, by what it was.", "what", deniedWords[:])
	set.Counter(&g.expired, "grants_expired_total", "Sessions whose transport was closed because a grant had expired; their clients come back.")
}
