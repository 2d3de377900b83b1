// Package edgetest runs whole edges inside a test: NATS, bus, edge and engine behind a real HTTP listener.
package edgetest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"partyline/bus"
	"partyline/cluster"
	"partyline/edge"
	"partyline/engine"
	"partyline/engine/enginetest"
	"partyline/internal/tally"
	"partyline/subjects"
)

// Options of a running edge; the zero value is what New fills in.
type Options struct {
	NATS       string // URL of the server; required unless InProcess is set
	InProcess  interface{ InProcessConn() (net.Conn, error) }
	Namespaces map[string]edge.Namespace // default: everything open, every room, message to rooms or all
	Limits     edge.Limits               // default: DefaultLimits
	Engine     engine.Config             // default: DefaultConfig
	Settings   func(*engine.Settings)
	Linger     time.Duration
	Channel    int
	QueueBytes int
	Secret     string              // with which edges sign their announcements, and what they pass on
	Drain      cluster.DrainConfig // the zero value: all at once
	Isolation  time.Duration       // see cluster.DrainSettings
	Connect    time.Duration       // how long a session may be without a namespace; default: 45 s
	SendBuffer int                 // bytes that the kernel keeps for a client that does not read; default: megabytes, as it likes
}

// Node is a running edge.
type Node struct {
	URL     string
	ID      string
	Bus     *bus.Bus
	Edge    *edge.Edge
	Engine  *engine.Server
	Others  *cluster.Cluster
	Forward *cluster.Forwarder
	Drain   *cluster.Drainer
	Talk    *enginetest.Conversation
	t       testing.TB
	log     *logWriter
	stop    func()
	heard   atomic.Int64 // see Heard
}

// Heard is how many messages the edge had from NATS, without the announcements of edges, which come all the time.
func (n *Node) Heard() int { return int(n.heard.Load()) }

// Open lets everybody do everything.
func Open() map[string]edge.Namespace {
	return map[string]edge.Namespace{"*": {Connect: edge.ConnectOpen, Rooms: []string{"*"}, Relay: []edge.Relay{
		{Event: "message", To: edge.ToRoomsOrAll}, {Event: "everyone", To: edge.ToAll}, {Event: "direct", To: edge.ToSocket},
	}}}
}

// Start runs an edge until the test ends, and waits until it is ready if NATS is there.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	if o.Namespaces == nil {
		o.Namespaces = Open()
	}
	if o.Limits == (edge.Limits{}) {
		o.Limits = edge.DefaultLimits()
	}
	if o.Engine.MaxPayload == 0 {
		o.Engine = engine.DefaultConfig()
	}
	if o.Connect == 0 {
		o.Connect = 45 * time.Second
	}
	n := &Node{t: t, ID: edge.NewID(), Talk: enginetest.NewConversation(t)}
	n.log = &logWriter{talk: n.Talk}
	log := slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	options := []bus.Option{}
	if o.InProcess != nil {
		options = append(options, bus.InProcess(o.InProcess))
	}
	if o.Linger > 0 {
		options = append(options, bus.Linger(o.Linger))
	}
	if o.Channel > 0 {
		options = append(options, bus.Channel(o.Channel))
	}
	b, err := bus.Connect(bus.Config{URL: o.NATS}, log, options...)
	if err != nil {
		t.Fatal(err)
	}
	prefix, err := subjects.NewPrefix("sio")
	if err != nil {
		t.Fatal(err)
	}
	n.Bus = b
	n.Edge = edge.New(edge.Settings{
		ID: n.ID, Prefix: prefix, Namespaces: o.Namespaces, Limits: o.Limits, ConnectTimeout: o.Connect,
		QueueBytes: o.QueueBytes, MaxPayload: func() int { return n.Engine.MaxPayload() }, Bus: b, Log: log,
	})
	set := engine.Settings{
		Config: o.Engine, EdgeID: n.ID, QueueBytes: o.QueueBytes, QueuePackets: o.Limits.QueuePackets, MaxSessions: o.Limits.Sessions,
		MaxPerAddress: o.Limits.SessionsPerAddress, MaxHandshakes: o.Limits.HandshakesPerSecond,
		Handler: n.Edge.Accept, Log: log,
	}
	if o.Settings != nil {
		o.Settings(&set)
	}
	n.Engine = engine.NewServer(set)
	mux := http.NewServeMux()
	front := o.front(mux, log)
	n.URL = "http://" + front.Listener.Addr().String()
	n.Others = cluster.New(cluster.Settings{
		ID: n.ID, Address: n.URL, Prefix: prefix, Secret: o.Secret, Sockets: n.Edge.Sockets, Missed: n.Edge.Missed,
		Version: "v1.2.3", Figures: n.figures, Bus: b, Log: log,
	})
	n.Forward = cluster.NewForwarder(cluster.ForwarderSettings{
		ID: n.ID, Secret: o.Secret, Config: o.Engine, Engine: n.Engine, Cluster: n.Others,
		Path: "/socket.io/", Log: log,
	})
	n.Drain = cluster.NewDrainer(cluster.DrainSettings{DrainConfig: o.Drain, Isolation: o.Isolation, Engine: n.Engine, Forward: n.Forward, Cluster: n.Others, Log: log})
	mux.Handle("/socket.io/", n.Forward)
	ctx, cancel := context.WithCancel(context.Background())
	var running, attentive sync.WaitGroup
	running.Go(func() {
		n.Edge.Listen(ctx, func(m *bus.Message) bool {
			taken := n.Others.Handle(m)
			if !taken {
				n.heard.Add(1)
			}
			return taken
		})
	})
	attending, leave := context.WithCancel(context.Background())
	attentive.Go(func() { n.Others.Run(attending, b) })
	attentive.Go(func() { n.Edge.Attend(attending) })
	attentive.Go(func() { n.Drain.Run(attending) })
	front.Start()
	n.stop = sync.OnceFunc(func() {
		n.Engine.Leave()
		for _, end := range n.Engine.Closers(engine.ServerShutdown) { // whatever the rate of o.Drain
			end()
		}
		n.Drain.Stop()
		n.Engine.Abort()
		n.Forward.Abort()
		front.Close()
		leave()
		attentive.Wait()
		closing, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		b.Close(closing)
		cancel()
		running.Wait()
	})
	t.Cleanup(n.stop)
	return n
}

// front is an HTTP server that is not started yet; it has its address.
func (o *Options) front(handler http.Handler, log *slog.Logger) *httptest.Server {
	front := httptest.NewUnstartedServer(handler)
	front.Config.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelError) // net/http catches panics of handlers
	if o.SendBuffer > 0 {
		front.Config.ConnState = func(c net.Conn, state http.ConnState) {
			if state == http.StateNew {
				_ = c.(*net.TCPConn).SetWriteBuffer(o.SendBuffer)
			}
		}
	}
	return front
}

// Stop ends the edge before the test ends. Its clients see the transport close.
func (n *Node) Stop() { n.stop() }

// Ready waits until the edge can be relied on.
func (n *Node) Ready() *Node {
	n.t.Helper()
	Eventually(n.t, "the edge is ready", func() bool { return len(n.Bus.Ready()) == 0 })
	held := make(chan struct{}) // and hears what it subscribed since it first was
	Eventually(n.t, "there is room to wait for that", func() bool { return n.Bus.AfterSubscribed(func() { close(held) }) })
	<-held
	return n
}

func (n *Node) figures() cluster.Figures {
	return cluster.Figures{Sessions: n.Engine.Sessions(), Sockets: n.Edge.Sockets(), Rooms: n.Edge.Rooms()}
}

// Metrics is what is counted in the edge, in the order of a running program.
func (n *Node) Metrics() []*tally.Set {
	return []*tally.Set{n.Engine.Metrics(), n.Edge.Metrics(), n.Others.Metrics(), n.Forward.Metrics(), n.Drain.Metrics(), n.Bus.Metrics()}
}

// NotReady says why no clients should come.
func (n *Node) NotReady() []string {
	return slices.Concat(n.Drain.Ready(), n.Bus.Ready(), n.Others.Ready())
}

// Dial opens a session over WebSocket.
func (n *Node) Dial(name string) *enginetest.Client {
	n.t.Helper()
	return enginetest.Dial(n.t, n.Talk, name, n.URL, nil)
}

// Eventually polls until something is so, and fails the test when it takes too long.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come true that %s", what)
		}
	}
}

// Logged is what the edge has logged so far, a string a line, without what only level debug shows.
func (n *Node) Logged() []string {
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	return slices.Clone(n.log.lines)
}

// logWriter takes the edge's log, one line a call.
type logWriter struct {
	talk *enginetest.Conversation

	mu    sync.Mutex
	lines []string // guarded by mu
}

func (w *logWriter) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	w.talk.Note("log: %s", line)
	if !strings.Contains(line, "level=DEBUG") {
		w.mu.Lock()
		w.lines = append(w.lines, line)
		w.mu.Unlock()
	}
	return len(p), nil
}
