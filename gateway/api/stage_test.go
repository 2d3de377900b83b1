package api

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/rule"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(8)
	goleak.VerifyTestMain(m)
}

// theKey is a key that may do all of /chat and /news.
const theKey = "partyline_all"

// stage is NATS, an edge, and the API behind an HTTP server.
type stage struct {
	*edgetest.Stage
	*API
	t   testing.TB
	url string
}

// everything is a key that may do everything.
func everything() Key {
	return Key{
		Name: "all", Hash: HashKey(theKey), Namespaces: []string{"/chat", "/news", "/ten*"}, Verbs: verbs, Rooms: []string{"*"},
		May: []string{mayAll, maySocket, mayUser, mayRead, maySession},
	}
}

// namespaces are those of the edge.
func namespaces() map[string]rule.Namespace {
	open := rule.Namespace{Connect: rule.ConnectOpen, Rooms: []string{"*"}, UserRoom: "user:"}
	return map[string]rule.Namespace{"/chat": open, "/other": open}
}

func begin(t testing.TB, change ...func(*Options)) *stage {
	t.Helper()
	return beginOn(t, edgetest.Begin(t, namespaces()), change...)
}

func beginOn(t testing.TB, on *edgetest.Stage, change ...func(*Options)) *stage {
	t.Helper()
	log := slog.New(slog.NewTextHandler(noteWriter{on.Talk}, nil))
	io, err := backend.New(edgetest.Connect(t, on.NATS.ClientURL()), "gateway", backend.Logger(log))
	if err != nil {
		t.Fatal(err)
	}
	edgetest.Serve(t, io)
	o := Options{Keys: []Key{everything()}, UserRoom: "user:", Log: log}
	for _, c := range change {
		c(&o)
	}
	a, err := New(io, o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return &stage{Stage: on, API: a, t: t, url: server.URL}
}

type noteWriter struct {
	talk interface{ Note(string, ...any) }
}

func (w noteWriter) Write(p []byte) (int, error) {
	w.talk.Note("gateway: %s", bytes.TrimSpace(p))
	return len(p), nil
}

// reply is an answer of the API.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request with a key. more are headers, each a name and a value.
func (s *stage) do(method, path, key, body string, more ...string) reply {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(more); i += 2 {
		r.Header.Set(more[i], more[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Talk.Note("%s %s %.300s -> %d %.300s", method, path, body, response.StatusCode, text)
	return reply{response.StatusCode, response.Header, string(text)}
}

// post sends a command with the key that may do everything.
func (s *stage) post(verb, body string, more ...string) reply {
	s.t.Helper()
	return s.do(http.MethodPost, "/v1/"+verb, theKey, body, more...)
}

// answers sends a command, and compares the answer.
func (s *stage) answers(verb, body string, status int, want string) {
	s.t.Helper()
	if got := s.post(verb, body); got.status != status || got.body != want {
		s.t.Errorf("%s %s: %d %s, want %d %s", verb, body, got.status, got.body, status, want)
	}
}

// isProblem fails the test unless an answer is a problem of a kind whose detail has a text.
func (s *stage) isProblem(got reply, want kind, detail string) {
	s.t.Helper()
	var p problemJSON
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		s.t.Errorf("%d %s: %v", got.status, got.body, err)
		return
	}
	if got.status != want.status || p.Status != want.status || p.Type != problemPrefix+want.name || p.Title != want.title ||
		!strings.Contains(p.Detail, detail) || got.header.Get("Content-Type") != "application/problem+json" {
		s.t.Errorf("%d %s (%s), want %s with %q", got.status, got.body, got.header.Get("Content-Type"), want.name, detail)
	}
}
