package edge

import (
	crand "crypto/rand"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/edge/presence"
	"partyline/edge/recovery"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/internal/query"
	"partyline/internal/share"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/internal/wake"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
)

// New makes an edge. Its Listen must be called, its Accept given to the engine.
func New(set Settings) *Edge {
	_, _ = crand.Read(set.key[:]) // never fails (crypto/rand)
	e := &Edge{set: set, prefix: set.Prefix, rules: rule.NewBook(set.Namespaces), out: set.Bus, up: set.Bus, wake: wake.New()}
	e.limits.Store(set.Limits.complete())
	e.reg = registry.New(e.prefix, set.Limits.RoomsPerSocket, e.follow, func(s *socket, n int) { s.Edge.conn.session.Charge(n) })
	e.complaints = &complaints{throttle.New(set.Log), e.prefix, e.rules, &e.stats, set.Bus.Connected}
	e.owners = owner.New(owner.Settings{
		Wire: ownerWire{e}, Log: e.complaints.Logger, Wake: e.wake.Raise, Now: time.Now, Random: rand.IntN,
	}, &e.stats.eventsFailed)
	e.answers = &answers{set.ID, set.Prefix, set.Replies, e.out, &e.stats, e.complaints}
	found := targets{e.reg, e.owners}
	d := &deliveries{out: e.out, writes: engine.NewFanout(), limits: &e.limits, stats: &e.stats, complaints: e.complaints}
	replays := *d
	e.logged = logged{edge: set.ID, prefix: e.prefix, out: e.out, complaints: e.complaints, replays: &replays}
	e.fanout = fanout{deliveries: d, targets: found, prefix: e.prefix, logged: &e.logged}
	e.rewinds = &rewinds{d, e.reg, &e.logged, set.Bus}
	e.commands = &commands{e.answers, found, query.NewQueue(set.ID, set.Bus.MaxPayload, e.out.Do), &e.logged, e.rewinds, e.disconnect}
	e.grants = &grants{commands: e.commands, reg: e.reg, grace: set.Token.Grace}
	e.asks = &asks{commands: e.commands, deliveries: d, up: e.up, waiting: set.Bus.Waiting, awaited: share.New(maxAsked)}
	e.pauses = &pauses{commands: e.commands, act: (*connection).act, holds: make(map[*hold]struct{})}
	if set.Journal != nil {
		e.logged.stream = set.Stream
		e.logged.table = recovery.New(recovery.Settings{
			Edge: set.ID, Prefix: set.Prefix, Wire: recoveryWire{e}, Store: set.Journal, Log: set.Log, Silence: set.Silence,
		})
	}
	showsPresence := rule.ShowPresence(set.Namespaces)
	if showsPresence {
		e.presence = presence.New(set.ID, e.prefix, presenceWire{set.Bus, e})
	}
	for _, subject := range e.prefix.EdgeSubscriptions(set.ID, set.Journal != nil, showsPresence) {
		set.Bus.Subscribe(subject)
	}
	isLogged := slices.ContainsFunc(slices.Collect(maps.Values(set.Namespaces)), func(n rule.Namespace) bool { return n.IsLogged() })
	set.Bus.Permissions(set.Prefix.EdgePermissions(isLogged, showsPresence))
	require(set, set.Namespaces)
	return e
}

// Reconfigure declares other namespaces, and sets other limits. A socket keeps the rules under which it began until it
// ends. Whether a namespace that may have sockets is logged, recovers sockets or shows presence must stay.
func (e *Edge) Reconfigure(namespaces map[string]rule.Namespace, limits Limits) {
	fresh := maps.Clone(namespaces)
	for _, r := range e.rules.All() {
		delete(fresh, r.Name)
		if _, stays := namespaces[r.Name]; !stays {
			on, subscriptions := needs(e.prefix, r.Name, &r.Namespace)
			e.set.Bus.Excuse(append(subscriptions, on)...)
		}
	}
	require(e.set, fresh)
	e.rules.Replace(namespaces)
	e.limits.Store(limits.complete())
	e.reg.SetLimit(limits.RoomsPerSocket)
}

// follow puts what follows from a change in the registry into the outbox. The registry calls it with its lock held.
func (e *Edge) follow(f registry.Effects[client]) {
	for _, subject := range f.Subscribe {
		e.out.Subscribe(subject)
	}
	for _, subject := range f.Unsubscribe {
		e.out.Unsubscribe(subject)
	}
	if f.Changed != nil {
		e.changed(f.Changed, f.Rooms)
	}
}

// require tells the bus what NATS must permit this edge for each namespace that is declared by its name: the commands
// for all of its sockets, and the events of clients. A pattern has no subject that could be tried: NATS may permit some
// of its namespaces and not others, and which of them clients ask for is not the edge's choice.
func require(set Settings, namespaces map[string]rule.Namespace) {
	// What the edge publishes to see whether it may: an event that no client can send, without a reply subject.
	probe := func() (bus.Header, []byte) { return nil, msg.EdgeNotice{Edge: set.ID}.Body(subjects.Ready) }
	for name, declared := range namespaces {
		on, subscriptions := needs(set.Prefix, name, &declared)
		for _, subject := range subscriptions {
			set.Bus.RequireSubscription(subject)
		}
		if on != "" {
			set.Bus.RequirePublish(on, probe)
		}
	}
}

// needs returns what NATS must permit for a namespace: to publish on, and to subscribe. A pattern needs nothing.
func needs(prefix subjects.Prefix, name string, declared *rule.Namespace) (on string, subscriptions []string) {
	token, err := subjects.AppendNamespace(nil, name)
	if err != nil || strings.Contains(name, "*") {
		return "", nil
	}
	subscriptions = []string{prefix.NamespaceAll(string(token))}
	if declared.IsLogged() {
		subscriptions = prefix.LoggedAll(string(token))
	}
	return string(prefix.AppendOn(nil, string(token), subjects.Ready)), subscriptions
}

// Metrics lists what the edge counts.
func (e *Edge) Metrics() *tally.Set {
	set := &tally.Set{}
	set.Func(tally.KindGauge, "sockets", "Socket.IO sockets that are connected to a namespace.", func() float64 { return float64(e.Sockets()) })
	set.Func(tally.KindGauge, "rooms", "Rooms with a member on this edge.", func() float64 { return float64(e.Rooms()) })
	e.stats.metrics(set)
	e.asks.metrics(set)
	e.pauses.metrics(set)
	e.grants.metrics(set)
	e.owners.Metrics(set)
	e.rules.Metrics(set)
	if e.logged.table != nil {
		e.logged.table.Metrics(set)
	}
	if e.presence != nil {
		e.presence.Metrics(set)
	}
	e.complaints.Metrics(set, "edge")
	return set
}
