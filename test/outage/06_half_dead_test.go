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
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// An edge's path to NATS dies silently, and the edge reconnects by another path. For minutes NATS keeps its end of the
// dead path, and sends there what the edge had subscribed. Once the edge is ready again, no message is missing.
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

		connections := func() (n int) { // at all servers: the edge has the URLs of all, and may reconnect to any
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

// reach waits until the service's NATS server has the edge's subscriptions, and the edge's server those of the
// service. Subscriptions spread through a cluster asynchronously, and in order.
func (s *stage) reach() { s.t.Helper(); s.reachFrom(s.NC) }

func (s *stage) reachFrom(nc *nats.Conn) {
	s.t.Helper()
	edgetest.Eventually(s.t, "the service reaches the edge", func() bool {
		answer, err := nc.Request("sio.x.leave.socket."+s.ID+".aaaaaaaaaaaaaaaaaaaa", []byte(`["x"]`), time.Second)
		return err == nil && answer.Header.Get("Sio-Error") == "unknown socket"
	})
}

// Servers that ping often limit what queue groups of services lose. A server skips a ping if the client sent anything
// within the interval before. So it takes one interval more than those of ping_max and the last one.
const (
	pings          = `ping_interval: "1s", ping_max: 2`
	deadMemberGone = (2 + 2) * time.Second
	// lateness is how late an event may be on a busy machine.
	lateness = 5
)

// counted is a client whose numbered events are acked.
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

// missing reads what has arrived. It returns how many events from a number on are not acked, and the last of them.
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

// The path of one of two services dies silently, and that service reconnects by another path. NATS sends a share of
// the queue group's messages to its old connection, until NATS's own pings fail. After that, no message is missing.
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
			t.Error("no event was lost on the dead path; is it dead?")
		}
		t.Logf("of %d events %d were lost, the last after %s; NATS closed its end after %s", end-start, lost, a.sent[last].Sub(died), closed)
		if most := lateness * deadMemberGone; closed > most {
			t.Errorf("NATS closed its end after %s, want at most %s", closed, deadMemberGone)
		}
	})
}

// The path of the instance that owns sockets dies silently. NATS still sends a share of the requests for an owner to
// its old connection. They are repeated until another instance answers. From then on no event of the socket is
// missing, even while NATS keeps the old connection.
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

// The path of one of two services dies silently, and NATS still sends a share of the connect requests to its old
// connection. Silence is no decision: the edge asks again, and every client is admitted. None is refused.
func TestConnectsWhileAServiceIsHalfDead(t *testing.T) {
	t.Parallel()
	places(t, pings, func(t *testing.T, first, next, home *natsdtest.Server) {
		s := &stage{Stage: edgetest.BeginAt(t, home, map[string]rule.Namespace{
			"/shop": {Connect: rule.ConnectService},
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
