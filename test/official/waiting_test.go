package official

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
)

// TestClientsWait has official clients connect while no service answers, and to services that are slow.
func TestClientsWait(t *testing.T) {
	needScripts(t)
	p := start(t, "embedded", namespaces)
	closed := make(chan struct{})
	nc, err := nats.Connect(p.at.NATS, nats.MaxReconnects(-1), nats.ClosedHandler(func(*nats.Conn) { close(closed) })) // with its own delays
	if err != nil {
		t.Fatal(err)
	}
	defer func() { nc.Close(); <-closed }()
	service, err := backend.New(nc, "stays")
	if err != nil {
		t.Fatal(err)
	}
	service.Of("/svc").OnConnection(func(*backend.Socket) {})
	var mu sync.Mutex
	decisions := make(map[string]int) // guarded by mu
	slow := service.Of("/slow")
	slow.Use(func(so *backend.Socket) error {
		mu.Lock()
		decisions[so.ID()]++
		mu.Unlock()
		select {
		case <-time.After(6 * time.Second):
		case <-t.Context().Done():
		}
		return nil
	})
	slow.On("decisions", func(id string) int {
		mu.Lock()
		defer mu.Unlock()
		return decisions[id]
	})
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := service.Start(ctx); err != nil {
		t.Fatal(err)
	}
	p.run(t, "../node/edges/waiting.test.mjs")
	closing, stop := context.WithTimeout(context.Background(), deadline)
	defer stop()
	if err := service.Close(closing); err != nil {
		t.Error(err)
	}
}
