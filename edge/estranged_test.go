package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// A client's packets that arrive first after the process was stopped are held, even if the edge has not noticed the
// stop yet.
func TestEventsAreHeldAfterAPause(t *testing.T) {
	server := natsdtest.Start(t)
	nc := serve(t, server)
	own, err := nc.SubscribeSync("sio.chat.own.chat-a.>")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	admit := func(m *nats.Msg) error {
		return m.RespondMsg(&nats.Msg{Header: nats.Header{"Sio-From": {"chat-a"}, "Sio-Assignment": {m.Header.Get("Sio-Assignment")}}, Data: []byte("[]")})
	}
	x := newBenchAt(t, server, 0, rule.Namespace{}, true)
	beat := []byte(`[{"instance":"chat-a","group":"chat","owns":true,"namespaces":["/chat"],"at":1,"every":1000}]`)
	for end, answered := time.Now().Add(time.Minute), 0; answered < 2; { // the first beat may be earlier than the subscription
		if err := nc.Publish("sio.$svc.chat.chat-a.beat", beat); err != nil || time.Now().After(end) {
			t.Fatal("the edge does not answer", err)
		}
		if _, err := nc.Request("sio.chat.leave.all", []byte(`["x"]`), 10*time.Second); err == nil { // after the beat
			answered++
		}
	}
	admitted := make(chan error, 1)
	go func() {
		m, err := own.NextMsg(10 * time.Second)
		if err == nil {
			err = admit(m)
		}
		admitted <- err
	}()
	x.dial()
	if err := <-admitted; err != nil {
		t.Fatal(err)
	}
	c := x.connections[0]
	next := func(subject, has string) *nats.Msg {
		t.Helper()
		m, err := own.NextMsg(10 * time.Second)
		if err != nil || m.Subject != "sio.chat.own.chat-a."+subject || !strings.Contains(string(m.Data), has) {
			t.Fatalf("%+v, %v; want %s with %s", m, err, subject, has)
		}
		return m
	}
	x.edge.owners.Clock.Tick(time.Now())
	c.Message([]byte(`2/chat,["n",1]`), false)
	next("n", `["n",1]`)
	x.edge.owners.Clock.Tick(time.Now().Add(-time.Minute)) // as if the process had just been stopped
	for _, event := range []string{`2/chat,["n",2]`, `2/chat,["n",3]`} {
		c.Message([]byte(event), false)
	}
	request := next("connect", `"handover":{"from":"chat-a"`)
	if number := request.Header.Get("Sio-Assignment"); number != "2" {
		t.Errorf("it is assignment %s", number)
	}
	c.Message([]byte(`2/chat,["n",4]`), false)
	away := func() time.Duration { return x.edge.owners.Clock.Away(time.Now()) }
	for end := time.Now().Add(20 * time.Second); away() > 30*time.Second; time.Sleep(time.Millisecond) { // shortly after the request
		if time.Now().After(end) {
			t.Fatalf("the clock does not tick again: %v", away())
		}
	}
	if err := admit(request); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`["n",2]`, `["n",3]`, `["n",4]`} {
		next("n", want)
	}
}

// serve is a NATS client that lasts as long as the test.
func serve(t *testing.T, server *natsdtest.Server) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(server.ClientURL(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	return nc
}

// An edge that is not connected to NATS, or not yet for so long, calls no other edge dead, though it has not heard of it.
func TestSilenceMeansNothingToAnEdgeThatCannotHear(t *testing.T) {
	server := natsdtest.Start(t)
	x := newBenchAt(t, server, 0, rule.Namespace{}, false)
	x.edge.set.IsHeard = func(string, time.Duration) bool { return false }
	wire := recoveryWire{x.edge}
	if !wire.IsHeard("another", time.Hour) {
		t.Error("an edge is dead that this one could not hear yet")
	}
	if wire.IsHeard("another", 0) {
		t.Error("an edge lives that was not heard")
	}
	server.Stop()
	for end := time.Now().Add(time.Minute); x.edge.set.Bus.Connected(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the bus does not notice the end of NATS")
		}
	}
	if !wire.IsHeard("another", 0) {
		t.Error("an edge is dead that this one cannot hear")
	}
}
