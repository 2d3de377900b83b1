package backend_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
)

// assignments is a service that owns sockets of an edge played by the test, and what its handlers received.
type assignments struct {
	*fakeEdge
	io    *backend.Service
	id    string
	heard chan string
	back  *nats.Subscription // what the instance notifies the edge of about the socket
	pongs *nats.Subscription
}

func beginAssignments(t *testing.T) *assignments {
	t.Helper()
	s := begin(t)
	c := &assignments{fakeEdge: &fakeEdge{t, s.connection(), "assigner"}, heard: make(chan string, 100)}
	c.io = s.service("chat")
	chat := c.io.Of("/chat", backend.Owned())
	chat.OnConnection(func(so *backend.Socket) {
		_, taken := so.TakenOver()
		c.heard <- fmt.Sprint("connected ", taken)
	})
	chat.OnHandover(func(_ *backend.Socket, reason string) { c.heard <- reason })
	chat.OnDisconnect(func(_ *backend.Socket, reason string) { c.heard <- reason })
	chat.On("n", func(n int) { c.heard <- fmt.Sprint(n) })
	s.start(c.io)
	c.say("hello")
	c.id = c.connect(c.io, "aaaaaaaaaaaaaaaaaaaa")
	c.hears("connected false")
	c.back, c.pongs = c.sub("sio.chat.ack."+c.id+".connect"), c.sub("sio.$edge.assigner.pong.*")
	return c
}

func (c *assignments) sub(subject string) *nats.Subscription {
	c.t.Helper()
	sub, err := c.nc.SubscribeSync(subject)
	if err != nil || c.nc.Flush() != nil {
		c.t.Fatal(err)
	}
	return sub
}

func (c *assignments) hears(want string) {
	c.t.Helper()
	select {
	case got := <-c.heard:
		if got != want {
			c.t.Fatalf("received %s, want %s", got, want)
		}
	case <-time.After(patience):
		c.t.Fatalf("received nothing, want %s", want)
	}
}

// tells publishes a message to the instance, or its group, with a reply subject.
func (c *assignments) tells(owner, event, reply, body string) {
	c.t.Helper()
	if err := c.nc.PublishRequest("sio.chat.own."+owner+"."+event, "sio.chat."+reply, []byte(body)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *assignments) event(n int) {
	c.t.Helper()
	c.tells(c.io.Instance(), "n", "emit.socket."+c.id, fmt.Sprintf(`["n",%d]`, n))
}

func (c *assignments) disowns(number int) {
	c.t.Helper()
	c.tells(c.io.Instance(), "disconnect", "emit.socket."+c.id, fmt.Sprintf(`["disconnect",{"reason":"owner changed","rooms":[],"assignment":%d}]`, number))
}

// hands asks the instance to own the socket, which was admitted before.
func (c *assignments) hands(number int) {
	c.t.Helper()
	c.asks(c.io.Instance(), "sio.chat.ack."+c.id+".connect", number, fmt.Appendf(nil,
		`["connect",{"sid":%q,"auth":{},"handover":{"from":%q,"rev":0,"rooms":[],"data":{}}}]`, c.id, c.io.Instance()))
}

// told waits for a message of the instance, and compares its headers.
func (c *assignments) told(sub *nats.Subscription, want string) {
	c.t.Helper()
	m, err := sub.NextMsg(patience)
	if err != nil {
		c.t.Fatalf("nothing on %s, want %s", sub.Subject, want)
	}
	var got []string
	for _, header := range []string{"Sio-Error", "Sio-Assignment"} {
		got = append(got, m.Header.Get(header))
	}
	if from := m.Header.Get("Sio-From"); strings.Join(got, ",") != want || from != "" && from != c.io.Instance() {
		c.t.Fatalf("%v, want %s", m.Header, want)
	}
}

// An instance reports each event of a socket that it does not own. If it is asked, it takes the socket over.
func TestAnEventOfASocketThatIsNotOwned(t *testing.T) {
	t.Parallel()
	c := beginAssignments(t)
	c.event(1)
	c.hears("1")
	c.disowns(1)
	c.hears("owner changed")
	c.event(2)
	c.told(c.back, "not owner,")
	c.event(3)
	c.told(c.back, "not owner,")
	c.hands(2)
	c.told(c.back, ",2")
	c.hears("connected true")
	c.event(4)
	c.hears("4")
}

// The late end of an assignment ends no newer one. A request of an older assignment is ignored, too.
func TestAWordAboutAnOlderAssignment(t *testing.T) {
	t.Parallel()
	c := beginAssignments(t)
	c.hands(2) // the instance may have counted the edge as dead
	c.told(c.back, ",2")
	c.disowns(1) // late
	c.event(1)
	c.hears("1")
	c.hands(1) // later still
	c.hands(3)
	c.told(c.back, ",3")
	c.disowns(2) // the message is not lost, but late
	c.event(2)
	c.hears("2")
	c.disowns(3)
	c.hears("owner changed")
	c.hands(4)
	c.told(c.back, ",4")
	c.hears("connected true")
}

// An instance that decides slowly sends Sio-Pending before the edge asks another one. So does one whose handlers are
// busy with the socket.
func TestASlowDecisionIsPending(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t)
	io := s.service("shop")
	chat := io.Of("/chat", backend.Owned())
	entered, release := make(chan struct{}), make(chan struct{})
	chat.Use(func(*backend.Socket) error { entered <- struct{}{}; <-release; return nil })
	chat.On("slow", func() { entered <- struct{}{}; <-release })
	s.start(io)
	a := newAsker(t, s.connection(), "aaaaaaaaaaaaaaaaaaaa")
	a.owner = io.Instance
	a.ask()
	<-entered
	a.wants(" Sio-Pending: " + io.Instance())
	release <- struct{}{}
	a.wants(`[{}]`)
	e := &fakeEdge{t, a.nc, "repeated"}
	if err := a.nc.PublishRequest("sio.chat.own."+io.Instance()+".slow", "sio.chat.emit.socket."+a.id, []byte(`["slow"]`)); err != nil {
		t.Fatal(err)
	}
	<-entered
	body := fmt.Appendf(nil, `["connect",{"sid":%q,"auth":{},"handover":{"from":"x","rev":0,"rooms":[],"data":{}}}]`, a.id)
	e.asks(io.Instance(), "sio.chat.ack."+a.id+".connect", 1, body)
	a.wants(" Sio-Pending: " + io.Instance())
	release <- struct{}{}
	a.wants(`[]`)
}

// A decision answers the latest request: an edge that was away asks again under a new number, and the one before
// counts no more.
func TestADecisionAnswersTheLatestRequest(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("shop")
	entered, release := make(chan struct{}), make(chan struct{})
	io.Of("/chat", backend.Owned()).Use(func(*backend.Socket) error { entered <- struct{}{}; <-release; return nil })
	s.start(io)
	e := &fakeEdge{t, s.connection(), "assigner"}
	id := e.id + ".aaaaaaaaaaaaaaaaaaaa"
	reply := "sio.chat.ack." + id + ".connect"
	answers, err := e.nc.SubscribeSync(reply)
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Appendf(nil, `["connect",{"sid":%q,"auth":{}}]`, id)
	e.asks(io.Instance(), reply, 1, body)
	<-entered
	e.asks(io.Instance(), reply, 2, body)
	next := func() *nats.Msg {
		t.Helper()
		m, err := answers.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := next()
	for m.Header.Get("Sio-Pending") != "" && m.Header.Get("Sio-Assignment") == "1" { // the machine is slow
		m = next()
	}
	if m.Header.Get("Sio-Pending") != io.Instance() || m.Header.Get("Sio-Assignment") != "2" {
		t.Fatalf("%v", m.Header)
	}
	release <- struct{}{}
	for m = next(); m.Header.Get("Sio-Pending") != ""; m = next() {
	}
	if m.Header.Get("Sio-Error") != "" || m.Header.Get("Sio-Assignment") != "2" {
		t.Fatalf("%v", m.Header)
	}
}

// An instance reports whether it owns sockets in a namespace that it announces, or that a pattern of it covers.
func TestANamespaceThatIsNotOwned(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("shop")
	io.Of("/tenant-*", backend.Owned())
	ended := make(chan string, 10)
	io.Of("/chat").OnDisconnect(func(_ *backend.Socket, reason string) { ended <- reason })
	s.start(io)
	for _, namespace := range []string{"chat", "elsewhere"} {
		inbox := "sio." + namespace + ".ack.assigner.aaaaaaaaaaaaaaaaaaaa.connect"
		nc := s.connection()
		answers, err := nc.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		m := &nats.Msg{
			Subject: "sio." + namespace + ".own." + io.Instance() + ".connect", Reply: inbox, Data: []byte(`["connect",{}]`),
			Header: nats.Header{"Sio-Assignment": {"7"}},
		}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		answer, err := answers.NextMsg(patience)
		if err != nil || answer.Header.Get("Sio-Error") != "not mine" || answer.Header.Get("Sio-Assignment") != "7" {
			t.Errorf("%s: %+v, %v", namespace, answer, err)
		}
	}
	s.enter("ann", "/tenant-1")
	s.enter("bob", "/chat") // where the others decide
	nc := s.connection()
	for _, reason := range []string{"owner changed", "transport close"} {
		body := fmt.Appendf(nil, `["disconnect",{"reason":%q,"rooms":[],"assignment":7}]`, reason)
		if err := nc.PublishRequest("sio.chat.own."+io.Instance()+".disconnect", "sio.chat.emit.socket.assigner.aaaaaaaaaaaaaaaaaaaa", body); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case reason := <-ended:
		if reason != "transport close" {
			t.Errorf("a socket ended: %s", reason)
		}
	case <-time.After(patience):
		t.Error("the end of a socket is not noticed")
	}
}

// An instance that has counted an edge as dead reports that when it receives from the edge again.
func TestAnEdgeThatWasTakenForDeadIsTold(t *testing.T) {
	t.Parallel()
	c := beginAssignments(t)
	c.hears("transport close") // the edge is silent
	c.say("beat")
	c.told(c.pongs, "not owner,")
	c.say("beat")
	c.hands(2)
	c.told(c.back, ",2")
	c.hears("connected true")
	if n, _, err := c.pongs.Pending(); err != nil || n != 0 {
		t.Errorf("it is reported %d more times, %v", n, err)
	}
}
