package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/natsd/natsdtest"
)

// What comes from a client first after the process did not run is held, even if nobody has noticed yet that it did not run.
func TestEventsAreHeldAfterAPause(t *testing.T) {
	server := natsdtest.Start(t)
	nc := serve(t, server)
	own, err := nc.SubscribeSync("sio.chat.own.chat-a.>")
	if err == nil {
		_, err = nc.Subscribe("sio.chat.on.connect", func(m *nats.Msg) {
			_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Sio-Group": {"chat"}, "Sio-Owner": {"chat-a"}}, Data: []byte("[]")})
		})
	}
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	x := newBenchAt(t, server, 1, Namespace{}, true)
	c := x.connections[0]
	next := func(subject, has string) *nats.Msg {
		t.Helper()
		m, err := own.NextMsg(10 * time.Second)
		if err != nil || m.Subject != "sio.chat.own.chat-a."+subject || !strings.Contains(string(m.Data), has) {
			t.Fatalf("%+v, %v; want %s with %s", m, err, subject, has)
		}
		return m
	}
	x.edge.owners.clock.Tick(time.Now())
	c.Message([]byte(`2/chat,["n",1]`), false)
	next("n", `["n",1]`)
	x.edge.owners.clock.Tick(time.Now().Add(-time.Minute)) // as if the process had been stopped just now
	for _, event := range []string{`2/chat,["n",2]`, `2/chat,["n",3]`} {
		c.Message([]byte(event), false)
	}
	request := next("connect", `"takeover":{"from":"chat-a","claim":2`)
	c.Message([]byte(`2/chat,["n",4]`), false)
	if away := x.edge.owners.clock.Away(time.Now()); away > 30*time.Second {
		t.Errorf("the clock does not tick again: %v", away)
	}
	if err := request.RespondMsg(&nats.Msg{Header: nats.Header{"Sio-Group": {"chat"}, "Sio-Owner": {"chat-a"}}, Data: []byte("[]")}); err != nil {
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
