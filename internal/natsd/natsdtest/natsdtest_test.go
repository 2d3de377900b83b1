package natsdtest

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T, s *Server, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// roundTrip sends a message from one connection to the other.
func roundTrip(t *testing.T, from, to *nats.Conn) {
	t.Helper()
	sub, err := to.SubscribeSync("a.b")
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Flush(); err != nil {
		t.Fatal(err)
	}
	// Another server of a cluster may receive the subscription later than its own, so the message is published again.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if err := from.Publish("a.b", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := sub.NextMsg(50 * time.Millisecond); err == nil {
			return
		}
	}
	t.Fatal("the message has not arrived")
}

func TestRestartKeepsThePort(t *testing.T) {
	s := Start(t)
	before := s.ClientURL()
	s.Stop()
	s.Stop()
	if _, err := nats.Connect(before); err == nil {
		t.Fatal("a stopped server takes connections")
	}
	if _, err := s.InProcessConn(); err == nil {
		t.Fatal("a stopped server takes connections in the process")
	}
	s.Restart()
	if s.ClientURL() != before {
		t.Fatalf("moved from %s to %s", before, s.ClientURL())
	}
	roundTrip(t, connect(t, s), connect(t, s, nats.InProcessServer(s)))
}

func TestConfText(t *testing.T) {
	s := Start(t, `max_payload: 2048`, `authorization { users: [ {user: a, password: b, permissions: {publish: "x.>"}} ] }`)
	if _, err := nats.Connect(s.ClientURL()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without a password: %v", err)
	}
	for range 2 {
		if nc := connect(t, s, nats.UserInfo("a", "b")); nc.MaxPayload() != 2048 {
			t.Errorf("max_payload %d", nc.MaxPayload())
		}
		s.Restart() // keeps its configuration
	}
}

func TestCluster(t *testing.T) {
	servers := StartCluster(t, 3)
	for i := range servers {
		roundTrip(t, connect(t, servers[i]), connect(t, servers[(i+1)%3]))
	}
	for i := range servers {
		servers[i].Stop()
		WaitForRoutes(t, servers[(i+1)%3], servers[(i+2)%3])
		servers[i].Restart()
		WaitForRoutes(t, servers...)
		roundTrip(t, connect(t, servers[i]), connect(t, servers[(i+1)%3]))
	}
}
