package official

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/internal/edgetest"
)

// TestClientsWait has official clients connect while no service answers, and to services that are slow.
func TestClientsWait(t *testing.T) {
	needScripts(t)
	p := start(t, "embedded", namespaces)
	nc := edgetest.Connect(t, p.at.NATS, nats.ReconnectWait(nats.DefaultReconnectWait))
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
	edgetest.Serve(t, service)
	p.run(t, "../node/edges/waiting.test.mjs")
}
