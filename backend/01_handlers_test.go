package backend_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"partyline/backend"
)

func TestHandlersTakeTypedArgumentsAndAck(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.On("sum", func(a, b int) int { return a + b })
	chat.On("greet", func(ctx context.Context, so *backend.Socket, who struct{ Name string }, ack backend.Ack) {
		_ = ack("hello "+who.Name, so.ID())
	})
	chat.On("all", func(so *backend.Socket, words ...string) (int, error) { return len(words), nil })
	chat.On("nothing", func() error { return nil })
	chat.On("maybe", func(text *string, more any) bool { return text == nil && more == nil })
	chat.On("raw", func(args backend.Args) string { return string(args.JSON(0)) })
	chat.On("silent", func() {})
	s.start(io)
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["sum",1,2]`)
	ann.acked("1", `[3]`)
	ann.emit("2", `["greet",{"name":"Bob"}]`)
	ann.acked("2", fmt.Sprintf(`["hello Bob",%q]`, ann.id))
	ann.emit("3", `["all","a","b","c"]`)
	ann.acked("3", `[3]`)
	ann.emit("4", `["nothing"]`)
	ann.acked("4", `[]`)
	ann.emit("5", `["maybe"]`)
	ann.acked("5", `[true]`)
	ann.emit("6", `["raw",{"a":1}]`)
	ann.acked("6", `["{\"a\":1}"]`)
	ann.emit("7", `["silent"]`)
	ann.emit("8", `["sum",1,2,"ignored"]`)
	ann.acked("8", `[3]`)
}

func TestWhatGoesWrongInAHandlerIsReported(t *testing.T) {
	t.Parallel()
	s := begin(t)
	reports := make(chan *backend.HandlerError, 10)
	io := s.service("chat", backend.OnError(func(e *backend.HandlerError) { reports <- e }))
	chat := io.Of("/chat")
	chat.On("sum", func(a, b int) int { return a + b })
	chat.On("panics", func() int { panic("oh") })
	chat.On("fails", func() (int, error) { return 1, errors.New("no") })
	chat.On("twice", func(ack backend.Ack) error {
		_ = ack(1)
		return ack(2)
	})
	s.start(io)
	ann := s.enter("ann", "/chat")
	report := func(want string) error {
		t.Helper()
		e := <-reports
		if e.Err.Error() != want || e.Socket != ann.id || e.Namespace != "/chat" {
			t.Fatalf("reported %+v, want %q", e, want)
		}
		return e
	}
	ann.emit("1", `["sum",1,"two"]`)
	err := report(`argument 2 does not fit: expected int, got "two"`)
	var bad *backend.ArgumentError
	if !errors.Is(err, backend.BadArguments) || !errors.As(err, &bad) || bad.Argument != 2 {
		t.Errorf("the error is %#v", err)
	}
	ann.acked("1", `[{"error":"argument 2 does not fit"}]`)
	ann.emit("2", `["sum",1,{}]`)
	report(`argument 2 does not fit: expected int, got {}`)
	ann.acked("2", `[{"error":"argument 2 does not fit"}]`)
	ann.emit("3", `["panics"]`)
	report(`the handler panicked: oh`)
	ann.emit("4", `["fails"]`)
	report(`no`)
	ann.emit("5", `["twice"]`)
	if !errors.Is(report(`backend: the event has been answered already`), backend.Answered) {
		t.Error("the second answer is not Answered")
	}
	ann.acked("5", `[1]`)
	ann.emit("6", `["sum",2,2]`)
	ann.acked("6", `[4]`)
	if got := io.Stats(); got.Panics != 1 || got.BadArguments != 2 || got.Failures != 2 {
		t.Errorf("counted %+v", got)
	}
}

// As in the reference, catch-all handlers also receive events that a middleware stops.
func TestCatchAllHandlersRunBeforePacketMiddleware(t *testing.T) {
	t.Parallel()
	s := begin(t)
	seen := make(chan string, 20)
	io := s.service("chat")
	chat := io.Of("/chat", backend.Owned())
	chat.UsePacket(func(_ *backend.Socket, p *backend.Packet) error {
		seen <- "middleware " + p.Event
		if p.Event == "forbidden" {
			return errors.New("not allowed")
		}
		return nil
	})
	chat.OnAny(func(_ *backend.Socket, event string, _ backend.Args) { seen <- "any " + event })
	chat.OnConnection(func(so *backend.Socket) {
		so.Use(func(p *backend.Packet) error { seen <- "own middleware " + p.Event; return nil })
		so.OnAny(func(event string, _ backend.Args) { seen <- "own any " + event })
		so.On("fine", func() { seen <- "handler" })
	})
	s.start(io)
	ann := s.enter("ann", "/chat")
	ann.emit("", `["forbidden"]`)
	ann.emit("", `["fine"]`)
	for _, want := range []string{
		"any forbidden", "own any forbidden", "middleware forbidden",
		"any fine", "own any fine", "middleware fine", "own middleware fine", "handler",
	} {
		if got := <-seen; got != want {
			t.Fatalf("saw %q, want %q", got, want)
		}
	}
}
