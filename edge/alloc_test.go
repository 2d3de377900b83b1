package edge

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/bus"
	"partyline/engine"
	"partyline/engine/enginetest"
	"partyline/internal/ids"
	"partyline/internal/natsconn"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/subjects"
)

// bench is an edge with sockets in /chat's room "room", driven below its HTTP layer.
type bench struct {
	dial        func() // connects one more client
	edge        *Edge
	nats        string // URL of the server
	connections []*connection
}

func newBench(tb testing.TB, sockets int, rules rule.Namespace) *bench {
	tb.Helper()
	return newBenchAt(tb, natsdtest.Start(tb), sockets, rules, false)
}

// newBenchAt makes a bench at a NATS server. With listen, the edge itself handles what it receives from there.
func newBenchAt(tb testing.TB, server *natsdtest.Server, sockets int, rules rule.Namespace, listen bool) *bench {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	b, err := bus.Connect(natsconn.Config{URL: server.ClientURL()}, log, bus.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); !b.Connected(); time.Sleep(time.Millisecond) { // or answers are dropped
		if time.Now().After(end) {
			tb.Fatal("the bus does not connect")
		}
	}
	prefix, _ := subjects.NewPrefix("sio")
	replies, _ := subjects.NewReplies(prefix, []string{subjects.DefaultReplies})
	x := &bench{nats: server.ClientURL()}
	x.edge = New(Settings{
		ID: ids.NewEdge(), Prefix: prefix, Replies: replies, Namespaces: map[string]rule.Namespace{"/chat": rules}, Limits: Limits{RoomsPerSocket: 1000},
		ConnectTimeout: time.Minute, MaxPayload: func() int { return 1 << 20 }, Bus: b, Log: log,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var listening sync.WaitGroup
	if listen {
		listening.Go(func() { x.edge.Listen(ctx, nil) })
	}
	accepted := make(chan *connection, sockets+1)
	es := engine.NewServer(engine.Settings{
		Config: engine.DefaultConfig(), EdgeID: x.edge.set.ID, Log: log,
		Handler: func(s *engine.Session, o *engine.Opening) engine.Receiver {
			c := x.edge.Accept(s, o).(*connection)
			accepted <- c
			return c
		},
	})
	front := httptest.NewServer(es)
	talk := enginetest.NewConversation(tb)
	x.dial = func() {
		client := enginetest.Dial(tb, talk, "c", front.URL, nil)
		client.Connect("/chat", "")
		client.Ignore()
		c := <-accepted
		c.mu.Lock() // orders what its reader did before the client was connected before what the test does
		c.mu.Unlock()
		x.connections = append(x.connections, c)
	}
	for range sockets {
		x.dial()
	}
	tb.Cleanup(func() {
		for _, end := range es.Closers(engine.ServerShutdown) {
			end()
		}
		es.Abort()
		front.Close()
		b.Close(tb.Context())
		cancel()
		listening.Wait()
	})
	return x
}

// socket is the one socket of a connection.
func (b *bench) socket(i int) *socket {
	return b.connections[i].all()[0]
}

// handle processes a message, followed by a flush.
func (b *bench) handle(m *bus.Message) {
	b.edge.handle(m)
	b.edge.flush()
}

var openRoom = rule.Namespace{Connect: rule.ConnectOpen, AutoJoin: []string{"room"}, Relay: []rule.Relay{{Event: "message", To: rule.ToRooms}}}

func TestEventUpDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool drops items")
	}
	x := newBench(t, 1, openRoom)
	c := x.connections[0]
	event := []byte(`2/chat,["message","` + strings.Repeat("x", 100) + `"]`)
	allocs := enginetest.Allocs(0, func() { c.Message(event, false) })
	if allocs > 0 { // nats.go's buffers grow sometimes, less than once per run
		t.Errorf("an event and its relay cost %v allocations up to the publish", allocs)
	}
}

func TestDeliveryAllocatesOneFrame(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool drops items")
	}
	const sockets = 20
	x := newBench(t, sockets, openRoom)
	sender := x.connections[0].all()[0].ID
	for name, header := range map[string]bus.Header{"all": nil, "all but its sender": {"Sio-Except": {sender}}} {
		m := &bus.Message{
			Subject: "sio.chat.emit.room.room", Data: []byte(`["message","` + strings.Repeat("x", 100) + `"]`), Header: header,
		}
		x.handle(m)    // allocates the queues' first slices
		const most = 3 // the frame and its bytes, for any number of receivers; queues behind a slow writer may grow
		if allocs := enginetest.Allocs(most, func() { x.handle(m) }); allocs > most {
			t.Errorf("a delivery to %s of %d sockets costs %v allocations", name, sockets, allocs)
		}
	}
}

func BenchmarkEventUp(b *testing.B) {
	x := newBench(b, 1, openRoom)
	event := []byte(`2/chat,["message","` + strings.Repeat("x", 100) + `"]`)
	b.ReportAllocs()
	for b.Loop() { // nats.go's write buffer blocks it when NATS is slower
		x.connections[0].Message(event, false)
	}
}

func BenchmarkDelivery(b *testing.B) {
	x := newBench(b, 100, openRoom)
	m := &bus.Message{
		Subject: "sio.chat.emit.room.room", Data: []byte(`["message","` + strings.Repeat("x", 100) + `"]`),
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range x.connections { // a full queue would end its session
			for c.session.Waiting() > 1<<20 {
				time.Sleep(time.Millisecond)
			}
		}
		x.handle(m)
	}
}
