package gateway_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"partyline/engine/enginetest"
	"partyline/gateway"
	"partyline/gateway/hook"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/internal/natsd/proxytest"
	"partyline/rule"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(4)
	goleak.VerifyTestMain(m, proxytest.Leaks...)
}

// secrets are two, as while one replaces the other.
var secrets = [][]byte{[]byte("an old secret of 32 random bytes"), []byte("a new secret of 32 random bytes!")}

// request is one that an endpoint received.
type request struct {
	SpecVersion, ID, Source, Type, Subject, Time, Socket, User, DataContentType string

	WantsAck bool
	Data     struct {
		Event       []any
		Attachments [][]byte
		Handshake   struct {
			SID  string
			Auth map[string]any
		}
		Recovered bool
		Reason    string
		Rooms     []string
	}
	http *http.Request
}

// name is what the request is about: connect, disconnect, or the event.
func (r *request) name() string {
	if r.Type == "partyline.event" {
		return r.Subject
	}
	return strings.TrimPrefix(r.Type, "partyline.")
}

// endpoint is an HTTP endpoint that verifies requests with the official library, and records them.
type endpoint struct {
	*httptest.Server
	t      *testing.T
	handle func(w http.ResponseWriter, r *request)

	mu       sync.Mutex
	requests []*request // guarded by mu
}

// newEndpoint runs an endpoint until the test ends.
func newEndpoint(t *testing.T, handle func(w http.ResponseWriter, r *request)) *endpoint {
	e := &endpoint{t: t, handle: handle}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

// ServeHTTP verifies and records a request.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the gateway has given up
	}
	for _, secret := range secrets {
		verifier, err := webhooks.NewWebhook(base64.StdEncoding.EncodeToString(secret))
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		if err != nil {
			e.t.Errorf("a request is not signed: %v", err)
		}
	}
	got := &request{http: r}
	if err := json.Unmarshal(body, got); err != nil {
		e.t.Errorf("a request is no JSON: %v\n%s", err, body)
	}
	if kind := r.Header.Get("Content-Type"); kind != "application/cloudevents+json; charset=utf-8" || got.SpecVersion != "1.0" || got.ID != r.Header.Get("Webhook-Id") || got.ID == "" {
		e.t.Errorf("%s is no CloudEvent in structured mode whose id is the webhook-id: %s", kind, body)
	}
	if _, err := time.Parse(time.RFC3339, got.Time); err != nil {
		e.t.Errorf("time: %v", err)
	}
	e.mu.Lock()
	e.requests = append(e.requests, got)
	e.mu.Unlock()
	e.handle(w, got)
}

// about returns the requests about an event so far.
func (e *endpoint) about(name string) (found []*request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.requests {
		if r.name() == name {
			found = append(found, r)
		}
	}
	return found
}

// gets waits until there are so many requests about an event.
func (e *endpoint) gets(n int, name string) []*request {
	e.t.Helper()
	edgetest.Eventually(e.t, fmt.Sprintf("the endpoint has %d requests about %s", n, name), func() bool { return len(e.about(name)) >= n })
	return e.about(name)
}

// answer answers with a status and JSON.
func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// stage is NATS, an edge and gateways.
type stage struct {
	*edgetest.Node
	t    *testing.T
	nats *natsdtest.Server
}

func begin(t *testing.T, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	t.Parallel()
	server := natsdtest.Start(t)
	o := edgetest.Options{NATS: server.ClientURL(), Namespaces: map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectService, ConnectTimeout: 20 * time.Second},
	}}
	for _, c := range change {
		c(&o)
	}
	return &stage{t: t, nats: server, Node: edgetest.Start(t, o).Ready()}
}

// hooked is a hook of /chat that takes everything.
func hooked(urls ...string) hook.Hook {
	return hook.Hook{
		Namespaces: []string{"/chat"}, Events: []string{hook.Connect, hook.Disconnect, "*"}, URLs: urls, Secrets: secrets,
		Timeout: 5 * time.Second, Concurrency: 64,
	}
}

// gateway runs a gateway until the test ends.
func (s *stage) gateway(hooks ...hook.Hook) *gateway.Gateway {
	s.t.Helper()
	return s.gatewayAt(s.nats.ClientURL(), hooks...)
}

// gatewayAt runs one that reaches NATS at a URL.
func (s *stage) gatewayAt(url string, hooks ...hook.Hook) *gateway.Gateway {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(noteWriter{s.Talk}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g, err := gateway.New(edgetest.Connect(s.t, url), gateway.Options{
		Prefix: "sio", Group: "gateway", UserRoom: "user:", Hooks: hooks, Log: log,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	edgetest.Serve(s.t, g)
	return g
}

// figure reads a metric of a gateway.
func figure(g *gateway.Gateway, name, label string) int {
	for _, set := range g.Metrics() {
		for _, m := range set.Metrics() {
			if m.Name == name && m.Value() == label {
				return int(m.Read())
			}
		}
	}
	panic("no metric " + name + " " + label)
}

type noteWriter struct{ talk *enginetest.Conversation }

func (w noteWriter) Write(p []byte) (int, error) {
	w.talk.Note("gateway log: %s", p)
	return len(p), nil
}
