package backend_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/rule"
)

// twoEdges is a stage with a second edge.
func twoEdges(t *testing.T) (*stage, *edgetest.Node) {
	t.Helper()
	s := begin(t)
	second := edgetest.Start(t, edgetest.Options{NATS: s.nats.ClientURL(), Namespaces: map[string]rule.Namespace{
		"*": {Connect: rule.ConnectService, ConnectTimeout: 5 * time.Second},
	}}).Ready()
	return s, second
}

func TestAcksOfARoom(t *testing.T) {
	t.Parallel()
	s, second := twoEdges(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.Use(func(so *backend.Socket) error { return so.Join(so.Context(), "room") })
	s.start(io)
	ann, bob := s.enter("ann", "/chat"), enter(second, "bob", "/chat", "")
	answered := make(chan backend.Responses)
	failed := make(chan error, 1)
	ask := func(ctx context.Context, target backend.Target) {
		go func() {
			r, err := target.EmitWithAck(ctx, "ready?", 1)
			failed <- err
			answered <- r
		}()
	}
	ack := func(c *client, body string) {
		t.Helper()
		frame := c.Next()
		id := strings.TrimSuffix(strings.TrimPrefix(frame, "42/chat,"), `["ready?",1]`)
		if body != "" {
			c.Send("43/chat," + id + body)
		}
	}
	ask(context.Background(), chat.To("room"))
	ack(ann, `[true,"ann"]`)
	ack(bob, `[false]`)
	err, r := <-failed, <-answered
	if err != nil || r.Expected != 2 || len(r.Answers) != 2 || len(r.Missing)+len(r.Silent) != 0 {
		t.Fatalf("all answered: %+v, %v", r, err)
	}
	slices.SortFunc(r.Answers, func(a, b backend.Response) int { return b.Args.Len() - a.Args.Len() })
	var yes bool
	var name string
	if err := r.Answers[0].Args.Decode(&yes, &name); err != nil || !yes || name != "ann" || r.Answers[0].Socket != ann.id {
		t.Errorf("ann answered %+v, %v", r.Answers[0], err)
	}

	ask(context.Background(), chat.To("room").Timeout(300*time.Millisecond))
	ack(ann, `[]`)
	ack(bob, "")
	err, r = <-failed, <-answered
	if !errors.Is(err, backend.NoAnswer) || len(r.Answers) != 1 || len(r.Missing) != 1 || r.Missing[0].Socket != bob.id || !errors.Is(r.Missing[0].Err, backend.NoAnswer) {
		t.Fatalf("bob is silent: %+v, %v", r, err)
	}

	ask(context.Background(), chat.To("room"))
	ack(ann, `[]`)
	bob.Next()
	bob.Hangup()
	err, r = <-failed, <-answered
	if !errors.Is(err, backend.NoAnswer) || len(r.Answers) != 1 || len(r.Missing) != 1 || !errors.Is(r.Missing[0].Err, backend.UnknownSocket) {
		t.Fatalf("bob has gone: %+v, %v", r, err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	ask(ctx, chat.To("room"))
	ann.Next()
	cancel()
	if err, r = <-failed, <-answered; !errors.Is(err, context.Canceled) || len(r.Answers) != 0 {
		t.Fatalf("cancelled: %+v, %v", r, err)
	}

	ask(context.Background(), chat.To("nobody"))
	if err, r = <-failed, <-answered; err != nil || r.Expected != 0 {
		t.Fatalf("no socket is asked: %+v, %v", r, err)
	}
}

func TestTheAckOfASocket(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.On("ask me", func(ctx context.Context, so *backend.Socket) (string, error) {
		args, err := so.EmitWithAck(ctx, "question", []byte("?"))
		if err != nil {
			return "", err
		}
		var text string
		var data []byte
		err = args.Decode(&text, &data)
		return text + string(data), err
	})
	s.start(io)
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["ask me"]`)
	frame := ann.Next()
	ann.Expect("b?")
	id := strings.TrimSuffix(strings.TrimPrefix(frame, "451-/chat,"), `["question",{"_placeholder":true,"num":0}]`)
	ann.Send("461-/chat," + id + `["yes",{"_placeholder":true,"num":0}]`)
	ann.SendBinary([]byte("!"))
	ann.acked("1", `["yes!"]`)

	ctx := context.Background()
	if _, err := chat.Socket(ann.id).Timeout(50*time.Millisecond).EmitWithAck(ctx, "x"); !errors.Is(err, backend.NoAnswer) {
		t.Errorf("no ack: %v", err)
	}
	ghost := s.ID + ".aaaaaaaaaaaaaaaaaaaa"
	if _, err := chat.Socket(ghost).EmitWithAck(ctx, "x"); !errors.Is(err, backend.UnknownSocket) {
		t.Errorf("a ghost: %v", err)
	}
	if _, err := chat.Socket("00000000.aaaaaaaaaaaaaaaaaaaa").EmitWithAck(ctx, "x"); !errors.Is(err, backend.UnknownSocket) {
		t.Errorf("a ghost of no edge: %v", err)
	}
	if err := chat.Socket(ghost).Join(ctx, "x"); !errors.Is(err, backend.UnknownSocket) {
		t.Errorf("a ghost joins: %v", err)
	}
}

func TestCommandsAndQuestionsToMany(t *testing.T) {
	t.Parallel()
	s, second := twoEdges(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.OnConnection(func(so *backend.Socket) {})
	s.start(io)
	ann, bob := s.enter("ann", "/chat"), enter(second, "bob", "/chat", `{"name":"bob"}`)
	ctx := context.Background()
	count := func(want int) func(int, error) {
		return func(n int, err error) {
			t.Helper()
			if err != nil || n != want {
				t.Fatalf("%d sockets, %v; want %d", n, err, want)
			}
		}
	}
	count(2)(chat.Join(ctx, "a", "order.7"))
	count(1)(chat.Except(ann.id).Join(ctx, "b"))
	count(1)(chat.In("b").SetData(ctx, map[string]int{"n": 1}))
	count(2)(chat.In("a", "b").Leave(ctx, "order.7"))
	rooms, err := chat.Rooms(ctx)
	if err != nil || fmt.Sprint(rooms) != "map[a:2 b:1]" {
		t.Errorf("the rooms are %v, %v", rooms, err)
	}
	all, err := chat.In("a").Fetch(ctx)
	if err != nil || len(all) != 2 {
		t.Fatalf("fetched %+v, %v", all, err)
	}
	for _, snapshot := range all {
		if snapshot.ID == bob.id && (string(snapshot.Data) != `{"n":1}` || !slices.Equal(snapshot.Rooms, []string{"a", "b"}) || snapshot.Namespace != "/chat") {
			t.Errorf("bob is %+v", snapshot)
		}
		if snapshot.ID == bob.id && string(snapshot.Handshake.Auth) != `{"name":"bob"}` {
			t.Errorf("bob's auth is %s", snapshot.Handshake.Auth)
		}
	}
	var data struct{ N int }
	so := chat.Socket(bob.id)
	if err := so.Data(ctx, &data); err != nil || data.N != 1 {
		t.Errorf("bob's data is %+v, %v", data, err)
	}
	if rooms, err := so.Rooms(ctx); err != nil || !slices.Equal(rooms, []string{"a", "b"}) {
		t.Errorf("bob's rooms are %v, %v", rooms, err)
	}
	if err := so.SetData(ctx, func() {}); !errors.Is(err, backend.BadArguments) {
		t.Errorf("data that is no JSON: %v", err)
	}
	var text string
	if err := so.SetData(ctx, "x"); err != nil || so.Data(ctx, &text) != nil || text != "x" {
		t.Errorf("a text as data is %q, %v", text, err)
	}
	if err := so.SetData(ctx, map[string]string{"x": strings.Repeat("x", 1<<16)}); !errors.Is(err, backend.TooLarge) || !strings.Contains(err.Error(), "65544 bytes; the limit is 65536") {
		t.Errorf("data that is too large: %v", err)
	}
	count(1)(chat.In("b").Disconnect(ctx, true))
	bob.ExpectEnd()
	if err := chat.Socket(ann.id).Disconnect(ctx, false); err != nil {
		t.Error(err)
	}
	ann.Expect("41/chat,")
	count(0)(chat.Join(ctx, "a"))
}

// Answers of more than 256 KiB come in parts.
func TestLargeAnswersAreJoined(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.OnConnection(func(so *backend.Socket) {})
	s.start(io)
	for i := range 12 {
		s.enter(fmt.Sprint(i), "/chat")
	}
	ctx := context.Background()
	if n, err := chat.In().SetData(ctx, map[string]string{"x": strings.Repeat("x", 60_000)}); n != 12 || err != nil {
		t.Fatalf("%d sockets, %v", n, err)
	}
	all, err := chat.Fetch(ctx)
	if err != nil || len(all) != 12 {
		t.Errorf("fetched %d, %v", len(all), err)
	}
	data, err := chat.In().Data(ctx)
	if err != nil || len(data) != 12 {
		t.Errorf("data of %d, %v", len(data), err)
	}
}

// An edge that beats and does not answer is named.
func TestSilentEdges(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	s := begin(t)
	io := s.service("chat", backend.WithLimits(backend.Limits{Wait: 300 * time.Millisecond}))
	chat := io.Of("/chat")
	chat.OnConnection(func(so *backend.Socket) {})
	s.start(io)
	s.enter("ann", "/chat")
	nc := s.connection()
	beat := func(edge, word string) {
		_ = nc.Publish("sio.$edge."+edge+"."+word, fmt.Appendf(nil, `[{"edge":"%s","at":1,"every":1000,"sockets":0}]`, edge))
	}
	ctx := context.Background()
	var silent *backend.SilentEdges
	eventually(t, "the ghost is missed", func() bool {
		beat("ghost000", "beat")
		n, err := chat.Join(ctx, "a")
		return n == 1 && errors.Is(err, backend.NoAnswer) && errors.As(err, &silent) && slices.Equal(silent.Edges, []string{"ghost000"})
	})
	beat("ghost000", "beat")
	r, err := chat.Timeout(10*time.Millisecond).EmitWithAck(ctx, "x")
	if !errors.Is(err, backend.NoAnswer) || !slices.Equal(r.Silent, []string{"ghost000"}) {
		t.Errorf("asked: %+v, %v", r, err)
	}
	beat("ghost000", "bye")
	eventually(t, "the ghost is not missed", func() bool {
		n, err := chat.Join(ctx, "a")
		return n == 1 && err == nil
	})
}

// A service that was not started does not know which edges live.
func TestQuestionsOfAServiceThatWasNotStarted(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io, other := s.service("chat"), s.service("other")
	io.Of("/chat").OnConnection(func(so *backend.Socket) {})
	s.start(io)
	s.enter("ann", "/chat")
	if n, err := other.Of("/chat").Join(context.Background(), "a"); n != 1 || err != nil {
		t.Errorf("%d sockets, %v", n, err)
	}
	if r, err := other.Of("/chat").Timeout(100*time.Millisecond).EmitWithAck(context.Background(), "x"); len(r.Missing) != 1 || !errors.Is(err, backend.NoAnswer) {
		t.Errorf("asked: %+v, %v", r, err)
	}
	if err := other.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := other.Of("/chat").Emit("x"); !errors.Is(err, backend.Closed) {
		t.Errorf("an emit after Close: %v", err)
	}
}
