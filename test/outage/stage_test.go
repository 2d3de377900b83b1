// Package outage takes NATS away from edges, in every way in which it goes, and brings it back. What is sent is numbered:
// what was sent while there was a connection arrives once and in order, and of what could not be sent somebody is told.
package outage

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/edge"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/internal/natsd/proxytest"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(4)
	edgetest.LongMain(m, nil, proxytest.Leaks...)
}

// namespaces of every edge here: one that everybody may enter, and one in which a service admits.
func namespaces() map[string]edge.Namespace {
	return map[string]edge.Namespace{
		"/room": {Connect: edge.ConnectOpen, Rooms: []string{"*"}},
		"/door": {Connect: edge.ConnectService, ConnectTimeout: 5 * time.Second, Unavailable: edge.UnavailableRefuse},
		"/pair": {Connect: edge.ConnectOpen, AutoJoin: []string{"both"}, Relay: []edge.Relay{{Event: "say", To: edge.ToRooms, Self: true}}},
	}
}

// stage is an edge whose way to NATS leads over a proxy, and a NATS client beside the proxy.
type stage struct {
	*edgetest.Stage
	t     *testing.T
	proxy *proxytest.Proxy
	pair  *edgetest.Pair // on an edge of their own, which hangs on no proxy
}

type socket = edgetest.Socket

// begin starts NATS, the proxy, the edge behind it, the edge of the healthy pair, and a service.
func begin(t *testing.T, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	server := natsdtest.Start(t)
	proxy := proxytest.Start(t, server.ClientURL())
	s := beginAt(t, server, proxy.URL(), change...)
	s.proxy = proxy
	return s
}

// beginAt starts an edge that reaches NATS by a way of its own, and a pair and a service at a server.
func beginAt(t *testing.T, server *natsdtest.Server, way string, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	usual := func(o *edgetest.Options) {
		o.NATS, o.Limits = way, edge.Limits{RoomsPerSocket: 2 * rooms, NamespacesPerSession: 10}
	}
	s := edgetest.BeginAt(t, server, namespaces(), append([]func(*edgetest.Options){usual}, change...)...)
	other := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: namespaces()}).Ready()
	return &stage{Stage: s, t: t, pair: edgetest.NewPair(t, other, "/pair")}
}

// poison puts a toxic on both directions of the proxy.
func (s *stage) poison(kind, attributes string) {
	s.t.Helper()
	for _, way := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":{%s}}`, kind, way, attributes)
		if _, err := s.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// swallow makes a black hole of the proxy: it takes what comes and passes nothing on, and says nothing.
func (s *stage) swallow() { s.t.Helper(); s.poison("timeout", `"timeout":0`) }

// stall makes a black hole that does not even take what comes, so that writing to it blocks.
func (s *stage) stall() { s.t.Helper(); s.poison("bandwidth", `"rate":0`) }

// cut ends the edge's connection and refuses new ones.
func (s *stage) cut() {
	s.t.Helper()
	s.proxy.Stop()
	s.lost()
}

// lost waits until the edge knows that NATS is away.
func (s *stage) lost() {
	s.t.Helper()
	edgetest.Eventually(s.t, "the edge has lost NATS", func() bool { return !s.Bus.Connected() })
	if why := s.Bus.Ready(); len(why) != 1 || why[0] != "not connected to NATS" {
		s.t.Errorf("an edge without NATS says that it is not ready because of %q", why)
	}
}

// back waits until the edge is ready again.
func (s *stage) back() {
	s.t.Helper()
	edgetest.Eventually(s.t, "the edge is ready again", func() bool { return len(s.Bus.Ready()) == 0 })
}

// join puts a socket into rooms, as a service does.
func (s *stage) join(so *socket, names []string) {
	s.t.Helper()
	answer := s.Ask("sio.room.join.socket."+so.ID, `["`+strings.Join(names, `","`)+`"]`)
	if answer.Header != nil {
		s.t.Fatalf("join: %v", answer)
	}
}
