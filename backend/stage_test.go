package backend_test

import (
	"flag"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline/backend"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

func TestMain(m *testing.M) {
	// Tests wait more than they compute, so more of them run at once than there are processors. There are not many
	// more: an instance that does not run for three seconds releases its sockets.
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = flag.Set("test.parallel", "4")
	}
	goleak.VerifyTestMain(m)
}

const patience = edgetest.Patience

// stage is NATS, an edge, and what services need.
type stage struct {
	*edgetest.Node
	t    testing.TB
	nats *natsdtest.Server
}

func begin(t testing.TB, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	server := natsdtest.Start(t)
	service := rule.Namespace{Connect: rule.ConnectService, ConnectTimeout: 5 * time.Second}
	o := edgetest.Options{
		NATS: server.ClientURL(), Namespaces: map[string]rule.Namespace{"*": service, "/open": {Connect: rule.ConnectOpen}},
	}
	for _, c := range change {
		c(&o)
	}
	return &stage{t: t, nats: server, Node: edgetest.Start(t, o).Ready()}
}

// connection is a NATS connection until the test ends.
func (s *stage) connection() *nats.Conn {
	s.t.Helper()
	return connection(s.t, s.nats.ClientURL())
}

func connection(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	return edgetest.Connect(t, url, options...)
}

// service makes a service that is not started yet.
func (s *stage) service(group string, options ...backend.Option) *backend.Service {
	s.t.Helper()
	return serviceOn(s.t, s.connection(), s.Talk, group, options...)
}

func serviceOn(t testing.TB, nc *nats.Conn, talk *enginetest.Conversation, group string, options ...backend.Option) *backend.Service {
	t.Helper()
	log := slog.New(slog.NewTextHandler(noteWriter{talk}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	io, err := backend.New(nc, group, append([]backend.Option{backend.Logger(log)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return io
}

// start runs a service until the test ends.
func (s *stage) start(io *backend.Service) *backend.Service {
	s.t.Helper()
	edgetest.Serve(s.t, io)
	return io
}

// logText is a log that the test can read.
type logText struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logText) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

type noteWriter struct{ talk *enginetest.Conversation }

func (w noteWriter) Write(p []byte) (int, error) {
	w.talk.Note("service log: %s", p)
	return len(p), nil
}

// client is one client in one namespace.
type client struct {
	*enginetest.Client
	id, head string
}

func (s *stage) enter(name, namespace string) *client {
	s.t.Helper()
	return enter(s.Node, name, namespace, "")
}

func enter(n *edgetest.Node, name, namespace, auth string) *client {
	c := &client{Client: n.Dial(name), head: namespace + ","}
	if namespace == "/" {
		c.head = ""
	}
	c.id = c.Connect(namespace, auth)
	return c
}

// emit sends an event. ack is its ack id, or "".
func (c *client) emit(ack, body string) { c.Send("42" + c.head + ack + body) }

// gets waits for an event as the next frame.
func (c *client) gets(body string) { c.Expect("42" + c.head + body) }

// acked waits for an ack as the next frame.
func (c *client) acked(id, body string) { c.Expect("43" + c.head + id + body) }

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	edgetest.Eventually(t, what, ok)
}

// figure reads a metric of the edge.
func figure(s *stage, name string) int { return s.Figure(name, "") }
