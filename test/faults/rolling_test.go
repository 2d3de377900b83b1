package faults

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// All edges are restarted, one after another, while 300 clients send five messages a second to each of their rooms.
// All clients reconnect. Only messages to disconnected clients are lost.
func TestEdgesAreRestarted(t *testing.T) {
	restartEdges(t, begin(t, nil), 300)
}

// The edges of the version before are replaced by today's in the same way. Both are in the cluster meanwhile, and a
// drain's losses are all there are.
func TestEdgesAreUpgraded(t *testing.T) {
	edgetest.ForRelease(t, "upgrades of edges")
	program := filepath.Join(stand.Before(t), "bin", "edge")
	restartEdges(t, beginWith(t, program, 2, nil), 100)
}

// restartEdges restarts all edges, as today's.
func restartEdges(t *testing.T, s *stage, clients int) {
	const every = roomSize * time.Second / 5
	c := gather(t, s.balancer.address, clients, every)
	c.suffer(func() {
		for _, e := range s.edges {
			if err := e.Kill(syscall.SIGTERM); err != nil {
				t.Errorf("%s ended with %v", e.Name, err)
			}
			e.Program = "edge"
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
