package natsdtest

import (
	"errors"
	"net"
	"sync"
)

// Cable connects a client to a server without a socket. It can be cut while other clients stay connected.
type Cable struct {
	to *Server

	mu    sync.Mutex
	cut   bool       // guarded by mu
	conns []net.Conn // guarded by mu: all since the last Cut
	tries int        // guarded by mu: to connect
}

// Cable returns a new cable to the server.
func (s *Server) Cable() *Cable { return &Cable{to: s} }

// InProcessConn opens a connection. It implements nats.InProcessServer.
func (c *Cable) InProcessConn() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tries++
	if c.cut {
		return nil, errors.New("the cable is cut")
	}
	conn, err := c.to.InProcessConn()
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

// Cut ends all connections, and refuses new ones.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// Mend allows connections again.
func (c *Cable) Mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
}

// Attempts returns how often the client has tried to connect.
func (c *Cable) Attempts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tries
}
