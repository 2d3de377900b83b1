package cluster

import (
	"slices"
	"strings"
	"time"

	"partyline/wire/msg"
)

// Member is what is known of an edge.
type Member struct {
	ID       string
	Address  string        // http://host:port for other edges; "": it cannot be reached by them
	Sockets  int           // that it has
	Beat     time.Duration // since its last announcement; negative: this edge has not announced itself yet
	This     bool          // it is this edge
	Silent   bool          // held to be dead since less than a minute
	Draining bool          // it takes no new sessions
}

// Members is the edges that live, this one among them, and those that fell silent a short while ago, sorted by id.
func (c *Cluster) Members() []Member {
	now, own := time.Now(), c.set.Sockets()
	c.mu.Lock()
	defer c.mu.Unlock()
	this := Member{ID: c.set.ID, Address: c.set.Address, Sockets: own, Beat: -1, This: true, Draining: c.draining.Load()}
	if !c.said.IsZero() {
		this.Beat = now.Sub(c.said)
	}
	all := []Member{this}
	for edge, r := range c.about {
		m := Member{ID: edge, Sockets: r.sockets, Beat: now.Sub(r.heard), Silent: !r.silent.IsZero(), Draining: r.draining}
		if r.hostPort != "" {
			m.Address = "http://" + r.hostPort
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// hostPort is where another edge takes requests; "" if it is not known, has left, or cannot be reached.
func (c *Cluster) hostPort(edge string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.about[edge].hostPort
}

// Ready says why clients should not come yet: whoever has not announced its address gets no requests of its sessions from
// the others, and who has not heard them knows nobody to pass theirs to. An edge without an address is always ready.
func (c *Cluster) Ready() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set.Address == "" || !c.greeted.IsZero() && time.Since(c.greeted) >= msg.BeatEvery {
		return nil
	}
	return []string{"the other edges are being asked where they are"}
}
