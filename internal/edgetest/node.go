// Package edgetest is shared by the tests of whole edges: NATS, an edge behind a real HTTP listener, clients of the
// edge, and services.
package edgetest

import (
	"cmp"
	"context"
	"fmt"
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
	"partyline/config"
	"partyline/engine"
	"partyline/engine/enginetest"
	"partyline/internal/natsconn"
	"partyline/internal/wiring"
	"partyline/rule"
	"partyline/token"
)

// Options of a running edge. A zero field has the default in its comment, or none.
type Options struct {
	NATS       string // URL of the server; required unless InProcess is set
	InProcess  interface{ InProcessConn() (net.Conn, error) }
	Namespaces map[string]rule.Namespace // default: everything open, every room, message to rooms or all
	Tokens     []token.Issuer            // of which Namespaces name some
	Token      config.Token              // default: as in Default
	Limits     config.Limits             // default: DefaultLimits
	Engine     engine.Config             // default: DefaultConfig
	Origins    []string                  // other origins whose pages may connect
	Trusted    []string                  // ranges of proxies whose X-Forwarded headers count
	Linger     time.Duration
	Channel    int
	QueueBytes int                 // default: that of Limits
	Secret     string              // edges sign their announcements, and what they forward, with it
	Networks   []string            // where other edges are; default: anywhere
	Drain      cluster.DrainConfig // the zero value: all at once
	Isolation  time.Duration       // see cluster.DrainSettings
	Replies    []string            // where the edge answers; default: below _INBOX
	Connect    time.Duration       // how long a session may have no namespace; default: 45 s
	SendBuffer int                 // kernel buffer of a client that does not read, in bytes; default: megabytes
}

// config returns the options in the form that a program has.
func (o *Options) config(address string) config.Config {
	c := config.Config{
		Front: config.Front{Path: "/socket.io/", ConnectTimeout: cmp.Or(o.Connect, 45*time.Second), TrustedProxies: o.Trusted},
		NATS:  natsconn.Config{URL: o.NATS, Prefix: "sio", ReplyPrefixes: o.replies(), RefuseSessions: natsconn.RefuseOff}, Engine: o.Engine,
		CORS:   config.CORS{Origins: o.Origins},
		Limits: o.Limits, Advertise: address, Edges: config.Edges{Secret: o.Secret, Networks: o.Networks}, Drain: o.Drain, IsolationTimeout: o.Isolation,
		Rules: config.Rules{Namespaces: o.Namespaces, Tokens: o.Tokens, Token: o.Token, Recovery: config.Default(config.FlavourEdge).Recovery},
	}
	if c.Namespaces == nil {
		c.Namespaces = Open()
	}
	if c.Token.From == nil {
		c.Token = config.Default(config.FlavourEdge).Token
	}
	if c.Limits == (config.Limits{}) {
		c.Limits = config.DefaultLimits()
	}
	if o.QueueBytes > 0 {
		c.Limits.QueueBytes, c.Limits.SessionBytes = o.QueueBytes, max(c.Limits.SessionBytes, 2*o.QueueBytes)
	}
	if c.Engine.MaxPayload == 0 {
		c.Engine = engine.DefaultConfig()
	}
	return c
}

// replies returns where the edge answers.
func (o *Options) replies() []string {
	if o.Replies == nil {
		return natsconn.DefaultConfig().ReplyPrefixes
	}
	return o.Replies
}

// bus returns the options of the connection to NATS.
func (o *Options) bus() bus.Options {
	return bus.Options{
		Channel: o.Channel, Linger: o.Linger, InProcess: o.InProcess,
		OnConnect: func(int) {}, // tests also send what NATS refuses
	}
}

// Open allows every client everything.
func Open() map[string]rule.Namespace {
	return map[string]rule.Namespace{"*": {Connect: rule.ConnectOpen, Rooms: []string{"*"}, Relay: []rule.Relay{
		{Event: "message", To: rule.ToRoomsOrAll}, {Event: "everyone", To: rule.ToAll}, {Event: "direct", To: rule.ToSocket},
	}}}
}

// Node is a running edge.
type Node struct {
	*wiring.Parts
	URL   string
	Talk  *enginetest.Conversation
	t     testing.TB
	log   *logWriter
	stop  func()
	heard atomic.Int64 // see Heard
}

// Start runs an edge until the test ends.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	n := &Node{t: t, Talk: enginetest.NewConversation(t)}
	n.log = &logWriter{talk: n.Talk}
	log := slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	mux := http.NewServeMux()
	front := o.front(mux, log)
	n.URL = "http://" + front.Listener.Addr().String()
	parts, err := wiring.New(o.config(n.URL), "v1.2.3", log, o.bus())
	if err != nil {
		front.Close()
		t.Fatal(err)
	}
	n.Parts = parts
	mux.Handle("/socket.io/", n.Forward)
	n.Run(func(m *bus.Message) bool {
		taken := n.Cluster.Handle(m)
		if !taken {
			n.heard.Add(1)
		}
		return taken
	})
	front.Start()
	n.stop = sync.OnceFunc(func() {
		n.Engine.Leave()
		for _, end := range n.Engine.Closers(engine.ServerShutdown) { // whatever the rate of o.Drain
			end()
		}
		n.Drain.Stop(context.Background())
		n.Engine.Abort()
		n.Forward.Abort()
		front.Close()
		n.Leave()
	})
	t.Cleanup(n.stop)
	return n
}

// front is an HTTP server that is not started yet, but has its address.
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

// Ready waits until the edge is ready, receives on its subscriptions, and has found its log, if it needs one.
func (n *Node) Ready() *Node {
	n.t.Helper()
	Eventually(n.t, "the edge is ready", func() bool { return len(n.Bus.Ready()) == 0 })
	held := make(chan struct{})
	Eventually(n.t, "there is room to wait for that", func() bool { return n.Bus.AfterSubscribed(func() { close(held) }) })
	<-held
	Eventually(n.t, "the log is there", func() bool { return n.Journal == nil || len(n.Journal.Ready()) == 0 })
	return n
}

// Heard returns how many messages the edge received from NATS, without the regular announcements of edges.
func (n *Node) Heard() int { return int(n.heard.Load()) }

// Figure reads a metric. label is the value of its label, or "".
func (n *Node) Figure(name, label string) int {
	for _, set := range n.Metrics() {
		for _, m := range set.Metrics() {
			if m.Name == name && m.Value() == label {
				return int(m.Read())
			}
		}
	}
	panic("no metric " + name + " " + label)
}

// Counts waits until a metric has a value.
func (n *Node) Counts(name, label string, want int) {
	n.t.Helper()
	Eventually(n.t, fmt.Sprintf("%s %q is %d", name, label, want), func() bool { return n.Figure(name, label) == want })
}

// Dial opens a session over WebSocket.
func (n *Node) Dial(name string) *enginetest.Client {
	n.t.Helper()
	return enginetest.Dial(n.t, n.Talk, name, n.URL, nil)
}

// Logged returns what the edge has logged so far, one string per line, without level debug.
func (n *Node) Logged() []string {
	return slices.DeleteFunc(n.LoggedAll(), func(line string) bool { return strings.Contains(line, "level=DEBUG") })
}

// LoggedAll returns what the edge has logged so far, with level debug.
func (n *Node) LoggedAll() []string {
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	return slices.Clone(n.log.lines)
}

// logWriter receives the edge's log, one line per call.
type logWriter struct {
	talk *enginetest.Conversation

	mu    sync.Mutex
	lines []string // guarded by mu
}

func (w *logWriter) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	w.talk.Note("log: %s", line)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
	return len(p), nil
}
