package faults

import (
	"syscall"
	"testing"
	"time"
)

// All edges are restarted, one after another, while 300 clients send five messages a second to each of their rooms.
// All clients reconnect. Only messages to disconnected clients are lost.
func TestEdgesAreRestarted(t *testing.T) {
	s := begin(t, nil)
	const clients, every = 300, roomSize * time.Second / 5
	c := gather(t, s.balancer.address, clients, every)
	c.suffer(func() {
		for _, e := range s.edges {
			if err := e.Kill(syscall.SIGTERM); err != nil {
				t.Errorf("%s ended with %v", e.Name, err)
			}
			e.Restart(t)
			c.complete("all clients are there before the next edge is restarted")
		}
	})
	s.settled(c)
	s.ended(c, "server shutting down")
	if sum := c.finish(); sum.disconnects < clients {
		t.Errorf("%d of %d clients were disconnected", sum.disconnects, clients)
	}
	if told := s.told(); told > 0 {
		t.Errorf("the death of an edge was reported %d times", told)
	}
}
