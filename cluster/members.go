package cluster

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"partyline/bus"
	"partyline/subjects"
	"partyline/wire/msg"
)

// Member describes an edge.
type Member struct {
	ID       string
	Address  string // http://host:port for other edges; "": they cannot reach it
	Sockets  int
	Beat     time.Duration // since its last announcement; negative: this edge has not announced itself yet
	This     bool          // it is this edge
	Silent   bool          // it has counted as dead for less than a minute
	Draining bool          // it takes no new sessions
}

// maxEdges bounds the list of other edges. Each edge receives a beat a second of each other one, so far fewer can
// work.
const maxEdges = 1024

var errTooManyEdges = fmt.Errorf("%d others are in the list", maxEdges)

// members are the other edges.
type members struct {
	verifier msg.Verifier
	reports  map[string]*report // of those that live, or died less than forgetAfter ago
	heard    time.Time          // when one announced itself last
	forgiven time.Time          // when this edge itself could not receive last
}

// report is the last announcement of another edge.
type report struct {
	Member              // without Beat and Silent, which Members computes
	hostPort  string    // where it takes requests; "": nowhere
	first     time.Time // when it announced itself first
	heard     time.Time // when last
	silent    time.Time // since when it counts as dead; zero while it lives
	announced bool      // its death has been announced
}

// lives reports whether the edge does, as far as its announcements show. r may be nil.
func (r *report) lives() bool { return r != nil && r.silent.IsZero() }

// handleAnnouncement updates the list from an announcement.
func (c *Cluster) handleAnnouncement(m *bus.Message, sub *subjects.Subject) {
	now := time.Now()
	c.mu.Lock()
	if c.set.Secret == "" && sub.Edge != c.set.ID && c.members.reports[sub.Edge] == nil && len(c.members.reports) >= maxEdges { // before the body is read
		c.mu.Unlock()
		c.stats.unlisted.Inc()
		if !c.complaints.Busy() {
			c.complaints.Warn("ignored what was announced of a further edge", "", errTooManyEdges)
		}
		return
	}
	a, err := c.members.verifier.Read(sub.Edge, sub.Word, m.Data, m.Header.Get(msg.HeaderSignature), now)
	c.mu.Unlock()
	r := &report{Member: Member{ID: sub.Edge, Sockets: a.Sockets, Draining: a.Draining}, first: now, heard: now}
	if err == nil && a.Address != "" {
		err = c.readAddress(r, a.Address)
	}
	switch {
	case err != nil && c.complaints.Busy():
		c.stats.ignored.Inc()
	case err != nil:
		c.stats.ignored.Inc()
		c.complaints.Warn("ignored an edge's announcement", m.Subject, err)
	case sub.Edge == c.set.ID:
		c.handleOwn(sub.Word, a, now)
	default:
		c.handleOther(sub.Word, r, a.By)
	}
}

// readAddress reads the address in another edge's announcement. One outside edges.networks is left out.
func (c *Cluster) readAddress(r *report, address string) error {
	hostPort, err := msg.EdgeHostPort(address)
	if err != nil {
		return err
	}
	if err := c.checkAnnounced(hostPort); err != nil {
		c.stats.outside.Inc()
		c.complaints.Log(slog.LevelWarn, "no request is passed on to another edge", hostPort, err.Error(),
			"other", r.ID, "at", hostPort, "error", err)
		return nil
	}
	r.hostPort, r.Address = hostPort, "http://"+hostPort
	return nil
}

// handleOther processes an announcement of another edge, or, with by, of its death.
func (c *Cluster) handleOther(word string, r *report, by string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ms, id := &c.members, r.ID
	known := ms.reports[id]
	switch word {
	case subjects.WordHello, subjects.WordBeat:
		if known == nil && len(ms.reports) >= maxEdges { // so many have the secret
			c.stats.unlisted.Inc()
			return
		}
		if !known.lives() {
			c.complaints.Log(slog.LevelInfo, "found another edge", id, "", "other", id)
		}
		if known != nil {
			r.first = known.first
		}
		ms.heard = r.heard
		ms.reports[id] = r
		if word == subjects.WordHello {
			c.beatNow.Raise()
		}
	case subjects.WordBye:
		if known.lives() {
			c.complaints.Log(slog.LevelInfo, "another edge left", id, "", "other", id)
		}
		if delete(ms.reports, id); len(ms.reports) == 0 { // no other edge is left for clients
			ms.heard = time.Time{}
		}
	case subjects.WordGone:
		if known.lives() {
			c.complaints.Log(slog.LevelInfo, "another edge was declared dead", id, "", "other", id, "by", by)
			known.silent = r.heard
		}
		if known != nil {
			known.announced = true
		}
	}
}

// handleOwn processes an announcement about this edge: its own, or another edge's that it has died. Own ones that are
// too far apart show that services cannot have received those between, even if no death was announced, or this edge
// could not receive that.
func (c *Cluster) handleOwn(word string, a msg.EdgeAnnouncement, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case word == subjects.WordGone:
		c.set.Log.Warn("another edge declared this one dead: it received no announcement for too long",
			"other", a.By)
		c.beatNow.Raise()
	case word == subjects.WordBye:
		return
	default:
		before := c.self.heardAt
		c.self.heardAt = a.At
		if before == 0 || a.At-before <= msg.DeadAfter.Milliseconds() {
			return
		}
		c.set.Log.Warn("services may have declared this edge dead: it could not announce itself for too long")
	}
	if now.Sub(c.self.missed) > msg.DeadAfter { // both ways to notice it come together
		c.self.missed = now
		c.set.Missed(word == subjects.WordGone)
	}
}

// forgive restarts all clocks of silence, because this edge itself could not receive. It forgets no address then,
// either.
func (c *Cluster) forgive(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members.forgiven = now
	for _, r := range c.members.reports {
		if !r.silent.IsZero() {
			r.silent = now
		}
	}
}

// expire finds edges that have died, and returns those whose death this edge must announce now. One that was heard for
// less than a beat is forgotten: no service can have relied on it, and anyone could have made it up.
func (c *Cluster) expire(now time.Time) (announce []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ms := &c.members
	for edge, r := range ms.reports {
		switch {
		case !r.lives() || min(now.Sub(r.heard), now.Sub(ms.forgiven)) <= msg.DeadAfter:
		case r.heard.Sub(r.first) < msg.BeatEvery:
			delete(ms.reports, edge)
		default:
			c.complaints.Log(slog.LevelWarn, "another edge has died", edge, "", "other", edge)
			r.silent = now
		}
	}
	wait := time.Duration(slices.Index(c.live(), c.set.ID)) * announceGap
	for edge, r := range ms.reports {
		switch silence := now.Sub(r.silent); {
		case r.lives():
		case silence > forgetAfter:
			delete(ms.reports, edge)
		case !r.announced && silence >= wait:
			r.announced = true
			announce = append(announce, edge)
		}
	}
	return announce
}

// Edges returns the ids of the live edges, this one included, sorted.
func (c *Cluster) Edges() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live()
}

// live is Edges. mu must be held.
func (c *Cluster) live() []string {
	all := []string{c.set.ID}
	for edge, r := range c.members.reports {
		if r.lives() {
			all = append(all, edge)
		}
	}
	slices.Sort(all)
	return all
}

// IsHeard reports whether an edge has announced itself within a time, which is at most the time after which it counts
// as dead.
func (c *Cluster) IsHeard(edge string, within time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.members.reports[edge]
	return edge == c.set.ID || r.lives() && time.Since(r.heard) <= within
}

// Members returns the live edges, this one included, and those that died less than a minute ago, sorted by id.
func (c *Cluster) Members() []Member {
	now, own := time.Now(), c.set.Sockets()
	c.mu.Lock()
	defer c.mu.Unlock()
	this := Member{ID: c.set.ID, Address: c.set.Address, Sockets: own, Beat: -1, This: true, Draining: c.draining.Load()}
	if !c.self.announced.IsZero() {
		this.Beat = now.Sub(c.self.announced)
	}
	all := []Member{this}
	for _, r := range c.members.reports {
		m := r.Member
		m.Beat, m.Silent = now.Sub(r.heard), !r.silent.IsZero()
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// hostPort returns where another edge takes requests; "" if it is unknown, has left, or cannot be reached.
func (c *Cluster) hostPort(edge string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.members.reports[edge]; r != nil {
		return r.hostPort
	}
	return ""
}

// Ready returns why clients should not come yet: until an edge has announced its address, the others forward nothing
// to it, and until it has received theirs, it forwards nothing to them. Instances that own sockets answer its first
// hello within that second, too.
func (c *Cluster) Ready() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := c.self.firstHello; !first.IsZero() && time.Since(first) >= msg.BeatEvery {
		return nil
	}
	return []string{"the instances of services and the other edges are being asked to announce themselves"}
}

// heardBefore bounds how old the last announcement of another edge may be when NATS is lost, for that edge to count.
const heardBefore = time.Minute

// HadOthers reports whether another edge lived when this one lost NATS. Such an edge may still have NATS and can do
// more for clients.
func (c *Cluster) HadOthers() bool {
	lost := c.set.Bus.LostAt()
	c.mu.Lock()
	defer c.mu.Unlock()
	heard := c.members.heard
	return !heard.IsZero() && lost.Sub(heard) <= heardBefore
}
