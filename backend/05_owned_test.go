package backend_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"partyline/backend"
)

func TestAnOwnerKeepsClosures(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat", backend.Owned())
	ends := make(chan string, 4)
	chat.OnConnection(func(so *backend.Socket) {
		count := 0
		so.On("count", func() int { count++; return count })
		so.Once("once", func(ack backend.Ack) { _ = ack("once") })
		so.OnAny(func(event string, args backend.Args) { _ = so.Emit("saw", event) })
		so.Use(func(p *backend.Packet) error {
			if p.Event == "bad" {
				return errors.New("not this one")
			}
			return nil
		})
		so.On("off", func() error { so.Off("count"); return nil })
		so.OnDisconnect(func(reason string) {
			rooms, _ := so.Rooms(so.Context())
			ends <- fmt.Sprint(reason, rooms, so.Context().Err())
		})
	})
	s.start(io)
	ann, bob := s.enter("ann", "/chat"), s.enter("bob", "/chat")
	for i := 1; i <= 3; i++ {
		ann.emit("1", `["count"]`)
		ann.gets(`["saw","count"]`)
		ann.acked("1", fmt.Sprintf("[%d]", i))
	}
	bob.emit("1", `["count"]`)
	bob.gets(`["saw","count"]`)
	bob.acked("1", `[1]`)
	ann.emit("2", `["bad"]`)
	ann.gets(`["saw","bad"]`) // and no ack
	ann.emit("3", `["once"]`)
	ann.gets(`["saw","once"]`)
	ann.acked("3", `["once"]`)
	ann.emit("4", `["once"]`)
	ann.gets(`["saw","once"]`)
	ann.emit("5", `["off"]`)
	ann.gets(`["saw","off"]`)
	ann.acked("5", `[]`)
	ann.emit("6", `["count"]`)
	ann.gets(`["saw","count"]`)
	_ = chat.Socket(ann.id).Join(context.Background(), "hall")
	if chat.Socket(ann.id).Handshake() == nil {
		t.Error("the handle by id is not the owner's socket")
	}
	ann.Send("41/chat,")
	if got := <-ends; got != "client namespace disconnect[hall] <nil>" {
		t.Errorf("the end was %s", got)
	}
	bob.Hangup()
	if got := <-ends; got != "transport close[] <nil>" {
		t.Errorf("the end was %s", got)
	}
	eventually(t, "nothing is owned", func() bool { return io.Stats().Owned == 0 })
}

func TestAnOwnerKnowsRoomsAndData(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat", backend.Owned())
	chat.Use(func(so *backend.Socket) error { return so.Join(so.Context(), "hall") })
	var mu sync.Mutex
	sockets := map[string]*backend.Socket{}
	chat.OnConnection(func(so *backend.Socket) {
		mu.Lock()
		sockets[so.ID()] = so
		mu.Unlock()
	})
	s.start(io)
	ann := s.enter("ann", "/chat")
	var so *backend.Socket
	eventually(t, "the socket is known", func() bool { mu.Lock(); defer mu.Unlock(); so = sockets[ann.id]; return so != nil })
	ctx := context.Background()
	is := func(want string) bool {
		rooms, err := so.Rooms(ctx)
		var data map[string]int
		if err2 := so.Data(ctx, &data); err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		slices.Sort(rooms)
		return fmt.Sprint(rooms, data) == want
	}
	at := func(want string) {
		t.Helper()
		if !is(want) {
			rooms, _ := so.Rooms(ctx)
			t.Fatalf("known is %v, want %s", rooms, want)
		}
	}
	at("[hall] map[]")
	for i := range 50 { // own changes count at once
		if err := so.Join(ctx, fmt.Sprint("room", i)); err != nil {
			t.Fatal(err)
		}
		at(fmt.Sprintf("[hall room%d] map[]", i))
		if err := so.Leave(ctx, fmt.Sprint("room", i)); err != nil {
			t.Fatal(err)
		}
		at("[hall] map[]")
	}
	if err := so.SetData(ctx, map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	at("[hall] map[n:1]")
	other := s.service("other").Of("/chat")
	if _, err := other.In("hall").Join(ctx, "more"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change of another service is known", func() bool { return is("[hall more] map[n:1]") })
}

func TestEventsOfAnOwnedSocketKeepTheirOrder(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat", backend.Owned())
	got := make(chan int, 1000)
	chat.On("n", func(n int) { got <- n })
	s.start(io)
	ann := s.enter("ann", "/chat")
	for i := range 1000 {
		ann.emit("", fmt.Sprintf(`["n",%d]`, i))
	}
	for i := range 1000 {
		if n := <-got; n != i {
			t.Fatalf("event %d arrived, want %d", n, i)
		}
	}
}

// deploy collects what the instances of a test report.
type deploy struct {
	*stage
	taken chan string // how sockets were taken over
	ends  chan string // the arguments of OnHandover and OnDisconnect

	mu     sync.Mutex
	events map[string][]int // guarded by mu; by socket
}

// instance starts an instance, which the test must close.
func (d *deploy) instance() *backend.Service {
	d.t.Helper()
	io := d.service("chat")
	chat := io.Of("/chat", backend.Owned())
	chat.Use(func(so *backend.Socket) error {
		return errors.Join(so.SetUser("u"), so.Join(so.Context(), "room"))
	})
	chat.OnConnection(func(so *backend.Socket) {
		if from, yes := so.TakenOver(); yes {
			var data map[string]string
			_ = so.Data(so.Context(), &data)
			rooms, _ := so.Rooms(so.Context())
			d.taken <- fmt.Sprint(from.From, data["saved by"] == from.From, rooms, so.User(), so.Handshake().Query["EIO"])
		}
	})
	chat.On("n", func(so *backend.Socket, n int) int {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.events[so.ID()] = append(d.events[so.ID()], n)
		return n
	})
	chat.OnDisconnect(func(so *backend.Socket, reason string) { d.ends <- "disconnected: " + reason })
	chat.OnHandover(func(so *backend.Socket, reason string) {
		if err := so.SetData(so.Context(), map[string]string{"saved by": io.Instance()}); err != nil {
			reason = err.Error()
		}
		d.ends <- reason
	})
	if err := io.Start(context.Background()); err != nil {
		d.t.Fatal(err)
	}
	return io
}

// close closes an instance, and expects its sockets at the next one.
func (d *deploy) close(io *backend.Service, sockets int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := io.Close(ctx); err != nil {
		d.t.Fatal(err)
	}
	for range sockets {
		if reason := <-d.ends; reason != "leaving" {
			d.t.Fatalf("handed over with %s", reason)
		}
		if got, want := <-d.taken, fmt.Sprint(io.Instance(), true, []string{"room"}, "u", "4"); got != want {
			d.t.Fatalf("taken over: %s, want %s", got, want)
		}
	}
}

// When an instance leaves, the next one gets its sockets and all of their events, once and in order. No client
// notices.
func TestADeployWithoutLoss(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s, second := twoEdges(t)
	d := &deploy{stage: s, taken: make(chan string, 100), ends: make(chan string, 100), events: map[string][]int{}}
	old := d.instance()
	clients := []*client{s.enter("ann", "/chat"), enter(second, "bob", "/chat", "")}
	const many, perRound = 4, 200
	var sending sync.WaitGroup
	for _, c := range clients {
		sending.Go(func() {
			pace := time.NewTicker(500 * time.Microsecond)
			defer pace.Stop()
			for i := range many * perRound {
				c.emit("9", fmt.Sprintf(`["n",%d]`, i))
				<-pace.C
			}
		})
	}
	for range many - 1 {
		next := d.instance()
		eventually(t, "events have come", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.events) == len(clients) })
		d.close(old, len(clients))
		old = next
	}
	sending.Wait()
	for _, c := range clients {
		for i := range many * perRound {
			c.acked("9", fmt.Sprintf("[%d]", i))
		}
		d.mu.Lock()
		if got := d.events[c.id]; len(got) != many*perRound || !slices.IsSorted(got) {
			t.Errorf("the events came as %v", got)
		}
		d.mu.Unlock()
		c.Hangup()
	}
	for range clients {
		if got := <-d.ends; got != "disconnected: transport close" {
			t.Errorf("the end was %s", got)
		}
	}
	d.close(old, 0)
}

// Local is the sockets that this instance owns, whatever the target is.
func TestLocal(t *testing.T) {
	t.Parallel()
	s := begin(t)
	first, second := s.service("chat"), s.service("chat")
	var chats [2]*backend.Namespace
	for i, io := range []*backend.Service{first, second} {
		chats[i] = io.Of("/chat", backend.Owned())
		chats[i].OnConnection(func(so *backend.Socket) { _ = so.Join(so.Context(), "hall") })
		if i == 0 {
			s.start(io)
		}
	}
	ann, bob := s.enter("ann", "/chat"), s.enter("bob", "/chat")
	s.start(second)
	for i, chat := range chats {
		for _, target := range []backend.Target{
			chat.Local(), chat.To("hall").Local(), chat.Local().To(ann.id, bob.id), chat.Socket(ann.id).Broadcast().Local(), chat.To(bob.id).Local(),
		} {
			if err := target.Emit("local", i); err != nil {
				t.Error(err)
			}
		}
	}
	for range 3 {
		ann.gets(`["local",0]`)
		bob.gets(`["local",0]`)
	}
	bob.gets(`["local",0]`)
	bob.gets(`["local",0]`)
	if n, err := chats[1].Local().Join(t.Context(), "x"); n != 0 || err != nil {
		t.Errorf("%d sockets joined, %v", n, err)
	}
	for _, so := range []*client{ann, bob} { // and nothing more
		_ = chats[0].Socket(so.id).Emit("marker")
		so.gets(`["marker"]`)
	}
}
