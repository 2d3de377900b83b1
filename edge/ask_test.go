package edge

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/bus"
	"partyline/engine/enginetest"
)

// testInbox is where the answers to asks of a test go.
const testInbox = "_INBOX.test"

// inbox receives the answers to what a test asks on the bench.
type inbox struct {
	t   *testing.T
	sub *nats.Subscription
}

func (x *bench) inbox(t *testing.T) *inbox {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(x.nats, nats.SyncQueueLen(2*maxAsked), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	sub, err := nc.SubscribeSync(testInbox)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &inbox{t, sub}
}

func (i *inbox) next() *nats.Msg {
	i.t.Helper()
	m, err := i.sub.NextMsg(40 * time.Second)
	if err != nil {
		i.t.Fatal(err)
	}
	return m
}

// fails expects an error next.
func (i *inbox) fails(want string) {
	i.t.Helper()
	if m := i.next(); m.Header.Get("Sio-Error") != want {
		i.t.Fatalf("answered %q %v, want the error %q", m.Data, m.Header, want)
	}
}

func ask(target string, headers ...string) *bus.Message {
	m := &bus.Message{Subject: "sio.chat.ask." + target, Reply: testInbox, Data: []byte(`["x"]`), Header: bus.Header{}}
	for i := 0; i < len(headers); i += 2 {
		m.Header[headers[i]] = []string{headers[i+1]}
	}
	return m
}

func TestAsksAreBounded(t *testing.T) {
	x := newBench(t, 2, openRoom)
	answers := x.inbox(t)
	socket := "socket." + x.socket(0).ID
	x.edge.asks.awaited.Take("chat", maxAsked/2-1, 0)
	x.handle(ask("all"))
	answers.fails("too many asks under way")
	x.handle(ask("room.nobody")) // counts nothing
	if m := answers.next(); m.Header.Get("Sio-Expect") != "0" {
		t.Errorf("answered %q %v", m.Data, m.Header)
	}
	x.handle(ask(socket, "Sio-Timeout", "1"))
	x.handle(ask(socket))
	answers.fails("too many asks under way")
	answers.fails("no answer")
	x.handle(ask(socket, "Sio-Timeout", "1")) // there is room again
	answers.fails("no answer")
	if !x.edge.asks.awaited.Take("other", maxAsked/4, 0) {
		t.Error("nothing is left for another namespace")
	}
	if n := x.edge.asks.refused.Value(); n != 2 {
		t.Errorf("%d asks count as refused", n)
	}
}

// More sockets than are answered in one step, and then more questions to one of them: each is answered once.
func TestAsksInChunks(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	const sockets = askChunk + 1
	x := newBench(t, sockets, openRoom)
	answers := x.inbox(t)
	take := func(n int, why string) {
		t.Helper()
		seen := map[string]bool{}
		for range n {
			m := answers.next()
			if id := m.Header.Get("Sio-Socket"); m.Header.Get("Sio-Error") != why || seen[id] && id != "" {
				t.Fatalf("answered %q %v, want %q", m.Data, m.Header, why)
			} else {
				seen[id] = true
			}
		}
	}
	x.handle(ask("all", "Sio-Timeout", "600000"))
	x.handle(ask("all", "Sio-Timeout", "1"))
	expect := fmt.Sprint(sockets)
	for range 2 {
		if m := answers.next(); m.Header.Get("Sio-Expect") != expect {
			t.Fatalf("answered %q %v", m.Data, m.Header)
		}
	}
	take(sockets, "no answer")
	for i, c := range x.connections {
		if i > 0 { // the first one was handled above
			c.Message([]byte(`3/chat,1["yes"]`), false)
		}
	}
	take(sockets-1, "")
	first := x.socket(0)
	for range 2*askChunk + 1 {
		x.handle(ask("socket." + first.ID))
	}
	first.Edge.conn.Message([]byte(`1/chat,`), false)
	seen := map[bool]int{} // the long question's ack has its socket, the others not
	for range 2*askChunk + 2 {
		m := answers.next()
		if m.Header.Get("Sio-Error") != "unknown socket" {
			t.Fatalf("answered %q %v", m.Data, m.Header)
		}
		seen[m.Header.Get("Sio-Socket") == first.ID]++
	}
	if seen[true] != 1 || x.edge.asks.awaited.Used() != 0 {
		t.Errorf("answers %v, %d acks are waited for", seen, x.edge.asks.awaited.Used())
	}
	if n := x.edge.asks.passed.Value(); n != sockets-1 {
		t.Errorf("%d acks were passed on", n)
	}
}

// A socket that disconnects while it is being asked is answered for once, by whichever code sees it first.
func TestAskOfAGoneSocket(t *testing.T) {
	x := newBench(t, 1, openRoom)
	answers := x.inbox(t)
	s := x.socket(0)
	q := &question{id: 1, reply: testInbox, sockets: []*socket{s}, left: 1}
	x.edge.end(s, "gone", endServer, false) // between choosing and asking
	x.edge.asks.deliver(q, &packet{}, time.Hour)
	answers.fails("unknown socket")
	if q.timer != nil || q.left != 0 || s.Edge.asked != nil {
		t.Errorf("left behind: %+v, %v", q, s.Edge.asked)
	}
}

// What an ask and its ack allocate, not counting the frame: an entry in the socket's list, the answer, and its
// content.
func TestAskAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool drops items")
	}
	x := newBench(t, 1, openRoom)
	c := x.connections[0]
	// An unexpected ack allocates nothing.
	late := []byte(`3/chat,1["yes"]`)
	if allocs := enginetest.Allocs(0, func() { c.Message(late, false) }); allocs > 0 {
		t.Errorf("an unexpected ack costs %v allocations", allocs)
	}
	m := ask("socket." + c.all()[0].ID)
	const most = 11
	allocs := enginetest.Allocs(most, func() {
		x.handle(m)
		c.Message(fmt.Appendf(nil, `3/chat,%d["yes"]`, x.edge.asks.last), false)
	})
	if allocs > most {
		t.Errorf("an ask and its ack cost %v allocations", allocs)
	}
}

// All acks that an edge may wait for can come at once, while NATS is slow. Each is passed on, and there is room left
// for notices that must be kept.
func TestAllAcksMayWaitAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("a quarter of a million asks")
	}
	x := newBench(t, 2, openRoom)
	answers := x.inbox(t)
	s := x.socket(0)
	for range maxAsked {
		x.edge.asks.last++
		s.Edge.asked = append(s.Edge.asked, &question{id: x.edge.asks.last, reply: testInbox, many: true, sockets: []*socket{s}, left: 1})
	}
	x.edge.asks.awaited.Add("chat", maxAsked) // more than one namespace may take
	blocked, release := make(chan struct{}), make(chan struct{})
	x.edge.out.AfterSubscribed(func() { close(blocked); <-release }) // like a flush that is slow
	<-blocked
	for id := x.edge.asks.last; id > 0; id-- { // the last first, which is faster to find
		s.Edge.conn.Message(fmt.Appendf(nil, `3/chat,%d["yes"]`, id), false)
	}
	x.handle(ask("socket."+x.socket(1).ID, "Sio-Timeout", "1")) // no ack is awaited, but answers wait
	x.connections[1].Message([]byte(`1/chat,`), false)
	close(release)
	for range maxAsked {
		if m := answers.next(); string(m.Data) != `["yes"]` || len(m.Header) != 1 || m.Header.Get("Sio-Socket") != s.ID {
			t.Fatalf("answered %q %v", m.Data, m.Header)
		}
	}
	answers.fails("too many asks under way")
	for _, m := range x.edge.set.Bus.Metrics().Metrics() {
		if m.Name == "nats_unsent_dropped_total" && m.Read() != 0 {
			t.Errorf("%v of kind %s were dropped", m.Read(), m.Value())
		}
	}
}
