package backend_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
)

// A handler that blocks permanently affects only its own socket.
func TestABlockedHandler(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]backend.NamespaceOption{"stateless": nil, "owned": {backend.Owned()}} {
		t.Run(name, func(t *testing.T) {
			s := begin(t)
			io := s.service("chat", backend.WithLimits(backend.Limits{SocketEvents: 10}))
			chat := io.Of("/chat", options...)
			release := make(chan struct{})
			chat.On("block", func() { <-release })
			chat.On("n", func(n int) int { return n })
			s.start(io)
			ann, bob := s.enter("ann", "/chat"), s.enter("bob", "/chat")
			ann.emit("", `["block"]`)
			for i := range 1000 {
				ann.emit("1", fmt.Sprintf(`["n",%d]`, i))
			}
			eventually(t, "ann is paused", func() bool { return figure(s, "sessions_paused") == 1 })
			bob.emit("1", `["n",7]`)
			bob.acked("1", `[7]`)
			close(release)
			for i := range 1000 {
				ann.acked("1", fmt.Sprintf(`[%d]`, i))
			}
			eventually(t, "no session is paused", func() bool { return figure(s, "sessions_paused") == 0 })
			if got := io.Stats(); got.Overflows != 0 || got.Pauses == 0 || got.Paused != 0 {
				t.Errorf("counted %+v", got)
			}
		})
	}
}

func TestEventsThatNoEdgeSends(t *testing.T) {
	t.Parallel()
	s := begin(t)
	reports := make(chan *backend.HandlerError, 10)
	io := s.service("chat", backend.OnError(func(e *backend.HandlerError) { reports <- e }))
	chat := io.Of("/chat")
	chat.On("n", func(n int) int { return n })
	s.start(io)
	ann := s.enter("ann", "/chat")
	nc := s.connection()
	address := "sio.chat.emit.socket." + ann.id
	publish := func(subject, reply, body string, header nats.Header) {
		t.Helper()
		if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte(body), Header: header}); err != nil {
			t.Fatal(err)
		}
	}
	for _, body := range []string{"", "{", `{"a":1}`, "null", "[]", "\xff"} {
		publish("sio.chat.on.n", address, body, nil)
		if e := <-reports; !errors.Is(e.Err, backend.BadArguments) {
			t.Errorf("the body %q is reported as %v", body, e)
		}
	}
	publish("sio.chat.on.n", address, `["n",1]`, nats.Header{"Sio-Attachments": {"99"}})
	if e := <-reports; !errors.Is(e.Err, backend.BadArguments) {
		t.Errorf("bad attachments are reported as %v", e)
	}
	before := io.Stats().BadMessages
	publish("sio.chat.on.n", "", `["n",1]`, nil)                                    // without a socket
	publish("sio.chat.on.n", "sio.other.emit.socket."+ann.id, `["n",1]`, nil)       // from another namespace
	publish("sio.chat.on.n", "_INBOX.x", `["n",1]`, nil)                            // not from a socket
	publish("sio.chat.on.disconnect", address, `["disconnect"]`, nil)               // without a reason
	publish("sio.chat.on.connect", "sio.chat.ack."+ann.id+".connect", `["x"]`, nil) // asked again; ignored
	eventually(t, "they are counted", func() bool { return io.Stats().BadMessages == before+4 })
	ann.emit("1", `["n",1]`)
	ann.acked("1", `[1]`)
}

func TestAReplyThatIsTooLarge(t *testing.T) {
	t.Parallel()
	s := begin(t)
	reports := make(chan *backend.HandlerError, 10)
	io := s.service("chat", backend.OnError(func(e *backend.HandlerError) { reports <- e }))
	chat := io.Of("/chat")
	chat.On("big", func() string { return strings.Repeat("x", 1<<20) })
	chat.On("retry", func(ack backend.Ack) {
		if err := ack(strings.Repeat("x", 1<<20)); errors.Is(err, backend.TooLarge) {
			_ = ack("shorter")
		}
	})
	s.start(io)
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["big"]`)
	want := "backend: a message of 1048580 bytes is larger than NATS accepts, 1048576 bytes"
	if e := <-reports; !errors.Is(e.Err, backend.TooLarge) || e.Err.Error() != want {
		t.Errorf("reported %v", e)
	}
	ann.emit("2", `["retry"]`)
	ann.acked("2", `["shorter"]`)
}

func TestRegistrationMistakesPanic(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	late := io.Of("/late")
	late.On("x", func() {})
	panics := func(want string, fn func()) {
		t.Helper()
		defer func() {
			if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
				t.Errorf("the panic is %q, want %q", got, want)
			}
		}()
		fn()
	}
	panics("not a function", func() { chat.On("x", 7) })
	panics("parameter 1 of func(chan int) cannot be chan int", func() { chat.On("x", func(chan int) {}) })
	panics("one or the other", func() { chat.On("x", func(backend.Ack) int { return 1 }) })
	panics("use OnConnection", func() { chat.On("connection", func() {}) })
	panics("use OnDisconnect", func() { chat.On("disconnect", func() {}) })
	panics("reserved", func() { chat.On("newListener", func() {}) })
	panics("is nil", func() { chat.Use(nil) })
	panics("come from no socket", func() { chat.OnServerSide("x", func(*backend.Socket) {}) })
	panics("longer than 512 bytes", func() { io.Of("/" + strings.Repeat("x", 600)) })
	s.start(io)
	panics("register before Start", func() { late.On("y", func() {}) })
	panics("does not own the socket", func() { late.Socket("x").On("y", func() {}) })
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	s := begin(t)
	nc := s.connection()
	for want, call := range map[string]func() (*backend.Service, error){
		"no NATS connection": func() (*backend.Service, error) { return backend.New(nil, "chat") },
		"group \"a b\"":      func() (*backend.Service, error) { return backend.New(nc, "a b") },
		"group \"room\"":     func() (*backend.Service, error) { return backend.New(nc, "room") },
		"bad prefix":         func() (*backend.Service, error) { return backend.New(nc, "chat", backend.Prefix("$x")) },
		"Limits.Handlers": func() (*backend.Service, error) {
			return backend.New(nc, "chat", backend.WithLimits(backend.Limits{Handlers: -1}))
		},
		"Logger": func() (*backend.Service, error) { return backend.New(nc, "chat", backend.Logger(nil)) },
	} {
		if _, err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	io := s.service("chat")
	io.Of("/chat", backend.EventsOnly(), backend.Owned())
	if err := io.Start(context.Background()); !errors.Is(err, backend.BadArguments) {
		t.Errorf("Start: %v", err)
	}
}

func TestTooManyQuestions(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat", backend.WithLimits(backend.Limits{Questions: 1}))
	chat := io.Of("/chat")
	chat.OnConnection(func(*backend.Socket) {})
	s.start(io)
	ann := s.enter("ann", "/chat")
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error)
	go func() {
		_, err := chat.Socket(ann.id).EmitWithAck(ctx, "x")
		first <- err
	}()
	ann.Next()
	if _, err := chat.Rooms(ctx); !errors.Is(err, backend.TooMany) {
		t.Errorf("the second question: %v", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first question: %v", err)
	}
}

func TestWithoutNATS(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.On("n", func(n int) int { return n })
	s.start(io)
	s.nats.Stop()
	eventually(t, "it is noticed", func() bool { return errors.Is(chat.Emit("x"), backend.Offline) })
	if _, err := chat.Join(context.Background(), "a"); !errors.Is(err, backend.Offline) {
		t.Errorf("Join: %v", err)
	}
	s.nats.Restart()
	eventually(t, "it is over", func() bool { return chat.Emit("x") == nil })
	s.Ready()
	ann := s.enter("ann", "/chat")
	eventually(t, "events come again", func() bool {
		ann.emit("1", `["n",1]`)
		return ann.Pending() > 0
	})
}

func TestCloseGivesUpOnAHandler(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat", backend.Owned())
	release, running := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	chat.On("block", func(ctx context.Context) {
		close(running)
		<-ctx.Done()
		<-release
		close(done)
	})
	if err := io.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	ann := s.enter("ann", "/chat")
	ann.emit("", `["block"]`)
	<-running
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := io.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "handlers") {
		t.Errorf("Close: %v", err)
	}
	close(release)
	<-done
}

// An argument takes many times the bytes of a short one, so there are not too many of them.
func TestManyArguments(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.On("n", func(args backend.Args) int { return args.Len() })
	s.start(io)
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["n"`+strings.Repeat(",0", 10_000)+`]`)
	ann.acked("1", `[10000]`)
	ann.emit("2", `["n"`+strings.Repeat(",0", 10_001)+`]`)
	ann.acked("2", `[{"error":"the event cannot be read"}]`)
	lists := make([]any, 1500)
	for i := range lists {
		lists[i] = []int{}
	}
	if err := chat.Emit("lists", lists...); err != nil { // it was taken for a list in a circle
		t.Fatal(err)
	}
	ann.Expect(`42/chat,["lists"` + strings.Repeat(",[]", len(lists)) + `]`)
}
