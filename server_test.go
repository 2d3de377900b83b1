package partyline_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline"
	"partyline/backend"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// site is a program with a server behind net/http.
type site struct {
	*partyline.Server
	t    testing.TB
	url  string
	talk *enginetest.Conversation
	http *httptest.Server
}

// host runs a program whose service repeats a message to a room, and says goodbye on a channel.
func host(t testing.TB, o partyline.Options, gone chan<- string) *site {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	srv, err := partyline.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	chat := srv.Backend("chat")
	room := chat.Of("/chat_room", backend.Owned())
	room.OnConnection(func(s *backend.Socket) {
		_ = s.Join(s.Context(), "room")
		s.On("message", func(text string) error { return room.To("room").Emit("message", text) })
		s.On("whoami", func() string { return s.ID() })
	})
	room.OnDisconnect(func(s *backend.Socket, reason string) { gone <- reason })
	if err := chat.Start(edgetest.Patient(t)); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	web := httptest.NewServer(mux)
	return &site{srv, t, web.URL, enginetest.NewConversation(t), web}
}

func (s *site) enter(name string) *enginetest.Client {
	s.t.Helper()
	c := enginetest.Dial(s.t, s.talk, name, s.url, nil)
	c.Send("40/chat_room,")
	if frame := c.Next(); !strings.HasPrefix(frame, `40/chat_room,{"sid":"`) {
		s.t.Fatalf("%s got %s", name, frame)
	}
	return c
}

// end shuts down, and returns how long that took.
func (s *site) end(ctx context.Context) time.Duration {
	s.t.Helper()
	began := time.Now()
	if err := s.Shutdown(ctx); err != nil {
		s.t.Errorf("Shutdown: %v", err)
	}
	took := time.Since(began)
	if status := s.get("/socket.io/?EIO=4&transport=polling"); status != http.StatusServiceUnavailable {
		s.t.Errorf("after Shutdown a handshake gets %d", status)
	}
	s.http.Close()
	return took
}

func (s *site) get(path string) int {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: edgetest.Patience}
	response, err := client.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// One process is a whole installation. When it ends, its service has handled the last event of each client, and no
// goroutine is left.
func TestServerWithNATSInside(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	gone := make(chan string, 10)
	s := host(t, partyline.Options{}, gone)
	edgetest.Eventually(t, "it is ready", func() bool { return s.Ready() == nil })
	ann, bob := s.enter("ann"), s.enter("bob")
	whoami(t, ann, bob)
	ann.Send(`42/chat_room,["message","hello"]`)
	for _, c := range []*enginetest.Client{ann, bob} {
		c.Expect(`42/chat_room,["message","hello"]`)
	}
	if status := s.get("/socket.io/socket.io.js"); status != http.StatusOK {
		t.Errorf("the client's script: %d (make client)", status)
	}
	s.end(edgetest.Patient(t))
	ann.ExpectEnd()
	bob.ExpectEnd()
	for range 2 {
		if reason := edgetest.Await(t, gone); reason != "transport close" && reason != "server shutting down" {
			t.Errorf("a client went because of %q", reason)
		}
	}
}

// whoami has clients ask, and wait for the answer. It comes behind OnConnection, which joins the room.
func whoami(t *testing.T, clients ...*enginetest.Client) {
	t.Helper()
	for _, c := range clients {
		c.Send(`42/chat_room,7["whoami"]`)
		if frame := c.Next(); !strings.HasPrefix(frame, `43/chat_room,7["`) {
			t.Errorf("%s is the answer", frame)
		}
	}
}

// A drain that would take a minute ends with the deadline of Shutdown, and at once if the context is cancelled.
func TestShutdownIsBoundedByItsContext(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, cancelled := range []bool{false, true} {
		s := host(t, partyline.Options{Config: "drain: {rate: 1, timeout: 1m}"}, make(chan string, 100))
		var clients []*enginetest.Client
		for range 60 {
			clients = append(clients, s.enter("one"))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		if cancelled {
			cancel()
		}
		began := time.Now()
		_ = s.Shutdown(ctx) // the services may not have finished
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("cancelled %t: it took %s", cancelled, took)
		}
		cancel()
		for _, c := range clients {
			c.ExpectEnd()
		}
		s.http.Close()
	}
}

// Two programs over the NATS of others: their clients share rooms. The server connects with the credentials of the
// given connection, which it leaves open.
func TestServersOverAConnection(t *testing.T) {
	const conf = `accounts { APP { users: [{user: app, password: "s3cret", permissions: {
		publish: ["sio.>", "_INBOX.>", "_PRIVATE.>"], subscribe: ["sio.>", "_PRIVATE.>"]}}] } }`
	server := natsdtest.Start(t, conf)
	url := strings.Replace(server.ClientURL(), "://", "://app:s3cret@", 1)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var all []*site
	var conns []*nats.Conn
	for range 2 {
		nc, err := nats.Connect(url, nats.CustomInboxPrefix("_PRIVATE"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		conns = append(conns, nc)
		all = append(all, host(t, partyline.Options{Conn: nc}, make(chan string, 10)))
	}
	edgetest.Eventually(t, "both are ready", func() bool { return all[0].Ready() == nil && all[1].Ready() == nil })
	ann, bob := all[0].enter("ann"), all[1].enter("bob")
	whoami(t, ann, bob)
	ann.Send(`42/chat_room,["message","hello"]`)
	ann.Expect(`42/chat_room,["message","hello"]`)
	bob.Expect(`42/chat_room,["message","hello"]`)

	all[0].end(edgetest.Patient(t))
	ann.ExpectEnd()
	bob.Send(`42/chat_room,["message","still here"]`)
	bob.Expect(`42/chat_room,["message","still here"]`)
	all[1].end(edgetest.Patient(t))
	for _, nc := range conns {
		if !nc.IsConnected() {
			t.Error("Shutdown closed the caller's connection")
		}
	}
}

func TestOptionsThatAreFaults(t *testing.T) {
	nc := edgetest.Connect(t, natsdtest.Start(t).ClientURL())
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, c := range []struct {
		what    string
		options partyline.Options
		want    []string
	}{
		{"keys of programs", partyline.Options{Config: "listen: :80\nadmin: {token: x}\ncors: {origin: x}\n", Environ: []string{"PARTYLINE_DRAIN_RATE=x"}}, []string{
			"Options.Config:1: listen: unknown key: only cmd/edge and cmd/embedded know it: a program that embeds the edge listens, logs and connects to NATS itself; remove it",
			"Options.Config:2: admin", "Options.Config:3: cors.origin: unknown key; did you mean cors.origins?", `PARTYLINE_DRAIN_RATE: "x" is not a whole number`}},
		{"two NATS", partyline.Options{Conn: nc, Config: "embedded: {listen: 127.0.0.1:0}"}, []string{"Options.Conn says where NATS is"}},
		{"no folder", partyline.Options{Config: "embedded: {jetstream: {dir: /dev/null/x}}"}, []string{"Can't start JetStream"}},
	} {
		c.options.Log = slog.New(slog.DiscardHandler)
		_, err := partyline.NewServer(c.options)
		if err == nil || slices.ContainsFunc(c.want, func(part string) bool { return !strings.Contains(err.Error(), part) }) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
