// Package deploy checks what a deploy of the application does to its clients. There are three NATS servers, with edges
// and instances of a service at different ones, all of them processes, and a tap on every subject. Clients go on
// emitting while instances come and go. Everything is counted by sequence numbers.
package deploy

import (
	"os"
	"testing"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

func TestMain(m *testing.M) {
	edgetest.LongMain(m, func() {
		stand.Clean()
		if nodeFolder != "" {
			_ = os.RemoveAll(nodeFolder)
		}
	})
}

// edgeAt runs an edge at a NATS server and returns where clients reach it.
func edgeAt(t *testing.T, label, url string) string {
	t.Helper()
	return stand.StartEdge(t, label, "--nats.url", url, "--config", "testdata/edge.yaml").Address
}

// workerAt runs an instance at a NATS server.
func workerAt(t *testing.T, label, url string) *stand.Process {
	t.Helper()
	p := stand.Start(t, label, "worker", url)
	p.Line("ready")
	return p
}
