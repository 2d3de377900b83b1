// Package wiring builds an edge from its parts: bus, edge, engine and cluster. The programs and the tests of whole
// edges share it.
package wiring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"partyline/bus"
	"partyline/cluster"
	"partyline/config"
	"partyline/edge"
	"partyline/engine"
	"partyline/eventlog"
	"partyline/internal/ids"
	"partyline/internal/listen"
	"partyline/internal/natsconn"
	"partyline/internal/tally"
	"partyline/internal/turn"
	"partyline/rule"
	"partyline/subjects"
	"partyline/token"
	"partyline/wire/msg"
)

const (
	// natsHeadroom is the room for headers in NATS's largest message, in bytes.
	natsHeadroom = 64 << 10
	// outboxTimeout bounds the publishing of the last notices, once the sessions have ended.
	outboxTimeout = 5 * time.Second
)

// Parts are the parts of one edge. Requests of clients go to Forward.
type Parts struct {
	ID      string
	Bus     *bus.Bus
	Edge    *edge.Edge
	Engine  *engine.Server
	Cluster *cluster.Cluster
	Forward *cluster.Forwarder // in front of the engine
	Limiter *listen.Limiter    // of the connections
	Drain   *cluster.Drainer
	Journal *eventlog.Log // nil if no namespace has a log

	Keyring *token.Keyring // of the issuers of tokens

	config    atomic.Pointer[config.Config]
	log       *slog.Logger
	attending context.CancelFunc // ends the goroutines that announce the edge and watch others
	attentive sync.WaitGroup     // of the latter

	ending // of what comes last
}

// ending is how the log ends, and the reader of NATS.
type ending struct {
	journaling context.CancelFunc // ends the log; nil if there is none
	written    sync.WaitGroup     // of its goroutine
	reading    context.CancelFunc // ends the goroutine that reads from NATS
	running    sync.WaitGroup     // of that
}

// New connects to NATS, which may take long, and makes the parts. Other edges receive version. Nothing is read from
// NATS before Run.
func New(c config.Config, version string, log *slog.Logger, options bus.Options) (*Parts, error) {
	prefix, err := subjects.NewPrefix(c.NATS.Prefix)
	if err != nil {
		return nil, fmt.Errorf("nats.prefix: %w", err)
	}
	replies, err := subjects.NewReplies(prefix, replyPrefixes(c))
	if err != nil {
		return nil, fmt.Errorf("nats.reply_prefixes: %w", err)
	}
	p := &Parts{ID: ids.NewEdge()}
	p.config.Store(&c)
	p.log = log.With("edge", p.ID)
	turn.Watch()
	p.Engine = engine.NewServer(p.engineSettings(&c))
	if options.OnConnect == nil {
		options.OnConnect = func(maxPayload int) { p.fitPayload(c.Engine.MaxPayload, maxPayload) }
	}
	if err = p.open(options); err != nil {
		return nil, err
	}
	set := edge.Settings{
		ID: p.ID, Prefix: prefix, Replies: replies, Namespaces: c.Namespaces, Limits: edgeLimits(&c),
		ConnectTimeout: c.ConnectTimeout, MaxPayload: p.Engine.MaxPayload, Bus: p.Bus, Log: p.log,
		IsHeard: func(edge string, within time.Duration) bool { return p.Cluster.IsHeard(edge, within) },
		Silence: c.Engine.PingInterval + c.Engine.PingTimeout, Edges: func() []string { return p.Cluster.Edges() },
		Token: edge.Token{From: c.Token.From, Event: c.Token.Event, Grace: c.Token.Grace, Keys: p.Keyring},
	}
	if p.Journal = journal(c, prefix, p); p.Journal != nil {
		set.Journal, set.Stream = p.Journal, p.Journal.Stream()
	}
	p.Edge = edge.New(set)
	if p.Journal != nil {
		p.Journal.OnEpoch(p.Edge.Renewed)
	}
	p.Cluster = cluster.New(cluster.Settings{
		ID: p.ID, Address: c.Advertise, Prefix: prefix, Secret: c.Edges.Secret, Within: c.EdgeRanges(),
		Sockets:   p.Edge.Sockets,
		MayAnswer: p.Edge.MayAnswer, Missed: p.Edge.Missed, Version: version, Figures: p.figures, Counts: p.counts, Bus: p.Bus, Log: p.log,
	})
	p.Limiter = listen.New(listen.Settings{
		Connections: c.Limits.Connections, PerAddress: connectionsPerAddress(c.Limits), Proxies: c.ProxyRanges(), Log: p.log,
	})
	p.Forward = cluster.NewForwarder(cluster.ForwarderSettings{
		ID: p.ID, Secret: c.Edges.Secret, Config: c.Engine, Engine: p.Engine, Cluster: p.Cluster, Connections: p.Limiter,
		Log: p.log,
	})
	p.Drain = cluster.NewDrainer(cluster.DrainSettings{
		DrainConfig: c.Drain, Isolation: c.IsolationTimeout, Engine: p.Engine, Forward: p.Forward, Cluster: p.Cluster,
		Log: p.log,
	})
	return p, nil
}

func (p *Parts) engineSettings(c *config.Config) engine.Settings {
	return engine.Settings{
		Config: c.Engine, Rates: c.Limits.Rates, EdgeID: p.ID, Origins: c.CORS.Origins, Credentials: c.CORS.Credentials, Cookie: c.Cookie.Name,
		TrustedProxies: c.ProxyRanges(), MaxSessions: c.Limits.Sessions, MaxPerAddress: c.Limits.SessionsPerAddress,
		QueueBytes: c.Limits.QueueBytes, QueuePackets: c.Limits.QueuePackets, SessionBytes: c.Limits.SessionBytes,
		Refuse:  p.refusal,
		Handler: func(s *engine.Session, o *engine.Opening) engine.Receiver { return p.Edge.Accept(s, o) },
		Log:     p.log,
	}
}

func edgeLimits(c *config.Config) edge.Limits {
	return edge.Limits{
		RoomsPerSocket: c.Limits.RoomsPerSocket, NamespacesPerSession: c.Limits.NamespacesPerSession,
		QueueBytes: c.Limits.QueueBytes, QueuePackets: c.Limits.QueuePackets,
	}
}

// Prepare reads what another configuration names, and returns an error if it cannot. use then makes the parts go on with
// it: the configuration must differ only in what reloads (config.Running). Sockets keep the rules of their namespaces
// until they end. The calls of Prepare and use must not overlap those for further ones, nor Leave.
func (p *Parts) Prepare(c config.Config) (use func(), err error) {
	useTokens, err := p.Keyring.Prepare(c.Tokens)
	if err != nil {
		return nil, err
	}
	return func() {
		useTokens() // before the namespaces that name them
		p.config.Store(&c)
		p.Edge.Reconfigure(c.Namespaces, edgeLimits(&c))
		p.Engine.Reconfigure(p.engineSettings(&c))
		p.Limiter.SetLimits(c.Limits.Connections, connectionsPerAddress(c.Limits))
	}, nil
}

// Rules returns the rules that a namespace has now; nil if none are declared.
func (p *Parts) Rules(namespace string) *rule.Rules {
	return rule.NewBook(p.config.Load().Namespaces).Find(namespace)
}

// replyPrefixes returns where an edge answers. Edges that show who is in rooms ask each other.
func replyPrefixes(c config.Config) []string {
	if !rule.ShowPresence(c.Namespaces) {
		return c.NATS.ReplyPrefixes
	}
	return append(slices.Clone(c.NATS.ReplyPrefixes), subjects.EdgeInbox+">")
}

// open opens what the edge gets its messages and keys from.
func (p *Parts) open(options bus.Options) (err error) {
	if p.Keyring, err = token.Open(p.config.Load().Tokens, token.Options{Log: p.log}); err != nil {
		return err
	}
	if p.Bus, err = bus.Connect(p.config.Load().NATS, p.log, options); err != nil {
		p.Keyring.Close()
	}
	return err
}

// journal makes the log of the namespaces that have one; nil if none has.
func journal(c config.Config, prefix subjects.Prefix, p *Parts) *eventlog.Log {
	var captured []string
	for name, ns := range c.Namespaces {
		if !ns.IsLogged() {
			continue
		}
		token, err := subjects.AppendNamespace(nil, name)
		if err != nil || strings.Contains(name, "*") { // NATS has no patterns within a token
			token = []byte("*")
		}
		captured = append(captured, prefix.Captured(string(token)))
	}
	if len(captured) == 0 {
		return nil
	}
	slices.Sort(captured)
	if every := prefix.Captured("*"); slices.Contains(captured, every) {
		captured = []string{every}
	}
	return eventlog.New(eventlog.Settings{
		Conn: p.Bus.Conn(), Prefix: prefix, Storage: c.Recovery.Storage, Replicas: c.Recovery.Replicas, MaxBytes: c.Recovery.Bytes(),
		MaxAge: c.LogAge(), Subjects: captured, Log: p.log,
	})
}

// A client has up to four connections a session, during an upgrade for instance, and some for the page and the script.
const (
	connectionsPerSession = 4
	moreConnections       = 16
)

// connectionsPerAddress returns how many connections an address may have. If only its sessions are limited, that
// limits its connections, too: a session that has ended must not leave a connection that counts nowhere.
func connectionsPerAddress(c config.Limits) int {
	if c.ConnectionsPerAddress == 0 && c.SessionsPerAddress > 0 {
		return connectionsPerSession*c.SessionsPerAddress + moreConnections
	}
	return c.ConnectionsPerAddress
}

// Run starts the goroutines of the parts, and one for each of attend. Messages from NATS go to handle, and to the
// edge if it returns false.
func (p *Parts) Run(handle func(*bus.Message) bool, attend ...func(context.Context)) {
	reading, stop := context.WithCancel(context.Background())
	p.reading = stop
	p.running.Go(func() { p.Edge.Listen(reading, handle) })
	if p.Journal != nil {
		journaling, stop := context.WithCancel(context.Background())
		p.journaling = stop
		p.written.Go(func() { p.Journal.Run(journaling) })
	}
	attending, stop := context.WithCancel(context.Background())
	p.attending = stop
	announce := func(ctx context.Context) { p.Cluster.Run(ctx, p.Bus) }
	for _, each := range append(attend, announce, p.Edge.Attend, p.Edge.KeepRecords, p.Edge.KeepPresence, p.Drain.Run) {
		p.attentive.Go(func() { each(attending) })
	}
}

// Leave ends the parts and the remaining sessions: it publishes the last notices and disconnects from NATS. No
// request may come any more.
func (p *Parts) Leave() {
	p.Drain.Stop(context.Background()) // if the caller has not stopped it
	p.Engine.Abort()
	p.Forward.Abort()
	p.Keyring.Close()
	p.publishEnds()
	p.attending()
	p.attentive.Wait()
	if p.journaling != nil { // behind the last records, which the others write
		p.journaling()
		p.written.Wait()
	}
	ctx, cancel := context.WithTimeout(context.Background(), outboxTimeout)
	defer cancel()
	p.Bus.Close(ctx)
	p.reading()
	p.running.Wait()
}

// publishEnds waits until the ends of all sockets have been published, unless NATS is away. The goodbye of the edge, which
// does not go through the outbox, comes behind them then: services that get it first know no socket of the edge any more.
func (p *Parts) publishEnds() {
	published := make(chan struct{})
	p.Bus.Do(func() { close(published) })
	select {
	case <-published:
	case <-time.After(outboxTimeout):
	}
}

// errNoNATS is the answer to a handshake while NATS is unreachable.
var errNoNATS = errors.New("this server cannot reach its services now: try again, and you may reach another")

// refusal returns an error if no session may begin now. Without NATS no service admits its sockets. Another edge may
// have NATS, and can do more for the client. Existing sessions go on.
func (p *Parts) refusal() error {
	if p.config.Load().NATS.RefuseSessions == natsconn.RefuseOff || p.Bus.Connected() {
		return nil
	}
	for _, ns := range p.config.Load().Namespaces {
		if !ns.AsksService() {
			return nil // it needs no service
		}
	}
	if p.config.Load().NATS.RefuseSessions == natsconn.RefuseAuto && !p.Cluster.HadOthers() {
		return nil
	}
	return errNoNATS
}

// fitPayload limits clients' packets to what NATS takes. wanted is the configured limit, nats that of NATS, in bytes.
func (p *Parts) fitPayload(wanted, nats int) {
	limit := max(nats-natsHeadroom, nats/2) // leaves something of a tiny limit
	if wanted <= limit {
		p.Engine.SetMaxPayload(wanted)
		return
	}
	p.Engine.SetMaxPayload(limit)
	level := slog.LevelWarn
	if wanted == engine.DefaultConfig().MaxPayload {
		level = slog.LevelInfo // it was not configured, and NATS allows less by default
	}
	p.log.Log(context.Background(), level,
		"engine.max_payload is larger than NATS allows; clients get the smaller limit (raise max_payload of the NATS server)",
		"engine.max_payload", wanted, "nats_max_payload", nats, "used", limit)
}

// Ready returns why clients should not come now; nil if they may.
func (p *Parts) Ready() []string {
	why := slices.Concat(p.Drain.Ready(), p.Bus.Ready(), p.Cluster.Ready(), p.Limiter.Ready())
	if p.Journal != nil {
		why = append(why, p.Journal.Ready()...)
	}
	return why
}

// figures are what this edge reports to `nats micro stats`.
func (p *Parts) figures() cluster.Figures {
	return cluster.Figures{Sessions: p.Engine.Sessions(), Sockets: p.Edge.Sockets(), Rooms: p.Edge.Rooms()}
}

// maxNamespaces is how many namespaces an edge may have and still announce their sockets: it looks through all of them
// for each beat.
const maxNamespaces = 4096

// counts are what this edge announces.
func (p *Parts) counts() msg.EdgeCounts {
	c := p.Engine.Counts()
	return msg.EdgeCounts{
		Clients: c.Sessions, Polling: c.Polling, Opened: c.Opened, Ended: c.Ended, BytesIn: c.ClientBytesIn, BytesOut: c.ClientBytesOut,
		Namespaces: msg.Largest(p.Edge.Namespaces(maxNamespaces)),
	}
}

// Metrics returns the metrics of the parts.
func (p *Parts) Metrics() []*tally.Set {
	sets := []*tally.Set{p.Engine.Metrics(), p.Edge.Metrics(), p.Cluster.Metrics(), p.Forward.Metrics(), p.Drain.Metrics(),
		p.Bus.Metrics(), p.Limiter.Metrics(), p.Keyring.Metrics()}
	if p.Journal != nil {
		sets = append(sets, p.Journal.Metrics())
	}
	return sets
}
