package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"partyline/admin"
	"partyline/bus"
	"partyline/cluster"
	"partyline/config"
	"partyline/edge"
	"partyline/engine"
	"partyline/internal/tally"
	"partyline/subjects"
	"partyline/web"
)

const (
	// natsHeadroom is what an event must stay below NATS's largest message, in bytes: the room for headers.
	natsHeadroom = 64 << 10
	// lastWords is how long the last notices may take once the sessions have ended.
	lastWords = 5 * time.Second
)

// front is all that serves clients: the bus, the edge, the engine and the pages.
type front struct {
	bus     *bus.Bus
	edge    *edge.Edge
	engine  *engine.Server
	cluster *cluster.Cluster
	forward *cluster.Forwarder // in front of the engine
	drain   *cluster.Drainer
	handler http.Handler
	log     *slog.Logger

	reading   context.CancelFunc // ends the goroutine that reads from NATS
	attending context.CancelFunc // ends those that announce the edge and watch over others
	running   sync.WaitGroup     // of the first
	attentive sync.WaitGroup     // of the others
}

// newFront connects to NATS, which may take its time, and makes everything ready to serve. The caller must call leave.
func newFront(c config.Config, inside NATS, log *slog.Logger) (*front, error) {
	f := &front{log: log}
	prefix, err := subjects.NewPrefix(c.NATS.Prefix)
	if err != nil {
		return nil, fmt.Errorf("nats.prefix: %w", err)
	}
	id := edge.NewID()
	f.log = log.With("edge", id)
	f.engine = engine.NewServer(engine.Settings{
		Config: c.Engine, EdgeID: id, Origins: c.CORS.Origins, Credentials: c.CORS.Credentials, Cookie: c.Cookie.Name,
		TrustedProxies: c.ProxyRanges(), MaxSessions: c.Limits.Sessions, MaxPerAddress: c.Limits.SessionsPerAddress,
		MaxHandshakes: c.Limits.HandshakesPerSecond, QueueBytes: c.Limits.QueueBytes, QueuePackets: c.Limits.QueuePackets,
		Refuse:  func() error { return f.refusal(c) },
		Handler: func(s *engine.Session, o *engine.Opening) engine.Receiver { return f.edge.Accept(s, o) },
		Log:     f.log,
	})
	connected := make(chan *bus.Bus, 1)
	options := []bus.Option{bus.OnConnect(func() {
		b := <-connected // the first connection may stand before Connect returns
		connected <- b
		f.fitPayload(c.Engine.MaxPayload, b.MaxPayload())
	})}
	if inside != nil {
		options = append(options, bus.InProcess(inside))
	}
	if f.bus, err = bus.Connect(c.NATS, f.log, options...); err != nil {
		return nil, err
	}
	connected <- f.bus
	f.edge = edge.New(edge.Settings{
		ID: id, Prefix: prefix, Namespaces: c.Namespaces, Limits: c.Limits, QueueBytes: c.Limits.QueueBytes, ConnectTimeout: c.ConnectTimeout,
		MaxPayload: f.engine.MaxPayload, Bus: f.bus, Log: f.log,
	})
	f.cluster = cluster.New(cluster.Settings{
		ID: id, Address: c.Advertise, Prefix: prefix, Secret: c.Edges.Secret, Sockets: f.edge.Sockets, Missed: f.edge.Missed,
		Version: Version(), Figures: f.figures, Bus: f.bus, Log: f.log,
	})
	f.forward = cluster.NewForwarder(cluster.ForwarderSettings{
		ID: id, Secret: c.Edges.Secret, Config: c.Engine, Engine: f.engine, Cluster: f.cluster,
		Path: c.Path, Log: f.log,
	})
	f.drain = cluster.NewDrainer(cluster.DrainSettings{
		DrainConfig: c.Drain, Isolation: c.IsolationTimeout, Engine: f.engine, Forward: f.forward, Cluster: f.cluster, Log: f.log,
	})
	var reading, attending context.Context
	reading, f.reading = context.WithCancel(context.Background())
	f.running.Go(func() { f.edge.Listen(reading, f.cluster.Handle) })
	attending, f.attending = context.WithCancel(context.Background())
	f.attentive.Go(func() { f.cluster.Run(attending, f.bus) })
	f.attentive.Go(func() { f.edge.Attend(attending) })
	f.attentive.Go(func() { f.drain.Run(attending) })
	f.attentive.Go(func() { tidy(attending, f.engine.Moved, giveBack) })
	f.handler = f.routes(c, inside)
	return f, nil
}

// routes is what is where for clients.
func (f *front) routes(c config.Config, inside NATS) http.Handler {
	client := web.NewClient()
	mux := http.NewServeMux()
	mux.HandleFunc(c.Path, func(w http.ResponseWriter, r *http.Request) {
		switch name := strings.TrimPrefix(r.URL.Path, c.Path); {
		case name == "":
			f.forward.ServeHTTP(w, r)
		case client.Has(name):
			f.engine.WriteCORS(w, r)
			client.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
	if bare := strings.TrimSuffix(c.Path, "/"); bare != "" {
		mux.Handle(bare, f.forward) // for clients with addTrailingSlash: false; the reference must be told
	}
	if c.Page {
		url := "" // where NATS is for a reader of the page, which need not be where it is for the edge
		if inside != nil {
			url = inside.ClientURL()
		}
		mux.Handle("/", web.NewPage(web.PageConfig{Prefix: c.NATS.Prefix, Path: c.Path, NATS: url}))
	} else {
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "Nothing is here. Socket.IO clients connect at "+c.Path+" (with `page: true` there is a page to try it).", http.StatusNotFound)
		})
	}
	if !c.Open {
		return mux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocalHost(r.Host) {
			http.Error(w, "This is a development server that allows everything: it serves localhost, 127.0.0.1 and [::1] only. "+
				"Give it a `namespaces` section to use it under another name.", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// isLocalHost says whether a Host names this machine. A page elsewhere can make a browser send any other name to a
// loopback address (DNS rebinding), but not these.
func isLocalHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	switch strings.Trim(strings.ToLower(name), "[]") {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return false
}

// errNoNATS is what a client reads that comes while NATS is away.
var errNoNATS = errors.New("this server cannot reach its services now: try again, and you may reach another")

// refusal says why no session may begin now. Without NATS no service decides about its sockets, so another edge, which may have
// NATS, can do more for the client. Sessions that are there go on.
func (f *front) refusal(c config.Config) error {
	if c.NATS.RefuseSessions == bus.RefuseOff || f.bus.Connected() {
		return nil
	}
	for _, ns := range c.Namespaces {
		if ns.Connect == edge.ConnectOpen {
			return nil // it needs no service
		}
	}
	if c.NATS.RefuseSessions == bus.RefuseAuto && !f.cluster.HadOthers() {
		return nil
	}
	return errNoNATS
}

// fitPayload keeps clients' packets below what NATS takes.
func (f *front) fitPayload(wanted, nats int) {
	limit := max(nats-natsHeadroom, nats/2) // a NATS server with tiny messages still takes something
	if wanted <= limit {
		f.engine.SetMaxPayload(wanted)
		return
	}
	f.engine.SetMaxPayload(limit)
	level := slog.LevelWarn
	if wanted == engine.DefaultConfig().MaxPayload { // nobody asked for so much, and a NATS server as it comes allows less
		level = slog.LevelInfo
	}
	f.log.Log(context.Background(), level,
		"engine.max_payload is larger than NATS allows; clients are told the smaller limit (raise max_payload of the NATS server)",
		"engine.max_payload", wanted, "nats_max_payload", nats, "used", limit)
}

// ready says why clients should go elsewhere now.
func (f *front) ready() []string {
	return slices.Concat(f.drain.Ready(), f.bus.Ready(), f.cluster.Ready())
}

// figures is what is told of this edge to `nats micro stats`.
func (f *front) figures() cluster.Figures {
	return cluster.Figures{Sessions: f.engine.Sessions(), Sockets: f.edge.Sockets(), Rooms: f.edge.Rooms()}
}

// edges is what the operator sees of this edge and the others.
func (f *front) edges() []admin.Edge {
	var all []admin.Edge
	for _, m := range f.cluster.Members() {
		all = append(all, admin.Edge{
			Edge: m.ID, Address: m.Address, Sockets: m.Sockets, BeatAge: m.Beat.Milliseconds(), This: m.This, Silent: m.Silent, Draining: m.Draining,
		})
	}
	return all
}

func (f *front) metrics() []*tally.Set {
	return []*tally.Set{f.engine.Metrics(), f.edge.Metrics(), f.cluster.Metrics(), f.forward.Metrics(), f.drain.Metrics(), f.bus.Metrics()}
}

// close ends the sessions, and what goes through this edge to sessions elsewhere, in good order: their clients see the
// transport close and come back, to another edge.
func (f *front) close() { f.drain.Stop() }

// leave ends what close left, publishes the last notices and disconnects from NATS. No request may come any more.
func (f *front) leave() {
	f.drain.Stop() // where serve has not come so far as to close
	f.engine.Abort()
	f.forward.Abort()
	f.attending()
	f.attentive.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	f.bus.Close(ctx)
	f.reading()
	f.running.Wait()
}
