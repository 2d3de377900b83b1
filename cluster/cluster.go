// Package cluster is how edges find each other. Each edge announces itself on NATS when it starts, every second, and
// when it leaves, and keeps a list of the live ones (docs/subjects.md, Announcements). If an edge falls silent, one
// of the others announces its death. Edges have each other's addresses, so Forwarder can forward what clients send to
// the wrong one.
//
// Down: edge.Listen → Cluster.Handle → the list. Up: Run, once a second → bus.Publish. A request of a client:
// Forwarder → the engine of this edge, or of the one whose id its sid begins with.
package cluster

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"partyline/bus"
	"partyline/internal/liveness"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/internal/wake"
	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// watchEvery is how often the list is searched for edges that have died.
	watchEvery = 250 * time.Millisecond
	// announceGap separates the times at which the live edges, in the order of their ids, would announce a death. So
	// one of them does.
	announceGap = 500 * time.Millisecond
	// forgetAfter is how long the address of a dead edge is kept: it may be alive, cut off from NATS but not from its
	// clients. Later another program may have the address.
	forgetAfter = time.Minute
	// minBeatGap is the least time between two beats that answer a hello.
	minBeatGap = 50 * time.Millisecond
)

// Settings is what a Cluster needs.
type Settings struct {
	ID      string          // of this edge
	Address string          // http://host:port where other edges reach this one; "": they do not
	Prefix  subjects.Prefix // of every subject
	Secret  string          // shared by all edges; "": trusts every announcement that NATS delivers
	Within  []netip.Prefix  // where other edges are; empty: anywhere
	Sockets func() int      // returns the number of this edge's sockets
	Version string          // of the program
	Figures func() Figures  // for NATS's service protocol
	// Counts returns what this edge counts, but not Started.
	Counts func() msg.EdgeCounts
	// MayAnswer reports whether this edge may answer to the reply subject of a request. It must not block.
	MayAnswer func(*bus.Message) bool
	// Missed is called when services may have declared this edge dead, although it lives; announced: another edge has
	// announced its death. It must not block.
	Missed func(announced bool)
	Bus    Bus
	Log    *slog.Logger
}

// Bus is what a Cluster uses of a *bus.Bus. Its methods do not block: Handle runs on the goroutine that reads from
// NATS. Publishing may block, so Run takes a bus.Publisher.
type Bus interface {
	bus.Outbox
	SubscribeRequired(subject string)
	SubscribeOptional(subject string)
	RequirePublish(subject string, probe func() (bus.Header, []byte))
	Connected() bool
	LostAt() time.Time
	Received() uint64
	Dropped() uint64
}

// Cluster is the list of live edges, as one of them sees it. It is safe for concurrent use.
type Cluster struct {
	set      Settings
	reserved string    // what the subjects of announcements begin with
	started  time.Time // static

	beatNow    wake.Flag   // wakes Run for a beat
	draining   atomic.Bool // this edge takes no new sessions; it is in its announcements
	complaints *throttle.Logger

	lastAt    atomic.Int64 // the time in this edge's latest announcement, in milliseconds since 1970
	questions questions

	mu      sync.Mutex
	members members // guarded by mu: the other edges
	self    self    // guarded by mu
	stats   stats
}

// self is what this edge remembers of its own announcements.
type self struct {
	firstHello time.Time // when it announced itself first
	announced  time.Time // when it announced itself last
	heardAt    int64     // the time in its last announcement that NATS delivered; 0: none
	missed     time.Time // when Missed was called last
}

type stats struct{ heard, ignored, gone, unlisted, outside, unanswered tally.Counter }

// New makes a cluster and subscribes to announcements. The bus's messages must be passed to its Handle first.
func New(set Settings) *Cluster {
	c := &Cluster{
		set: set, reserved: set.Prefix.String() + ".$", started: time.Now(), beatNow: wake.New(),
		complaints: throttle.New(set.Log), questions: newQuestions(),
		members: members{verifier: msg.Verifier{Secret: set.Secret}, reports: make(map[string]*report)},
	}
	set.Bus.SubscribeRequired(set.Prefix.EveryEdge())
	set.Bus.RequirePublish(set.Prefix.EdgeAnnouncement(set.ID, subjects.WordBeat), func() (bus.Header, []byte) {
		body, header := c.announcement(subjects.WordBeat)
		return header, body
	})
	for _, subject := range microSubjects(set.ID) {
		set.Bus.SubscribeOptional(subject)
	}
	return c
}

// Handle processes a message from NATS if it is an announcement of an edge or a request of NATS's service protocol,
// and reports whether it was. It answers an instance's hello and returns false: others must see it, too. It must not
// block.
func (c *Cluster) Handle(m *bus.Message) bool {
	if strings.HasPrefix(m.Subject, microPrefix) {
		c.handleMicro(m)
		return true
	}
	if !strings.HasPrefix(m.Subject, c.reserved) {
		return false
	}
	sub, _ := c.set.Prefix.Parse(m.Subject)
	switch sub.Kind {
	case subjects.KindEdge:
		c.stats.heard.Inc()
		c.handleAnnouncement(m, &sub)
		return true
	case subjects.KindInstance:
		if sub.Word == subjects.WordHello {
			c.answerHello(m)
		}
	}
	return false
}

// answerHello answers a new instance. One whose hello is beyond what is answered receives the beat that follows it.
func (c *Cluster) answerHello(m *bus.Message) {
	c.beatNow.Raise()
	if m.Reply == "" || !c.set.MayAnswer(m) {
		return
	}
	c.questions.hellos.add(c, m.Reply, func() ([]byte, bus.Header) { return c.announcement(subjects.WordBeat) })
}

// announcement returns the body and headers of this edge's announcement.
func (c *Cluster) announcement(word string) ([]byte, bus.Header) {
	a := msg.EdgeAnnouncement{
		Edge: c.set.ID, At: c.now(), Every: msg.BeatEvery.Milliseconds(), Sockets: c.set.Sockets(),
		Address: c.set.Address, Draining: c.draining.Load(),
	}
	if word != subjects.WordBye {
		counts := c.set.Counts()
		counts.Started, a.Counts = c.started.UnixMilli(), &counts
	}
	return c.signed(c.set.ID, word, a)
}

// now returns the time for an announcement. It is later than in all before, even if the clock is set back: readers
// take one that is not for a copy.
func (c *Cluster) now() int64 {
	for {
		last := c.lastAt.Load()
		if at := max(time.Now().UnixMilli(), last+1); c.lastAt.CompareAndSwap(last, at) {
			return at
		}
	}
}

func (c *Cluster) signed(edge, word string, a msg.EdgeAnnouncement) ([]byte, bus.Header) {
	body := a.Body()
	if c.set.Secret == "" {
		return body, nil
	}
	return body, bus.Header{msg.HeaderSignature: {msg.Sign(c.set.Secret, edge+"."+word, string(body))}}
}

// SetDraining announces to the other edges whether this one drains.
func (c *Cluster) SetDraining(draining bool) {
	c.draining.Store(draining)
	c.beatNow.Raise()
}

// Run announces this edge and watches the others until ctx ends. Then it announces that this edge leaves.
func (c *Cluster) Run(ctx context.Context, publisher bus.Publisher) {
	beat, watch := time.NewTicker(msg.BeatEvery), time.NewTicker(watchEvery)
	defer beat.Stop()
	defer watch.Stop()
	var answered time.Time
	online := false
	var listener liveness.Listener
	for {
		select {
		case <-ctx.Done():
			c.announce(publisher, subjects.WordBye)
			return
		case <-beat.C:
			if online {
				c.announce(publisher, subjects.WordBeat)
			}
		case <-c.beatNow:
			if now := time.Now(); online && now.Sub(answered) > minBeatGap {
				answered = now
				c.announce(publisher, subjects.WordBeat)
			}
		case <-watch.C:
			now, was := time.Now(), online
			online = c.set.Bus.Connected()
			if online && !was {
				c.announce(publisher, subjects.WordHello)
			}
			if listener.WasDeaf(online, now, msg.BeatEvery) {
				c.forgive(now)
			}
			for _, edge := range c.expire(now) {
				c.announceDeath(publisher, edge)
			}
		}
	}
}

func (c *Cluster) announce(publisher bus.Publisher, word string) {
	body, header := c.announcement(word)
	err := publisher.Publish([]byte(c.set.Prefix.EdgeAnnouncement(c.set.ID, word)), nil, header, body)
	if err != nil {
		return // the next one follows in a second, or the edge has no connection
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.self.announced = time.Now(); c.self.firstHello.IsZero() {
		c.self.firstHello = c.self.announced
	}
}

func (c *Cluster) announceDeath(publisher bus.Publisher, edge string) {
	c.stats.gone.Inc()
	a := msg.EdgeAnnouncement{Edge: edge, At: c.now(), By: c.set.ID}
	body, header := c.signed(edge, subjects.WordGone, a)
	_ = publisher.Publish([]byte(c.set.Prefix.EdgeAnnouncement(edge, subjects.WordGone)), nil, header, body)
}

// Metrics returns the cluster's metrics.
func (c *Cluster) Metrics() *tally.Set {
	set := &tally.Set{}
	set.Func(tally.KindGauge, "edges", "Live edges, this one included, as this one sees it.",
		func() float64 { return float64(len(c.Edges())) })
	set.Counter(&c.stats.gone, "edges_gone_total", "Deaths of other edges that this one announced.")
	set.Counter(&c.stats.heard, "announcements_total", "Announcements received from edges, its own included.")
	set.Counter(&c.stats.ignored, "announcements_ignored_total",
		"Announcements ignored because they were malformed, copies of earlier ones, or had no valid signature.")
	set.Counter(&c.stats.unlisted, "announcements_unlisted_total",
		"Announcements of further edges, ignored because this one has as many others in its list as it can.")
	set.Counter(&c.stats.outside, "edges_outside_total",
		"Addresses of other edges outside edges.networks: announced ones, and those to which no connection was made.")
	set.Counter(&c.stats.unanswered, "service_requests_unanswered_total",
		"Requests of NATS's service protocol, and instances' hellos, beyond what an edge answers in a second.")
	c.complaints.Metrics(set, "cluster")
	return set
}
