package faults

import (
	"syscall"
	"testing"
	"time"

	"partyline/test/stand"
)

// frozenFor is how long a NATS server is stopped. Meanwhile edges and services count each other as dead. What the
// server still had comes late, by minutes as it seems to them.
const frozenFor = 10 * time.Second

// One NATS server after another is stopped and continued. The only instance of the service must own all sockets again
// soon after, whichever messages about them were lost or late. Each socket's events must be handled.
func TestNATSServersAreStopped(t *testing.T) {
	t.Parallel()
	s := beginWith(t, "edge", 1, nil)
	c := gather(t, s.balancer.address, size, every)
	for range 2 {
		for _, server := range s.servers {
			c.suffer(func() {
				server.Signal(syscall.SIGSTOP)
				time.Sleep(frozenFor)
				server.Signal(syscall.SIGCONT)
				stand.WaitForRoutes(t, s.servers)
			})
			began := time.Now()
			s.settled(c)
			t.Logf("the instance owned all sockets %v after the clients were served", time.Since(began).Round(time.Millisecond))
		}
	}
	if sum := c.finish(); sum.disconnects > 0 {
		t.Errorf("clients were disconnected")
	}
}
