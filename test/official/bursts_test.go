package official

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// TestBursts has official clients send more at once than a service in Go handles: they are slowed down, and every ack
// comes.
func TestBursts(t *testing.T) {
	needScripts(t)
	url := natsdtest.Start(t).ClientURL()
	p := start(t, "edge", "--config=testdata/bursts.yaml", "--nats.url="+url)
	p.ready(t, 1)
	nc := edgetest.Connect(t, url)
	slowService(t, nc, "svc")
	narrow := slowService(t, nc, "narrow", backend.WithLimits(backend.Limits{SocketBytes: 512 << 10}))
	runScript(t, "../node/edges/bursts.test.mjs", "PARTYLINE_URL=http://"+p.at.Address, "PARTYLINE_NATS="+url)
	if got := narrow.Stats(); got.Pauses == 0 || got.Overflows > 0 {
		t.Errorf("the service with little room counted %+v", got)
	}
}

// slowService handles the chunks of a namespace, 20 ms for each.
func slowService(t *testing.T, nc *nats.Conn, name string, options ...backend.Option) *backend.Service {
	t.Helper()
	io, err := backend.New(nc, name, append(options, backend.Logger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		t.Fatal(err)
	}
	ns := io.Of("/" + name)
	ns.OnConnection(func(*backend.Socket) {})
	ns.On("chunk", func(data []byte, i int) (int, int) {
		time.Sleep(20 * time.Millisecond)
		return len(data), i
	})
	edgetest.Serve(t, io)
	return io
}
