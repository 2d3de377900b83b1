// Package cluster is how edges know of each other: each announces itself on NATS when it starts, every second, and when
// it leaves, and keeps a list of those that live (docs/subjects.md, Announcements). Of one that falls silent, one of the
// others tells everybody. Since they know each other's addresses, they also pass on what clients send to the wrong one of
// them: Forwarder.
//
// Down: edge.Listen → Cluster.Handle → the list. Up: Run, once a second → bus.Publish. A request of a client: Forwarder →
// the engine of this edge, or of the one whose id its sid begins with.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"partyline/bus"
	"partyline/internal/liveness"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// watchEvery is how often the list is looked through.
	watchEvery = 250 * time.Millisecond
	// turn is how long each edge waits for those before it in line to tell of a death, so that it is told once.
	turn = 500 * time.Millisecond
	// remembered is for how long it is known of a dead edge that its end has been told, and where it was: it may live on,
	// cut off from NATS and not from its clients. Longer than that, somebody else may have got its address.
	remembered = time.Minute
	// hurry is the least time between two beats that answer somebody's hello.
	hurry = 50 * time.Millisecond
)

// Settings is what a Cluster needs.
type Settings struct {
	ID      string          // this edge's
	Address string          // http://host:port where other edges reach this one; "": they do not
	Prefix  subjects.Prefix // of every subject
	Secret  string          // shared by all edges; "" trusts whoever NATS lets publish announcements
	Sockets func() int      // how many sockets this edge has
	Version string          // of the program
	Figures func() Figures  // what the edge tells of itself as a service of NATS; nil: it is none
	Missed  func(told bool) // services may have taken this edge for dead, or were told so, and it is not; must not wait; nil: nothing
	Bus     Bus
	Log     *slog.Logger
}

// Bus is what a Cluster uses of a *bus.Bus. None of it waits: Handle runs on the goroutine that reads from NATS. Run is given a
// bus.Publisher besides.
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

// Cluster is the edges that live, as seen from one of them.
type Cluster struct {
	set     Settings
	dollar  string    // what the subjects of announcements begin with
	started time.Time // static

	beatNow    chan struct{} // capacity 1: somebody said hello, or should know at once
	draining   atomic.Bool   // this edge takes no new sessions, as it says in its announcements
	complaints *throttle.Logger

	mu      sync.Mutex
	others  *liveness.Table      // guarded by mu
	about   map[string]report    // guarded by mu: what the others say, also those that have fallen silent
	greeted time.Time            // guarded by mu: when this edge said hello for the first time
	said    time.Time            // guarded by mu: when this edge last announced itself
	echo    int64                // guarded by mu: when it said what it heard last of itself, in milliseconds; 0: nothing yet
	missed  time.Time            // guarded by mu: when Missed was called last
	heard   time.Time            // guarded by mu: when another edge was heard last
	dead    map[string]time.Time // guarded by mu: since when; their end is not told yet
	told    map[string]time.Time // guarded by mu: whose end has been told, and when
	stats   struct{ heard, ignored, gone tally.Counter }
}

// report is what another edge said of itself last.
type report struct {
	hostPort string    // where it takes requests; "": nowhere
	sockets  int       // that it has
	draining bool      // it takes no new sessions
	heard    time.Time // when
	silent   time.Time // since when it is held to be dead; zero while it lives
}

// New makes a cluster and subscribes to announcements. Its Handle must be given each message of the bus first.
func New(set Settings) *Cluster {
	c := &Cluster{
		set: set, dollar: set.Prefix.String() + ".$", started: time.Now(), beatNow: make(chan struct{}, 1),
		complaints: throttle.New(set.Log), others: liveness.New(msg.DeadAfter), about: make(map[string]report),
		dead: make(map[string]time.Time), told: make(map[string]time.Time),
	}
	set.Bus.SubscribeRequired(set.Prefix.EveryEdge())
	set.Bus.RequirePublish(set.Prefix.EdgeAnnouncement(set.ID, subjects.WordBeat), func() (bus.Header, []byte) {
		body, header := c.announcement(subjects.WordBeat)
		return header, body
	})
	if set.Figures != nil {
		for _, subject := range microSubjects(set.ID) {
			set.Bus.SubscribeOptional(subject)
		}
	}
	return c
}

// Handle takes a message from NATS if it is one of edges among themselves, and says whether it did. It answers a new
// instance's hello, too, but leaves that to others as well; and questions of NATS's service protocol. It never waits.
func (c *Cluster) Handle(m *bus.Message) bool {
	if strings.HasPrefix(m.Subject, microPrefix) {
		c.handleMicro(m)
		return true
	}
	if !strings.HasPrefix(m.Subject, c.dollar) {
		return false
	}
	sub, _ := c.set.Prefix.Parse(m.Subject)
	switch sub.Kind {
	case subjects.KindEdge:
		c.stats.heard.Inc()
		c.hear(m, &sub)
		return true
	case subjects.KindInstance:
		if sub.Word == subjects.WordHello {
			c.greet(m)
		}
	}
	return false
}

// hear takes an announcement of another edge.
func (c *Cluster) hear(m *bus.Message, sub *subjects.Subject) {
	now := time.Now()
	a, err := msg.ParseEdgeAnnouncement(m.Data)
	if err == nil && a.Edge != sub.Edge {
		err = fmt.Errorf("%w: its body names another edge than its subject", msg.ErrAnnouncement)
	}
	if err == nil && c.set.Secret != "" {
		err = msg.Verify(c.set.Secret, sub.Edge, sub.Word, m.Data, m.Header.Get(msg.HeaderSignature), now)
	}
	var hostPort string
	if err == nil && a.Address != "" {
		hostPort, err = msg.EdgeHostPort(a.Address)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.stats.ignored.Inc()
		c.complaints.Warn("ignored an edge's announcement", m.Subject, err)
		return
	}
	if sub.Edge == c.set.ID {
		c.hearSelf(sub.Word, a, now)
		return
	}
	switch sub.Word {
	case subjects.WordHello, subjects.WordBeat:
		if c.others.Heard(sub.Edge, now) {
			c.set.Log.Info("an edge has come", "other", sub.Edge)
		}
		c.heard = now
		c.about[sub.Edge] = report{hostPort: hostPort, sockets: a.Sockets, draining: a.Draining, heard: now}
		delete(c.dead, sub.Edge)
		delete(c.told, sub.Edge)
		if sub.Word == subjects.WordHello {
			c.hasten()
		}
	case subjects.WordBye:
		c.remove(sub.Edge, "an edge has left")
		delete(c.about, sub.Edge)
	case subjects.WordGone:
		c.remove(sub.Edge, "an edge has died, says another")
		c.silence(sub.Edge, now)
		delete(c.dead, sub.Edge)
		c.told[sub.Edge] = now
	}
}

// hearSelf takes what goes round about this edge. Somebody tells that it is gone; or what it said itself shows that nobody
// can have heard it for so long that it was taken for dead, even if it was not there to hear that told. It needs mu.
func (c *Cluster) hearSelf(word string, a msg.EdgeAnnouncement, now time.Time) {
	switch {
	case word == subjects.WordGone:
		c.set.Log.Warn("another edge has not heard of this one for too long and told services that it is gone", "other", a.By)
		c.hasten()
	case word == subjects.WordBye:
		return
	default:
		before := c.echo
		c.echo = a.At
		if before == 0 || a.At-before <= msg.DeadAfter.Milliseconds() {
			return
		}
		c.set.Log.Warn("nobody has heard of this edge for so long that services may have taken it for dead")
	}
	if c.set.Missed != nil && now.Sub(c.missed) > msg.DeadAfter { // both ways to learn it come together
		c.missed = now
		c.set.Missed(word == subjects.WordGone)
	}
}

// remove needs mu.
func (c *Cluster) remove(edge, what string) {
	if c.others.Remove(edge) {
		c.set.Log.Info(what, "other", edge)
	}
}

// silence notes that an edge is held to be dead. It needs mu.
func (c *Cluster) silence(edge string, now time.Time) {
	if r, known := c.about[edge]; known && r.silent.IsZero() {
		r.silent = now
		c.about[edge] = r
	}
}

// hasten makes the next beat come soon. It never blocks.
func (c *Cluster) hasten() {
	select {
	case c.beatNow <- struct{}{}:
	default:
	}
}

// greet answers a new instance.
func (c *Cluster) greet(m *bus.Message) {
	c.hasten()
	if c.mayAnswer(m.Reply) {
		body, header := c.announcement(subjects.WordBeat)
		c.set.Bus.Later(bus.Letter{Subject: m.Reply, Header: header, Body: body})
	}
}

// mayAnswer says whether something may be published on a reply subject: NATS has not checked that who named it may.
func (c *Cluster) mayAnswer(reply string) bool {
	return reply != "" && !c.set.Prefix.Covers(reply) && reply[0] != '$'
}

// announcement is what this edge says of itself.
func (c *Cluster) announcement(word string) ([]byte, bus.Header) {
	a := msg.EdgeAnnouncement{
		Edge: c.set.ID, At: time.Now().UnixMilli(), Every: msg.BeatEvery.Milliseconds(), Sockets: c.set.Sockets(),
		Address: c.set.Address, Draining: c.draining.Load(),
	}
	return c.signed(c.set.ID, word, a)
}

func (c *Cluster) signed(edge, word string, a msg.EdgeAnnouncement) ([]byte, bus.Header) {
	body := a.Body()
	if c.set.Secret == "" {
		return body, nil
	}
	return body, bus.Header{msg.HeaderSignature: {msg.Sign(c.set.Secret, edge+"."+word, string(body))}}
}

// SetDraining tells the other edges, from now on, whether this one takes new sessions.
func (c *Cluster) SetDraining(draining bool) {
	c.draining.Store(draining)
	c.hasten()
}

// Run announces this edge by publisher and watches the others until ctx ends; then it says goodbye.
func (c *Cluster) Run(ctx context.Context, publisher bus.Publisher) {
	beat, watch := time.NewTicker(msg.BeatEvery), time.NewTicker(watchEvery)
	defer beat.Stop()
	defer watch.Stop()
	var hurried time.Time
	online := false
	var listener liveness.Listener
	for {
		select {
		case <-ctx.Done():
			c.say(publisher, subjects.WordBye)
			return
		case <-beat.C:
			if online {
				c.say(publisher, subjects.WordBeat)
			}
		case <-c.beatNow:
			if now := time.Now(); online && now.Sub(hurried) > hurry {
				hurried = now
				c.say(publisher, subjects.WordBeat)
			}
		case <-watch.C:
			now, was := time.Now(), online
			online = c.set.Bus.Connected()
			if online && !was {
				c.say(publisher, subjects.WordHello)
			}
			if listener.WasDeaf(online, now, msg.BeatEvery) {
				c.forgive(now)
			}
			c.watch(publisher, now)
		}
	}
}

func (c *Cluster) say(publisher bus.Publisher, word string) {
	body, header := c.announcement(word)
	// It is published again in a second, or the edge has no connection.
	err := publisher.Publish([]byte(c.set.Prefix.EdgeAnnouncement(c.set.ID, word)), nil, header, body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		if c.said = time.Now(); c.greeted.IsZero() {
			c.greeted = c.said
		}
	}
}

func (c *Cluster) forgive(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.others.Forgive(now)
	for edge, r := range c.about {
		if !r.silent.IsZero() { // while it can hear nobody, this edge forgets no address either
			r.silent = now
			c.about[edge] = r
		}
	}
}

// watch finds edges that have died, and announces that when it is this edge's turn.
func (c *Cluster) watch(publisher bus.Publisher, now time.Time) {
	c.mu.Lock()
	for _, edge := range c.others.Expire(now) {
		c.set.Log.Warn("an edge has died", "other", edge)
		c.silence(edge, now)
		if _, told := c.told[edge]; !told {
			c.dead[edge] = now
		}
	}
	for edge, at := range c.told {
		if now.Sub(at) > remembered {
			delete(c.told, edge)
		}
	}
	for edge, r := range c.about {
		if !r.silent.IsZero() && now.Sub(r.silent) > remembered {
			delete(c.about, edge)
		}
	}
	line := append(c.others.Members(), c.set.ID)
	slices.Sort(line)
	wait := time.Duration(slices.Index(line, c.set.ID)) * turn
	var tell []string
	for edge, since := range c.dead {
		if now.Sub(since) >= wait {
			tell = append(tell, edge)
			delete(c.dead, edge)
			c.told[edge] = now
		}
	}
	c.mu.Unlock()
	for _, edge := range tell {
		c.stats.gone.Inc()
		body, header := c.signed(edge, subjects.WordGone, msg.EdgeAnnouncement{Edge: edge, At: now.UnixMilli(), By: c.set.ID})
		_ = publisher.Publish([]byte(c.set.Prefix.EdgeAnnouncement(edge, subjects.WordGone)), nil, header, body)
	}
}

// Edges is the edges that live, this one among them, sorted.
func (c *Cluster) Edges() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append(c.others.Members(), c.set.ID)
	slices.Sort(all)
	return all
}

// Metrics lists what the cluster counts.
func (c *Cluster) Metrics() *tally.Set {
	set := &tally.Set{}
	set.Func(tally.KindGauge, "edges", "Edges that live, this one among them, as this one sees it.",
		func() float64 { return float64(len(c.Edges())) })
	set.Counter(&c.stats.gone, "edges_gone_total", "Deaths of other edges that this one told.")
	set.Counter(&c.stats.heard, "announcements_total", "Announcements of edges that came, this one's own among them.")
	set.Counter(&c.stats.ignored, "announcements_ignored_total", "Announcements of edges that were malformed or not signed as they must be.")
	c.complaints.Metrics(set, "cluster")
	return set
}
