package faults

import (
	"syscall"
	"testing"
	"time"

	"partyline/test/stand"
)

// frozenFor is for how long a NATS server is stopped: edges and services take each other for dead meanwhile, and what the
// server still had comes minutes too late, as it seems to them.
const frozenFor = 10 * time.Second

// One NATS server after the other is stopped and continued. The only instance of the service must own all sockets again soon
// after, whichever words about them were lost or late; and each socket's events are handled.
func TestNATSServersAreStopped(t *testing.T) {
	t.Parallel()
	s := beginWith(t, 1, nil)
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
			t.Logf("the instance owned all sockets %v after everybody heard everybody", time.Since(began).Round(time.Millisecond))
		}
	}
	if sum := c.finish(); sum.disconnects > 0 {
		t.Errorf("clients were disconnected")
	}
}
