// Package faults stops and restarts parts of a whole deployment: three NATS servers, three edges and two instances of
// a service. Meanwhile clients in rooms of ten, behind a balancer, send numbered messages. Everything is counted.
// docs/how-to/outages.md lists what each fault costs.
package faults

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/proxytest"
	"partyline/test/stand"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(3)
	stand.Main(m, proxytest.Leaks...)
}

// stage is the deployment.
type stage struct {
	t        *testing.T
	servers  []*stand.Server
	edges    []*stand.Edge
	service  *service
	balancer *balancer
	nc       *edgetest.Peer // of the test

	mu   sync.Mutex
	gone map[string]int // guarded by mu: how often an edge's death was reported, by its id
}

// begin starts everything. way, if not empty, is the only path of the first edge to NATS. flags are for all edges.
func begin(t *testing.T, way func(*stage) string, flags ...string) *stage {
	t.Helper()
	return beginWith(t, "edge", 2, way, flags...)
}

// beginWith is begin with a program for the edges, and a number of instances of the service.
func beginWith(t *testing.T, program string, instances int, way func(*stage) string, flags ...string) *stage {
	t.Helper()
	s := &stage{t: t, servers: stand.Cluster(t, "--no_advertise"), gone: make(map[string]int)}
	urls := stand.URLs(s.servers)
	s.nc = edgetest.NewPeer(t, urls)
	s.nc.Handle("sio.$edge.*.gone", func(m *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gone[strings.Split(m.Subject, ".")[2]]++
	})
	for i := range 3 {
		url := urls
		if i == 0 && way != nil {
			url = way(s)
		}
		args := append([]string{"--nats.url", url, "--config", "testdata/edge.yaml"}, flags...)
		s.edges = append(s.edges, stand.StartProgram(t, program, fmt.Sprint("edge ", i), args...))
	}
	s.service = serve(t, instances, urls)
	s.balancer = balance(t, s.edges)
	return s
}

// told returns how often the death of any edge was reported.
func (s *stage) told() (times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.gone {
		times += n
	}
	return times
}

// settled waits until the instances own the existing sockets, each once, and no others.
func (s *stage) settled(c *crowd) {
	s.t.Helper()
	var amiss string
	for end := time.Now().Add(edgetest.Patience); ; time.Sleep(5 * time.Millisecond) {
		if amiss = s.service.amiss(c.sockets()); amiss == "" {
			return
		}
		if time.Now().After(end) {
			s.t.Fatal(amiss)
		}
	}
}

// ready waits until all edges are ready.
func (s *stage) ready() {
	s.t.Helper()
	for _, e := range s.edges {
		e.WaitReady(s.t)
	}
}

// ended checks the sockets that clients had in /owned and lost: each must have been reported as ended once, for
// reason.
func (s *stage) ended(c *crowd, reason string) {
	s.t.Helper()
	for _, one := range c.all {
		one.mu.Lock()
		ids := one.ids
		one.mu.Unlock()
		for _, id := range ids[:len(ids)-1] {
			if got := s.service.ends(id); one.ns == "/owned" && (len(got) != 1 || got[0] != reason) {
				s.t.Errorf("the service received the ends %q of %s, want one %q", got, id, reason)
			}
		}
	}
}
