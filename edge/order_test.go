package edge

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"partyline/bus"
	"partyline/edge/registry"
	"partyline/internal/natsconn"
	"partyline/internal/natsd/natsdtest"
	"partyline/subjects"
)

// Two sockets enter a new room at the same time. What is published after either is answered must arrive, although only
// one of them caused the subscription. This is registry.TestNoAnswerBeforeTheSubscription with a real bus and NATS.
func TestTheSecondMemberWaitsForTheFirstOnesSubscription(t *testing.T) {
	server := natsdtest.Start(t)
	b, err := bus.Connect(natsconn.Config{URL: server.ClientURL()}, slog.New(slog.DiscardHandler), bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var arrived atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx, func(*bus.Message) bool { arrived.Add(1); return true }, func() {}) })
	t.Cleanup(func() {
		b.Close(context.Background())
		cancel()
		running.Wait()
	})
	prefix, _ := subjects.NewPrefix("sio")
	e := &Edge{out: b}
	reg := registry.New(prefix, 0, e.follow, func(*socket, int) {})
	members := [2]*socket{{ID: "a"}, {ID: "b"}}
	for _, s := range members {
		reg.Enter(s, "/chat", "chat", false, nil)
		if _, err := reg.Admit(s, registry.Admission{}); err != nil {
			t.Fatal(err)
		}
	}
	nc := serve(t, server)
	const rounds = 500
	for i := range rounds {
		room := fmt.Sprint("x", i)
		answered := make(chan error, len(members))
		for _, s := range members {
			go func() {
				_, _ = reg.Join(s, []string{room})
				b.AfterSubscribed(func() { answered <- nc.Publish("sio.chat.emit.room."+room, nil) })
			}()
		}
		for range members {
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(40 * time.Second); arrived.Load() < 2*rounds && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n := arrived.Load(); n != 2*rounds {
		t.Errorf("%d of %d messages arrived", n, 2*rounds)
	}
}
