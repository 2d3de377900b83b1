package outage

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/edge"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// The way of an edge to NATS dies without a word, and the edge goes around. NATS keeps its end of the dead way for minutes,
// and sends there what the edge had subscribed. Once the edge is ready again nothing of that is missing.
func TestEdgeLeavesAHalfDeadConnection(t *testing.T) {
	t.Parallel()
	places(t, "", func(t *testing.T, own, other, service *natsdtest.Server) {
		way := newDetour(t, own)
		s := beginAt(t, service, way.url())
		c := gather(s)
		up := s.listen(c.all[0])
		s.Handle("sio.door.on.connect", func(m *nats.Msg) { _ = m.Respond([]byte(`[{"rooms":["in"]}]`)) })
		s.reach()
		c.roundTrip()
		up.arrive(100)
		stop := s.pair.Chat()

		connections := func() (n int) { // of all servers: the edge knows of all, and comes back to any
			for _, server := range slices.Compact([]*natsdtest.Server{own, other, service}) {
				n += server.Connections()
			}
			return n
		}
		before := connections()
		way.die(other)
		edgetest.Eventually(s.t, "the edge has gone around", func() bool { return s.Node.Figure("nats_reconnects_total", "") == 1 })
		s.back()
		s.reach()
		for range 3 {
			c.roundTrip()
			up.arrive(100)
			for i, so := range c.all {
				s.Publish("sio.room.emit.socket."+so.ID, fmt.Sprintf(`["direct",%d]`, i))
			}
			for i, so := range c.all {
				so.Gets(fmt.Sprintf(`["direct",%d]`, i))
			}
		}
		for i := range 20 {
			so := s.Enter(fmt.Sprint("newcomer ", i), "/door")
			s.reach()
			s.Publish("sio.door.emit.room.in", `["welcome"]`)
			so.Gets(`["welcome"]`)
			so.Send("41/door,")
			edgetest.Eventually(s.t, "the newcomer has left", func() bool { return s.Node.Figure("sockets", "") == len(c.all) })
		}
		if n := connections(); n != before+1 {
			t.Errorf("NATS has %d connections, want %d and the dead one", n, before)
		}
		stop()
	})
}

// reach waits until the service's NATS server knows what the edge subscribes, and the edge's server what the service does.
// Subscriptions spread through a cluster in their own time, and in order.
func (s *stage) reach() { s.t.Helper(); s.reachFrom(s.NC) }

func (s *stage) reachFrom(nc *nats.Conn) {
	s.t.Helper()
	edgetest.Eventually(s.t, "the service reaches the edge", func() bool {
		answer, err := nc.Request("sio.x.leave.socket."+s.ID+".aaaaaaaaaaaaaaaaaaaa", []byte(`["x"]`), time.Second)
		return err == nil && answer.Header.Get("Sio-Error") == "unknown socket"
	})
}

// Servers that ping often bound what queue groups of services lose. A server leaves a ping out if it has heard of the client
// within the interval before, so that there is one interval more than those that ping_max allows and the last.
const (
	pings          = `ping_interval: "1s", ping_max: 2`
	deadMemberGone = (2 + 2) * time.Second
	// lateness is how much later than it is due something may happen on a machine with other things to do.
	lateness = 5
)

// counted is a client whose numbered events are answered.
type counted struct {
	*socket
	sent []time.Time // by number
	got  map[string]bool
}

func (s *stage) counted(name, namespace string) *counted {
	s.t.Helper()
	return &counted{socket: s.Enter(name, namespace), got: make(map[string]bool)}
}

func (c *counted) next() {
	n := len(c.sent)
	c.sent = append(c.sent, time.Now())
	c.Emit(fmt.Sprint(n), fmt.Sprintf(`["count",%d]`, n))
}

// missing takes what has come, and returns how many from a number on are not answered, and the last of them.
func (c *counted) missing(from int) (n, last int) {
	for c.Pending() > 0 {
		id, _, _ := strings.Cut(strings.TrimPrefix(c.Next(), "43"+c.Head), "[")
		c.got[id] = true
	}
	for i := from; i < len(c.sent); i++ {
		if !c.got[fmt.Sprint(i)] {
			n, last = n+1, i
		}
	}
	return n, last
}

// The way of one of two services dies without a word, and that service goes around. NATS gives its old end a share of what
// the queue group of services gets, until NATS's own pings tell. Then nothing is missing.
func TestServiceLeavesAHalfDeadConnection(t *testing.T) {
	t.Parallel()
	places(t, pings, func(t *testing.T, first, next, home *natsdtest.Server) {
		s := &stage{Stage: edgetest.BeginAt(t, home, namespaces()), t: t}
		way := newDetour(t, first)
		moved, back := way.connect(500 * time.Millisecond)
		for _, nc := range []*nats.Conn{moved, s.NC} {
			if _, err := nc.QueueSubscribe("sio.room.on.count", "services", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
				t.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		a := s.counted("a", "/room")
		edgetest.Eventually(s.t, "both are heard", func() bool { a.next(); n, _ := a.missing(0); return n == 0 && len(a.sent) >= 100 })
		connections := first.Connections()

		way.die(next)
		died, start := time.Now(), len(a.sent)
		edgetest.Await(t, back)
		if first == next {
			connections++
		}
		edgetest.Eventually(s.t, "NATS has closed its end of the dead way", func() bool { a.next(); return first.Connections() == connections-1 })
		closed, end := time.Since(died), len(a.sent)
		for range 500 {
			a.next()
		}
		edgetest.Eventually(s.t, "all events are answered now", func() bool { n, _ := a.missing(end); return n == 0 })
		lost, last := a.missing(start)
		if lost == 0 {
			t.Error("no event was lost in the dead way; is it dead?")
		}
		t.Logf("of %d events %d were lost, the last after %s; NATS closed its end after %s", end-start, lost, a.sent[last].Sub(died), closed)
		if most := lateness * deadMemberGone; closed > most {
			t.Errorf("NATS closed its end after %s, want at most %s", closed, deadMemberGone)
		}
	})
}

// The way of the instance that owns sockets dies without a word. NATS goes on giving its old end a share of the requests to take
// them over, and they are repeated until another instance answers. From then on nothing of the socket's events is missing,
// whatever NATS thinks of the old end.
func TestOwnerOnAHalfDeadConnection(t *testing.T) {
	t.Parallel()
	places(t, "", func(t *testing.T, first, next, home *natsdtest.Server) {
		s := &stage{Stage: edgetest.BeginAt(t, home, namespaces()), t: t}
		way := newDetour(t, first)
		nc, back := way.connect(3 * time.Second) // later than edges notice
		s.reachFrom(nc)
		s.owner(nc)
		const owned = 10
		var all []*counted
		for i := range owned {
			all = append(all, s.counted(fmt.Sprint("owned ", i), "/door"))
		}
		emit := func() (from []int) {
			for _, c := range all {
				from = append(from, len(c.sent))
				c.next()
			}
			return from
		}
		answered := func(from []int) bool {
			for i, c := range all {
				if n, _ := c.missing(from[i]); n > 0 {
					return false
				}
			}
			return true
		}
		from := emit()
		edgetest.Eventually(s.t, "the first owner answers", func() bool { return answered(from) })
		s.owner(s.NC)

		way.die(next)
		died := time.Now()
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		edgetest.Eventually(s.t, "all sockets have the next owner", func() bool {
			emit()
			<-pace.C
			return s.Node.Figure("takeovers_total", "") >= owned
		})
		t.Logf("all %d sockets have the next owner after %s", owned, time.Since(died))
		from = emit()
		for range 100 {
			emit()
		}
		edgetest.Eventually(s.t, "the next owner answers all", func() bool { return answered(from) })
		edgetest.Await(t, back)
		from = emit()
		for range 100 {
			emit()
		}
		edgetest.Eventually(s.t, "all is answered also when the first is back", func() bool { return answered(from) })
	})
}

// owner starts an instance of a service that owns the sockets of /door.
func (s *stage) owner(nc *nats.Conn) {
	s.t.Helper()
	service, err := backend.New(nc, "shop", backend.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		s.t.Fatal(err)
	}
	service.Of("/door", backend.Owned()).On("count", func(_ *backend.Socket, n int) int { return n })
	if err := service.Start(edgetest.Patient(s.t)); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = service.Close(edgetest.Patient(s.t)) })
}

// The way of one of two services dies without a word, and NATS goes on giving its old end a share of the requests to admit.
// Silence is no decision: the edge asks again, and every client gets in. Nobody is refused.
func TestConnectsWhileAServiceIsHalfDead(t *testing.T) {
	t.Parallel()
	places(t, pings, func(t *testing.T, first, next, home *natsdtest.Server) {
		s := &stage{Stage: edgetest.BeginAt(t, home, map[string]edge.Namespace{
			"/shop": {Connect: edge.ConnectService},
		}), t: t}
		way := newDetour(t, first)
		moved, back := way.connect(500 * time.Millisecond)
		for _, nc := range []*nats.Conn{moved, s.NC} {
			if _, err := nc.QueueSubscribe("sio.shop.on.connect", "services", func(m *nats.Msg) { _ = m.Respond([]byte("[]")) }); err != nil {
				t.Fatal(err)
			}
			s.reachFrom(nc)
		}
		way.die(next)
		edgetest.Await(t, back)
		const clients = 20
		var all []*enginetest.Client
		for i := range clients {
			c := s.Dial(fmt.Sprint("client ", i))
			c.Send("40/shop,")
			all = append(all, c)
		}
		for i, c := range all {
			if got := c.Next(); !strings.HasPrefix(got, `40/shop,{"sid":`) {
				t.Errorf("client %d got %s", i, got)
			}
		}
	})
}
