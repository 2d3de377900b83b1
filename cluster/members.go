package cluster

import (
	"fmt"
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

// report is the last announcement of another edge.
type report struct {
	Member              // without Beat and Silent, which Members computes
	hostPort  string    // where it takes requests; "": nowhere
	heard     time.Time // when
	silent    time.Time // since when it counts as dead; zero while it lives
	announced bool      // its death has been announced
}

// handleAnnouncement updates the list from an announcement.
func (c *Cluster) handleAnnouncement(m *bus.Message, sub *subjects.Subject) {
	now := time.Now()
	a, err := msg.ParseEdgeAnnouncement(m.Data)
	if err == nil && a.Edge != sub.Edge {
		err = fmt.Errorf("%w: its body names another edge than its subject", msg.ErrAnnouncement)
	}
	if err == nil && c.set.Secret != "" {
		err = msg.Verify(c.set.Secret, sub.Edge, sub.Word, m.Data, m.Header.Get(msg.HeaderSignature), now)
	}
	r := &report{Member: Member{ID: sub.Edge, Sockets: a.Sockets, Draining: a.Draining}, heard: now}
	if err == nil && a.Address != "" {
		r.hostPort, err = msg.EdgeHostPort(a.Address)
		r.Address = "http://" + r.hostPort
	}
	if err != nil {
		c.stats.ignored.Inc()
		c.complaints.Warn("ignored an edge's announcement", m.Subject, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if sub.Edge == c.set.ID {
		c.handleOwn(sub.Word, a, now)
		return
	}
	switch sub.Word {
	case subjects.WordHello, subjects.WordBeat:
		if c.others.Heard(sub.Edge, now) {
			c.set.Log.Info("found another edge", "other", sub.Edge)
		}
		c.heard = now
		c.reports[sub.Edge] = r
		if sub.Word == subjects.WordHello {
			c.beatSoon()
		}
	case subjects.WordBye:
		if c.others.Remove(sub.Edge) {
			c.set.Log.Info("another edge left", "other", sub.Edge)
		}
		if delete(c.reports, sub.Edge); len(c.reports) == 0 { // no other edge is left for clients
			c.heard = time.Time{}
		}
	case subjects.WordGone:
		if c.others.Remove(sub.Edge) {
			c.set.Log.Info("another edge was declared dead", "other", sub.Edge, "by", a.By)
		}
		if r := c.reports[sub.Edge]; r != nil {
			if r.announced = true; r.silent.IsZero() {
				r.silent = now
			}
		}
	}
}

// handleOwn processes an announcement about this edge: its own, or another edge's that it has died. Own ones that are
// too far apart show that services cannot have received those between, even if no death was announced, or this edge
// could not receive that. mu must be held.
func (c *Cluster) handleOwn(word string, a msg.EdgeAnnouncement, now time.Time) {
	switch {
	case word == subjects.WordGone:
		c.set.Log.Warn("another edge declared this one dead: it received no announcement for too long",
			"other", a.By)
		c.beatSoon()
	case word == subjects.WordBye:
		return
	default:
		before := c.ownAt
		c.ownAt = a.At
		if before == 0 || a.At-before <= msg.DeadAfter.Milliseconds() {
			return
		}
		c.set.Log.Warn("services may have declared this edge dead: it could not announce itself for too long")
	}
	if c.set.Missed != nil && now.Sub(c.missed) > msg.DeadAfter { // both ways to notice it come together
		c.missed = now
		c.set.Missed(word == subjects.WordGone)
	}
}

// forgive restarts all clocks of silence, because this edge itself could not receive. It forgets no address then,
// either.
func (c *Cluster) forgive(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.others.Forgive(now)
	for _, r := range c.reports {
		if !r.silent.IsZero() {
			r.silent = now
		}
	}
}

// expire finds edges that have died, and returns those whose death this edge must announce now.
func (c *Cluster) expire(now time.Time) (announce []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, edge := range c.others.Expire(now) {
		c.set.Log.Warn("another edge has died", "other", edge)
		c.reports[edge].silent = now
	}
	wait := time.Duration(slices.Index(c.live(), c.set.ID)) * announceGap
	for edge, r := range c.reports {
		switch silence := now.Sub(r.silent); {
		case r.silent.IsZero():
		case silence > forgetAfter:
			delete(c.reports, edge)
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
	all := append(c.others.Members(), c.set.ID)
	slices.Sort(all)
	return all
}

// Members returns the live edges, this one included, and those that died less than a minute ago, sorted by id.
func (c *Cluster) Members() []Member {
	now, own := time.Now(), c.set.Sockets()
	c.mu.Lock()
	defer c.mu.Unlock()
	this := Member{ID: c.set.ID, Address: c.set.Address, Sockets: own, Beat: -1, This: true, Draining: c.draining.Load()}
	if !c.announced.IsZero() {
		this.Beat = now.Sub(c.announced)
	}
	all := []Member{this}
	for _, r := range c.reports {
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
	if r := c.reports[edge]; r != nil {
		return r.hostPort
	}
	return ""
}

// Ready returns why clients should not come yet: until an edge has announced its address, the others forward nothing
// to it, and until it has received theirs, it forwards nothing to them. Instances that own sockets answer its first hello
// within that second, too.
func (c *Cluster) Ready() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.firstHello.IsZero() && time.Since(c.firstHello) >= msg.BeatEvery {
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
	return !c.heard.IsZero() && lost.Sub(c.heard) <= heardBefore
}
