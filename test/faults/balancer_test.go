package faults

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"partyline/test/stand"
)

// balancer forwards each connection to the next edge in turn that accepts it, as a balancer in front of WebSockets
// does. It has no knowledge of sessions.
type balancer struct {
	t       *testing.T
	address string
	edges   []string // their addresses

	mu       sync.Mutex
	listener net.Listener          // guarded by mu; nil while it is down
	turn     int                   // guarded by mu
	checked  []*stand.Edge         // guarded by mu: edges that must be ready, in the order of edges; nil: no check
	conns    map[net.Conn]struct{} // guarded by mu: of both sides

	running sync.WaitGroup
}

func balance(t *testing.T, edges []*stand.Edge) *balancer {
	t.Helper()
	b := &balancer{t: t, address: "127.0.0.1:0", conns: make(map[net.Conn]struct{})}
	for _, e := range edges {
		b.edges = append(b.edges, e.Address)
	}
	b.start()
	t.Cleanup(b.stop)
	return b
}

// check makes it skip edges that are not ready.
func (b *balancer) check(edges []*stand.Edge) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.checked = edges
}

// start listens, again at the same address if it did before.
func (b *balancer) start() {
	b.t.Helper()
	l, err := net.Listen("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.listener, b.address = l, l.Addr().String()
	b.mu.Unlock()
	b.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.running.Go(func() { b.serve(conn) })
		}
	})
}

// stop ends all connections through it, and returns when they have ended.
func (b *balancer) stop() {
	b.mu.Lock()
	if b.listener != nil {
		_ = b.listener.Close()
		b.listener = nil
	}
	for conn := range b.conns {
		_ = conn.Close()
	}
	b.mu.Unlock()
	b.running.Wait()
}

// hold registers a connection, unless the balancer is down.
func (b *balancer) hold(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listener == nil {
		_ = conn.Close()
		return false
	}
	b.conns[conn] = struct{}{}
	return true
}

func (b *balancer) drop(conn net.Conn) {
	b.mu.Lock()
	delete(b.conns, conn)
	b.mu.Unlock()
	_ = conn.Close()
}

// next connects to the next edge that listens, and is ready.
func (b *balancer) next() (net.Conn, error) {
	var conn net.Conn
	var err error
	for range b.edges {
		b.mu.Lock()
		b.turn++
		i, checked := b.turn%len(b.edges), b.checked
		b.mu.Unlock()
		if checked != nil {
			if status, why := checked[i].Page("/readyz"); status != http.StatusOK {
				err = errors.New(why)
				continue
			}
		}
		if conn, err = net.Dial("tcp", b.edges[i]); err == nil {
			break
		}
	}
	return conn, err
}

func (b *balancer) serve(client net.Conn) {
	if !b.hold(client) {
		return
	}
	defer b.drop(client)
	edge, err := b.next()
	if err != nil || !b.hold(edge) {
		return
	}
	defer b.drop(edge)
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, edge}, {edge, client}} {
		b.running.Go(func() {
			_, _ = io.Copy(way[1], way[0])
			ended <- struct{}{}
		})
	}
	<-ended
}
