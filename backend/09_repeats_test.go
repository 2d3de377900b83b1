package backend_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/internal/natsd/natsdtest"
)

// asker sends connect requests of one socket, like an edge that has no answer yet.
type asker struct {
	t       *testing.T
	nc      *nats.Conn
	id      string
	answers *nats.Subscription
	padding int           // extra bytes in a request
	owner   func() string // the instance that must own the socket; nil: any may answer
}

func newAsker(t *testing.T, nc *nats.Conn, own string) *asker {
	t.Helper()
	id := "repeated." + own
	sub, err := nc.SubscribeSync("sio.chat.ack." + id + ".connect")
	if err != nil {
		t.Fatal(err)
	}
	return &asker{t: t, nc: nc, id: id, answers: sub}
}

func (a *asker) ask() {
	a.t.Helper()
	m := nats.NewMsg("sio.chat.on.connect")
	m.Reply, m.Data = "sio.chat.ack."+a.id+".connect", fmt.Appendf(nil, `["connect",{"sid":%q,"auth":{}%*s}]`, a.id, a.padding, "")
	m.Header.Set("Sio-Timeout", "20000")
	if a.owner != nil {
		m.Subject = "sio.chat.own." + a.owner() + ".connect"
		m.Header.Set("Sio-Assignment", "1")
	}
	if err := a.nc.PublishMsg(m); err != nil {
		a.t.Fatal(err)
	}
}

// gets waits for the next answer and formats it as one line.
func (a *asker) gets() string {
	a.t.Helper()
	m, err := a.answers.NextMsg(patience)
	if err != nil {
		a.t.Fatalf("no answer: %v", err)
	}
	if from, number := m.Header.Get("Sio-From"), m.Header.Get("Sio-Assignment"); a.owner != nil && (from != a.owner() || number != "1") {
		a.t.Fatalf("the answer is from %q, about assignment %q", from, number)
	}
	line := string(m.Data)
	for _, name := range []string{"Sio-Pending", "Sio-Error", "Sio-Group"} {
		if value := m.Header.Get(name); value != "" {
			line += " " + name + ": " + value
		}
	}
	return line
}

func (a *asker) wants(want string) {
	a.t.Helper()
	if got := a.gets(); got != want {
		a.t.Fatalf("the answer is %q, want %q", got, want)
	}
}

func (a *asker) silence() {
	a.t.Helper()
	if m, err := a.answers.NextMsg(200 * time.Millisecond); err == nil {
		a.t.Fatalf("a further answer: %q %v", m.Data, m.Header)
	}
}

// A repeated request gets the same answer, whatever it is, and runs nothing again. Before there is an answer, it gets
// Sio-Pending.
func TestARepeatedRequestGetsTheSameAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		options   []backend.NamespaceOption
		decide    func(*backend.Socket) error
		want      string
		connected int32 // how often the connection handlers run
	}{
		{"admitted", nil, func(so *backend.Socket) error {
			so.SetUser("ann")
			return so.Join(t.Context(), "vip")
		}, `[{"rooms":["vip"],"user":"ann"}]`, 1},
		{"owned", []backend.NamespaceOption{backend.Owned()}, func(so *backend.Socket) error {
			return so.SetData(t.Context(), map[string]int{"n": 1})
		}, `[{"data":{"n":1}}]`, 1},
		{"refused", nil, func(*backend.Socket) error {
			return &backend.Refusal{Message: "who are you?", Data: 7}
		}, `[7] Sio-Error: who are you?`, 0},
		{"failed", nil, func(*backend.Socket) error { return errors.New("no database") }, `[] Sio-Error: not admitted`, 0},
		{"panicked", []backend.NamespaceOption{backend.Owned()}, func(*backend.Socket) error { panic("no database") }, `[] Sio-Error: not admitted`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := begin(t)
			io := s.service("shop")
			chat := io.Of("/chat", c.options...)
			entered, release := make(chan struct{}), make(chan struct{})
			var asked, connected atomic.Int32
			chat.Use(func(so *backend.Socket) error {
				asked.Add(1)
				entered <- struct{}{}
				<-release
				return c.decide(so)
			})
			busy := make(chan struct{})
			chat.OnConnection(func(*backend.Socket) {
				connected.Add(1)
				<-busy // a running handler does not delay answers
			})
			s.start(io)
			a := newAsker(t, s.connection(), "aaaaaaaaaaaaaaaaaaaa")
			if c.options != nil {
				a.owner = io.Instance
			}
			a.ask()
			<-entered
			for range 3 {
				a.ask()
				a.wants(" Sio-Pending: " + io.Instance())
			}
			close(release)
			want := c.want
			a.wants(want)
			a.silence()
			for range 3 {
				a.ask()
				a.wants(want)
			}
			close(busy)
			a.silence()
			if asked.Load() != 1 || connected.Load() != c.connected {
				t.Errorf("the middleware ran %d times, and the connection handlers %d times, want 1 and %d", asked.Load(), connected.Load(), c.connected)
			}
		})
	}
}

// If NATS was away, an answer could not be sent, and the next request gets it. The connection handlers run only then.
func TestAnAnswerThatCouldNotBeSent(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]backend.NamespaceOption{"any instance's": nil, "owned": {backend.Owned()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natsdtest.Start(t)
			s := begin(t)
			nc := connection(t, server.ClientURL())
			io := serviceOn(t, nc, s.Talk, "shop")
			chat := io.Of("/chat", options...)
			entered, release := make(chan struct{}), make(chan struct{})
			var asked, connected atomic.Int32
			chat.Use(func(so *backend.Socket) error {
				asked.Add(1)
				close(entered)
				<-release
				so.SetUser("ann")
				return nil
			})
			chat.OnConnection(func(so *backend.Socket) {
				if so.User() != "ann" || so.Context().Err() != nil {
					t.Errorf("the user is %q, the context %v", so.User(), so.Context().Err())
				}
				connected.Add(1)
			})
			s.start(io)
			a := newAsker(t, connection(t, server.ClientURL()), "aaaaaaaaaaaaaaaaaaaa")
			if options != nil {
				a.owner = io.Instance
			}
			a.ask()
			<-entered
			server.Stop()
			eventually(t, "both have lost NATS", func() bool { return !nc.IsConnected() && !a.nc.IsConnected() })
			close(release)
			eventually(t, "the answer failed", func() bool { return io.Stats().Failures > 0 })
			if connected.Load() != 0 {
				t.Error("the connection handlers have run before the edge has an answer")
			}
			server.Restart()
			eventually(t, "both are back", func() bool {
				return nc.IsConnected() && nc.Flush() == nil && a.nc.IsConnected() && a.nc.Flush() == nil
			})
			want := `[{"user":"ann"}]`
			for a.ask(); ; a.ask() { // an instance decides again after its own beat
				got := a.gets()
				if got == want {
					break
				}
				if got != " Sio-Error: again" {
					t.Fatalf("the answer is %q", got)
				}
			}
			a.ask()
			a.wants(want)
			eventually(t, "the connection handlers have run", func() bool { return connected.Load() == 1 })
			if asked.Load() != 1 {
				t.Errorf("the middleware ran %d times", asked.Load())
			}
		})
	}
}

// The admission of an owned socket is repeated only while it is valid.
func TestAnAdmissionThatWasGivenUpIsNotRepeated(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("shop")
	chat := io.Of("/chat", backend.Owned())
	var connected atomic.Int32
	chat.OnConnection(func(*backend.Socket) { connected.Add(1) })
	s.start(io)
	a := newAsker(t, s.connection(), "aaaaaaaaaaaaaaaaaaaa")
	a.owner = io.Instance
	a.ask()
	a.wants(`[{}]`)
	if err := a.nc.PublishRequest("sio.chat.own."+io.Instance()+".disconnect", "sio.chat.emit.socket."+a.id, []byte(`["disconnect",{"reason":"owner changed","rooms":[]}]`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is given up", func() bool { return io.Stats().Owned == 0 })
	a.ask()
	a.wants(`[{}]`) // a decision of its own
	eventually(t, "it is owned again", func() bool { return io.Stats().Owned == 1 && connected.Load() == 2 })
}

// If too many bytes wait in a service, a connect request may be dropped. The next one must not be answered with
// Sio-Pending.
func TestADroppedRequestIsNotPending(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("shop", backend.WithLimits(backend.Limits{Handlers: 1, WaitingBytes: 1000}))
	blocked, release := make(chan struct{}), make(chan struct{})
	io.Of("/other").On("block", func() { close(blocked); <-release })
	io.Of("/chat").Use(func(*backend.Socket) error { return nil })
	s.start(io)
	ann := s.enter("ann", "/other")
	ann.emit("", `["block"]`)
	<-blocked
	a := newAsker(t, s.connection(), "aaaaaaaaaaaaaaaaaaaa")
	a.padding = 3000
	a.ask()
	eventually(t, "the request is dropped", func() bool { return io.Stats().Overflows == 1 })
	close(release)
	a.padding = 0
	a.ask()
	a.wants("[{}]")
}
