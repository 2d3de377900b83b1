package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"partyline/config"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/internal/natsd/proxytest"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(8)
	goleak.VerifyTestMain(m, proxytest.Leaks...)
}

// stage is NATS with JetStream, and an edge with the example's own configuration.
type stage struct {
	*edgetest.Node
	t   *testing.T
	url string // of NATS
}

func begin(t *testing.T) *stage {
	t.Helper()
	url := natsOf(t)
	return &stage{edgeOf(t, url), t, url}
}

func natsOf(t *testing.T) (url string) {
	t.Helper()
	return natsdtest.Start(t, fmt.Sprintf("jetstream { store_dir: %q }", t.TempDir())).ClientURL()
}

func edgeOf(t *testing.T, url string) *edgetest.Node {
	t.Helper()
	loaded, err := config.Load(config.FlavourEmbedded, []string{"--config", "partyline.yaml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return edgetest.Start(t, edgetest.Options{NATS: url, Namespaces: loaded.Config.Namespaces}).Ready()
}

// instance runs one instance of the chat until the function that it returns is called, which is SIGTERM, or the test
// ends.
func (s *stage) instance(name string) (stop func()) {
	s.t.Helper()
	log := &logLines{t: s.t, name: name, talk: s.Talk, ready: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, settings{NATS: s.url}, slog.New(slog.NewTextHandler(log, nil)))
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("instance %s ended with: %v", name, err)
			}
		case <-time.After(edgetest.Patience):
			s.t.Errorf("instance %s does not end", name)
		}
	})
	s.t.Cleanup(stop)
	select {
	case <-log.ready:
	case <-time.After(edgetest.Patience):
		s.t.Fatalf("instance %s does not say that it is ready", name)
	}
	return stop
}

// logLines reads an instance's log.
type logLines struct {
	t     *testing.T
	name  string
	talk  *enginetest.Conversation
	once  sync.Once
	ready chan struct{}
}

func (l *logLines) Write(p []byte) (int, error) {
	l.talk.Note("%s: %s", l.name, bytes.TrimSpace(p))
	if bytes.Contains(bytes.ToLower(p), []byte("permissions violation")) {
		l.t.Errorf("NATS refused instance %s something: %s", l.name, p)
	}
	if bytes.Contains(p, []byte("msg=ready")) {
		l.once.Do(func() { close(l.ready) })
	}
	return len(p), nil
}

// store returns the shared store, so that the test can check it.
func (s *stage) store() store {
	s.t.Helper()
	shared, err := openStore(s.t.Context(), edgetest.Connect(s.t, s.url), 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return shared
}

// guest is a client of the chat.
type guest struct {
	*enginetest.Client
	t       *testing.T
	name    string
	id      string
	acks    int
	waiting []string // events that arrived during a wait for another one
}

const head = namespace + ","

// enter connects a client with a name.
func (s *stage) enter(name, key string) *guest {
	s.t.Helper()
	return enter(s.t, s.Node, name, key)
}

func enter(t *testing.T, n *edgetest.Node, name, key string) *guest {
	t.Helper()
	g := &guest{Client: n.Dial(name), t: t, name: name}
	g.id, _, _ = strings.Cut(g.Connect(namespace, fmt.Sprintf(`{"name":%q,"key":%q}`, name, key)), `"`) // a pid comes behind it
	return g
}

// refused tries to connect, and returns the error that the client gets.
func (s *stage) refused(auth string) string {
	s.t.Helper()
	c := s.Dial("somebody")
	defer c.Hangup()
	c.Send("40" + head + auth)
	text, ok := strings.CutPrefix(c.Next(), "44"+head)
	if !ok {
		s.t.Fatalf("%s was not refused", auth)
	}
	return text
}

// asks emits an event and returns its ack's only argument.
func (g *guest) asks(event string, args ...any) string {
	g.t.Helper()
	g.acks++
	body, err := json.Marshal(append([]any{event}, args...))
	if err != nil {
		g.t.Fatal(err)
	}
	g.Send(fmt.Sprintf("42%s%d%s", head, g.acks, body))
	want := fmt.Sprintf("43%s%d[", head, g.acks)
	for {
		frame := g.Next()
		if answer, ok := strings.CutPrefix(frame, want); ok {
			return strings.TrimSuffix(answer, "]")
		}
		g.waiting = append(g.waiting, frame)
	}
}

// is compares an ack.
func (g *guest) is(got, want string) {
	g.t.Helper()
	if got != want {
		g.t.Fatalf("%s received %s, want %s", g.name, got, want)
	}
}

// joins enters a room and returns the people who are there.
func (g *guest) joins(room string) (people []string) {
	g.t.Helper()
	var answer struct {
		People []string
		Error  string
	}
	if err := json.Unmarshal([]byte(g.asks("join", room)), &answer); err != nil || answer.Error != "" {
		g.t.Fatalf("%s joins %s: %+v %v", g.name, room, answer, err)
	}
	return answer.People
}

// says sends a message to a room, which must succeed.
func (g *guest) says(room, text string) {
	g.t.Helper()
	if answer := g.asks("message", room, text); !strings.HasPrefix(answer, `{"id":`) {
		g.t.Fatalf("%s says %q in %s: %s", g.name, text, room, answer)
	}
}

// hears waits for an event, keeps earlier ones, and returns its arguments without the offset.
func (g *guest) hears(event string) []json.RawMessage {
	g.t.Helper()
	for i := 0; ; i++ {
		for i >= len(g.waiting) {
			g.waiting = append(g.waiting, g.Next())
		}
		_, body, found := strings.Cut(g.waiting[i], "[")
		var elements []json.RawMessage
		if !found || json.Unmarshal([]byte("["+body), &elements) != nil || string(elements[0]) != fmt.Sprintf("%q", event) {
			continue
		}
		g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
		return elements[1 : len(elements)-1]
	}
}

// hearsText waits for a message in a room and compares its author and text.
func (g *guest) hearsText(from, text string) {
	g.t.Helper()
	var l line
	if err := json.Unmarshal(g.hears("message")[0], &l); err != nil || l.From != from || l.Text != text || l.ID == "" ||
		l.At.IsZero() {
		g.t.Fatalf("%s hears %+v (%v), want %q from %s", g.name, l, err, text, from)
	}
}

// hearsOf waits for an event about people and compares its arguments.
func (g *guest) hearsOf(event string, args ...string) {
	g.t.Helper()
	got := g.hears(event)
	for i, arg := range args {
		if len(got) != len(args) || string(got[i]) != fmt.Sprintf("%q", arg) {
			g.t.Fatalf("%s hears %s %s, want %q", g.name, event, got, args)
		}
	}
}
