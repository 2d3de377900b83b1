package faults

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/proxytest"
	"partyline/test/stand"
)

// The crowd of most tests: six rooms, with 25 messages a second in each.
const (
	size  = 60
	every = 400 * time.Millisecond
)

// Each NATS server is killed and restarted. Its clients move to another one, and no Socket.IO client notices.
func TestNATSServersAreKilled(t *testing.T) {
	t.Parallel()
	s := begin(t, nil)
	c := gather(t, s.balancer.address, size, every)
	for _, server := range s.servers {
		c.suffer(func() { _ = server.Kill(syscall.SIGKILL) })
		s.ready()
		c.suffer(func() { server.Run(t) }) // its routes are up, but subscriptions may take some milliseconds more
	}
	s.settled(c)
	if sum := c.finish(); sum.disconnects > 0 {
		t.Errorf("clients were disconnected")
	}
	if told := s.told(); told > 0 {
		t.Errorf("the death of an edge was reported %d times", told)
	}
}

// outage is how long NATS is away: much longer than the time after which a silent part counts as dead, and than the
// time between two pings.
const outage = 20 * time.Second

// All of NATS stops and comes back. No client is disconnected. Joins and leaves made meanwhile are in effect
// afterwards.
func TestNATSIsAway(t *testing.T) {
	t.Parallel()
	s := begin(t, nil)
	c := gather(t, s.balancer.address, size, every)
	joiners, leavers := c.rooms["room-0"], c.rooms["room-2"]
	for _, one := range leavers {
		wantOK(t, one.ask(`["join","extra"]`))
	}
	var from, to map[string]int // messages that were certainly made in the outage
	c.suffer(func() {
		for _, server := range s.servers {
			_ = server.Kill(syscall.SIGKILL)
		}
		for _, e := range s.edges {
			edgetest.Eventually(t, e.Name+" is not ready", func() bool {
				status, why := e.Page("/readyz")
				return status == http.StatusServiceUnavailable && strings.Contains(why, "not connected to NATS")
			})
		}
		var answers []<-chan string
		for i := range roomSize {
			answers = append(answers, joiners[i].ask(`["join","extra"]`), leavers[i].ask(`["leave","extra"]`))
		}
		from = c.made()
		time.Sleep(outage - time.Second)
		to = c.made()
		time.Sleep(time.Second)
		for _, server := range s.servers {
			server.Run(t)
		}
		stand.WaitForRoutes(t, s.servers)
		s.ready()
		for _, answer := range answers {
			wantOK(t, answer)
		}
	})
	s.extra(joiners, leavers)
	s.settled(c)
	if sum := c.finish(); sum.disconnects > 0 {
		t.Errorf("clients were disconnected")
	}
	if late := c.heard(from, to); late > 0 {
		t.Errorf("%d deliveries of messages made in the outage came after it", late)
	}
	if told := s.told(); told > 0 {
		t.Errorf("the death of an edge was reported %d times", told)
	}
}

func wantOK(t *testing.T, answer <-chan string) {
	t.Helper()
	select {
	case got := <-answer:
		if got != `[{"ok":true}]` {
			t.Errorf("a join or leave was answered with %s", got)
		}
	case <-time.After(edgetest.Patience):
		t.Fatal("a join or leave was not answered")
	}
}

// extra publishes to the room "extra", whose members must receive it, and others not.
func (s *stage) extra(members, others []*client) {
	s.t.Helper()
	for n, subject := range []string{"sio.relay.emit.room.extra", "sio.relay.emit.all"} { // the second arrives last
		s.nc.Publish(subject, fmt.Sprintf(`["say","extra","somebody",1,%d]`, n))
	}
	for i, one := range slices.Concat(members, others) {
		edgetest.Eventually(s.t, "every client receives it", func() bool {
			one.mu.Lock()
			defer one.mu.Unlock()
			return one.heard["somebody"][1] == 1
		})
		one.mu.Lock()
		if got := one.heard["somebody"][0] == 1; got != (i < len(members)) {
			s.t.Errorf("%s received the room's message: %v", one.name, got)
		}
		one.mu.Unlock()
	}
}

// beginWithWay starts everything. The first edge's path to NATS can be cut.
func beginWithWay(t *testing.T, flags ...string) (s *stage, way *proxytest.Proxy) {
	t.Helper()
	s = begin(t, func(s *stage) string {
		way = proxytest.Start(t, s.servers[0].URL)
		return way.URL()
	}, flags...)
	return s, way
}

// cutOff cuts the first edge's path to NATS, waits until the others have reported it dead, calls during, and repairs
// it.
func (s *stage) cutOff(way *proxytest.Proxy, meanwhile func()) {
	s.t.Helper()
	edge := s.edges[0]
	way.Stop()
	edgetest.Eventually(s.t, "the edge reports that it is not ready", func() bool {
		status, why := edge.Page("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(why, "not connected to NATS")
	})
	edgetest.Eventually(s.t, "the others report it dead", func() bool { return s.told() == 1 })
	meanwhile()
	way.Mend()
	edge.WaitReady(s.t)
}

// An edge loses NATS, and keeps its clients. For the others it is dead, so the service ends its sockets. They get an
// owner again when it is back.
func TestEdgeIsCutOff(t *testing.T) {
	t.Parallel()
	s, way := beginWithWay(t)
	c := gather(t, s.balancer.address, size, every)
	edgetest.Eventually(t, "the others know the edge", func() bool { return s.edges[0].Figure(t, "partyline_edges") == len(s.edges) })
	c.suffer(func() { s.cutOff(way, func() {}) })
	s.settled(c)
	if sum := c.finish(); sum.disconnects > 0 {
		t.Errorf("clients were disconnected")
	}
	if told := s.told(); told != 1 {
		t.Errorf("the edge's death was reported %d times", told)
	}
}

// An edge loses NATS, and sends its clients to others, which are ready. They are served while it is still
// disconnected.
func TestEdgeIsCutOffAndSendsItsClientsAway(t *testing.T) {
	t.Parallel()
	s, way := beginWithWay(t, "--isolation_timeout=1s", "--edges.secret=of the test", "--advertise=http://ADDRESS")
	s.balancer.check(s.edges) // otherwise clients reconnect to it, and are refused
	c := gather(t, s.balancer.address, size, every)
	c.suffer(func() {
		s.cutOff(way, func() {
			c.complete("all clients are there while the edge is cut off")
			c.served("all clients are served while the edge is cut off")
			if left := s.edges[0].Figure(t, "partyline_sessions"); left > 0 {
				t.Errorf("%d clients are at an edge without NATS", left)
			}
		})
	})
	s.settled(c)
	s.ended(c, "transport close")
	if sum := c.finish(); sum.disconnects != size/len(s.edges) {
		t.Errorf("%d clients were disconnected", sum.disconnects)
	}
}

// An edge is killed. Its clients reconnect to the others.
func TestEdgeIsKilled(t *testing.T) {
	t.Parallel()
	s := begin(t, nil)
	c := gather(t, s.balancer.address, size, every)
	before := c.sockets()
	c.suffer(func() { _ = s.edges[0].Kill(syscall.SIGKILL) })
	s.settled(c) // no socket of the dead edge is left
	s.ended(c, "transport close")
	edgetest.Eventually(t, "the edge's death is reported", func() bool { return s.told() > 0 })
	lost := 0
	for _, id := range before {
		lost += len(s.service.ends(id))
	}
	if told := s.told(); told != 1 {
		t.Errorf("the edge's death was reported %d times", told)
	}
	if c.finish(); lost == 0 || lost == len(before) {
		t.Errorf("%d of %d sockets were at the edge", lost, len(before))
	}
}

// The balancer is restarted. All clients reconnect.
func TestBalancerIsRestarted(t *testing.T) {
	t.Parallel()
	s := begin(t, nil)
	c := gather(t, s.balancer.address, size, every)
	c.suffer(func() {
		s.balancer.stop()
		s.balancer.start()
	})
	s.settled(c)
	s.ended(c, "transport close")
	if sum := c.finish(); sum.disconnects != size {
		t.Errorf("%d of %d clients were disconnected", sum.disconnects, size)
	}
}
