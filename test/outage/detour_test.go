package outage

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// detour is a path to NATS that can die. Then all connections through it are dead, in both directions, without being
// closed, even if one end closes. New connections go to another server, if the test says so. To its NATS server, the
// far end of a dead connection looks like a silent client, until the server's own pings fail. (toxiproxy forwards the
// close of an end.)
// end closes.)
type detour struct {
	t        *testing.T
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	to    string        // guarded by mu: where new connections go
	dead  chan struct{} // guarded by mu: closed when those that are open now die
	conns []net.Conn    // guarded by mu
}

func newDetour(t *testing.T, to *natsdtest.Server) *detour {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &detour{t: t, listener: l, to: strings.TrimPrefix(to.ClientURL(), "nats://"), dead: make(chan struct{})}
	d.running.Go(d.accept)
	t.Cleanup(func() {
		_ = l.Close()
		d.mu.Lock()
		for _, c := range d.conns {
			_ = c.Close()
		}
		d.mu.Unlock()
		d.running.Wait()
	})
	return d
}

func (d *detour) url() string { return "nats://" + d.listener.Addr().String() }

// die cuts the open connections, and directs new ones to a server.
func (d *detour) die(to *natsdtest.Server) {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.dead)
	d.to, d.dead = strings.TrimPrefix(to.ClientURL(), "nats://"), make(chan struct{})
}

func (d *detour) accept() {
	for {
		near, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		far, err := net.Dial("tcp", d.to)
		if err != nil {
			_ = near.Close()
			d.mu.Unlock()
			continue
		}
		dead := d.dead
		d.conns = append(d.conns, near, far)
		d.running.Go(func() { forward(near, far, dead) })
		d.running.Go(func() { forward(far, near, dead) })
		d.mu.Unlock()
	}
}

// forward copies data, and the close, until the path is dead.
func forward(from, to net.Conn, dead <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-dead:
			return
		default:
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

// places are the positions of the NATS servers, the edge under test, the detour, and the service.
func places(t *testing.T, conf string, test func(t *testing.T, own, other, service *natsdtest.Server)) {
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		server := natsdtest.Start(t, conf)
		test(t, server, server, server)
	})
	t.Run("a cluster of three", func(t *testing.T) {
		t.Parallel()
		servers := natsdtest.StartCluster(t, 3, conf)
		test(t, servers[0], servers[1], servers[2])
	})
}

// connect makes a service's connection through the detour. After two to three intervals the client notices that it is
// dead. back is closed when it has reconnected.
// closed when it has gone around.
func (d *detour) connect(interval time.Duration) (nc *nats.Conn, back <-chan struct{}) {
	d.t.Helper()
	again := make(chan struct{})
	once := sync.OnceFunc(func() { close(again) }) // on a busy machine it may reconnect more than once
	return edgetest.Connect(d.t, d.url(), nats.IgnoreDiscoveredServers(), nats.PingInterval(interval), nats.MaxPingsOutstanding(2),
		nats.ReconnectHandler(func(*nats.Conn) { once() })), again
}
