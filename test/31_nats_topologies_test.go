package test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// freeAddress returns an address where nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// farAway checks that emits, events and acks pass between two NATS servers that are no cluster. The service is at the first.
func farAway(t *testing.T, servers []*natsdtest.Server, namespaces rules) (s *stage, edges []*edgetest.Node) {
	t.Helper()
	s, edges = edgesAt(t, servers, namespaces)
	so := s.arrive(edges, "/chat")
	far := edgetest.NewPeer(t, servers[1].ClientURL())
	s.join(so[0], `["x"]`)
	if m := s.Ask("sio.chat.join.socket."+so[1].ID, `["x"]`); string(m.Data) != fmt.Sprintf(`[{"edge":"%s","sockets":1}]`, edges[1].ID) {
		t.Fatalf("the join was answered %q", m.Data)
	}
	// An event behind the join comes after the subscription of the room, on the same way.
	for _, way := range []struct {
		from *socket
		to   *nats.Conn
	}{{so[0], far.NC}, {so[1], s.NC}} {
		events := hearOn(t, way.to, "sio.chat.on.behind")
		for isThere := false; !isThere; {
			way.from.Emit("", `["behind"]`)
			m, err := events.Subscription.NextMsg(100 * time.Millisecond)
			isThere = err == nil && m.Reply == way.from.Address()
		}
	}
	for i, from := range []*edgetest.Peer{s.Peer, far} {
		body := fmt.Sprintf(`["from %d"]`, i)
		from.Publish("sio.chat.emit.room.x", body)
		for _, one := range so {
			one.Gets(body)
		}
	}
	s.Answer("sio.chat.on.question", `["answer"]`)
	for _, one := range so {
		edgetest.Eventually(t, "the service's subscription has spread", func() bool {
			_, err := far.NC.Request("sio.chat.on.question", []byte(`["question"]`), time.Second)
			return err == nil
		})
		one.Emit("7", `["question"]`)
		one.Acked("7", `["answer"]`)
	}
	return s, edges
}

// TestLeafNode has the log at the hub alone, as a site without storage has it. Without default_js_domain a leaf node passes
// no JetStream on.
func TestLeafNode(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	hub := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }, leafnodes { listen: "`+address+`" }`)
	leaf := natsdtest.Start(t, `default_js_domain: {"$G": ""}, leafnodes { remotes: [ {url: "nats-leaf://`+address+`"} ] }`)
	s, edges := farAway(t, []*natsdtest.Server{hub, leaf}, usual().with("/kept", rule.Namespace{Connect: rule.ConnectOpen, Recovery: rule.Recovery{For: time.Minute}}))
	so := edges[1].Enter("ann", "/kept")
	s.Publish("sio.kept.emit.all", `["kept"]`)
	if got, ok := so.Await(); !ok || !strings.HasPrefix(got, `42/kept,["kept"`) {
		t.Errorf("behind the leaf node a client gets %q (%v)", got, ok)
	}
}

// TestSupercluster has two NATS servers, each a cluster of its own, behind NATS's gateways.
func TestSupercluster(t *testing.T) {
	t.Parallel()
	here, there := freeAddress(t), freeAddress(t)
	gateways := fmt.Sprintf(`gateways: [ {name: here, url: "nats://%s"}, {name: there, url: "nats://%s"} ]`, here, there)
	servers := []*natsdtest.Server{
		natsdtest.Start(t, fmt.Sprintf(`server_name: a, gateway { name: here, listen: "%s", %s }`, here, gateways)),
		natsdtest.Start(t, fmt.Sprintf(`server_name: b, gateway { name: there, listen: "%s", %s }`, there, gateways)),
	}
	farAway(t, servers, usual())
}
