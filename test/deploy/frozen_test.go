package deploy

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// frozen is how long a process is stopped: much longer than the time after which all others count it as dead.
const frozen = 10 * time.Second

// An edge is stopped while its clients emit, and continued. What the kernel buffered meanwhile must not go to an owner
// that has ended the sockets. The next owner gets it, in order, or it is counted as failed.
func TestAnEdgeIsStopped(t *testing.T) {
	servers := stand.Cluster(t)
	j := listen(t, edgetest.Connect(t, servers[2].URL))
	var edges []*stand.Edge
	var addresses []string
	for i := range 2 {
		e := stand.StartEdge(t, fmt.Sprint("edge ", i), "--nats.url", servers[i].URL, "--config", "testdata/edge.yaml")
		edges, addresses = append(edges, e), append(addresses, e.Address)
	}
	workerAt(t, "instance", servers[2].URL)
	c := gather(t, addresses, clients)
	c.served("all clients are served")
	edges[0].Signal(syscall.SIGSTOP)
	time.Sleep(frozen)
	edges[0].Signal(syscall.SIGCONT)
	c.served("all clients are served after the edge goes on")
	c.quiet()
	sum := c.count(j)
	failed := edges[0].Figure(t, "partyline_events_failed_total") + edges[1].Figure(t, "partyline_events_failed_total")
	t.Logf("%s; %d events are counted as failed", sum, failed)
	if sum.disconnected > 0 || sum.doubled > 0 || sum.reordered > 0 || sum.lost > failed || sum.unanswered > failed {
		t.Errorf("%s; %d events are counted as failed", sum, failed)
	}
	c.disperse()
}
