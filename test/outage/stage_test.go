// Package outage disconnects edges from NATS, in every way in which NATS can fail, and reconnects them. Messages are
// numbered: what was sent while connected arrives once and in order. What could not be sent is reported.
package outage

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/config"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/internal/natsd/proxytest"
	"partyline/rule"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(4)
	edgetest.LongMain(m, nil, proxytest.Leaks...)
}

// namespaces of every edge here: one that every client may enter, and one in which a service admits.
func namespaces() map[string]rule.Namespace {
	return map[string]rule.Namespace{
		"/room": {Connect: rule.ConnectOpen, Rooms: []string{"*"}},
		"/door": {Connect: rule.ConnectService, ConnectTimeout: 5 * time.Second, Unavailable: rule.UnavailableRefuse},
		"/pair": {Connect: rule.ConnectOpen, AutoJoin: []string{"both"}, Relay: []rule.Relay{{Event: "say", To: rule.ToRooms, Self: true}}},
	}
}

// stage is an edge that reaches NATS through a proxy, and a NATS client that does not use the proxy.
type stage struct {
	*edgetest.Stage
	t     *testing.T
	proxy *proxytest.Proxy
	pair  *edgetest.Pair // on an edge of their own, without a proxy
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

// beginAt starts an edge with a NATS URL of its own, and a pair and a service at a server.
func beginAt(t *testing.T, server *natsdtest.Server, way string, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	usual := func(o *edgetest.Options) {
		o.NATS, o.Limits = way, config.Limits{RoomsPerSocket: 2 * rooms, NamespacesPerSession: 10}
	}
	s := edgetest.BeginAt(t, server, namespaces(), append([]func(*edgetest.Options){usual}, change...)...)
	other := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: namespaces()}).Ready()
	return &stage{Stage: s, t: t, pair: edgetest.NewPair(t, other, "/pair")}
}

// poison adds a toxic to both directions of the proxy.
func (s *stage) poison(kind, attributes string) {
	s.t.Helper()
	for _, way := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":{%s}}`, kind, way, attributes)
		if _, err := s.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// swallow makes the proxy a black hole: it reads everything and forwards nothing, without an error.
func (s *stage) swallow() { s.t.Helper(); s.poison("timeout", `"timeout":0`) }

// stall makes a black hole that does not even read, so that writers block.
func (s *stage) stall() { s.t.Helper(); s.poison("bandwidth", `"rate":0`) }

// cut ends the edge's connection and refuses new ones.
func (s *stage) cut() {
	s.t.Helper()
	s.proxy.Stop()
	s.lost()
}

// lost waits until the edge notices that NATS is away.
func (s *stage) lost() {
	s.t.Helper()
	edgetest.Eventually(s.t, "the edge has lost NATS", func() bool { return !s.Bus.Connected() })
	if why := s.Bus.Ready(); len(why) != 1 || why[0] != "not connected to NATS" {
		s.t.Errorf("an edge without NATS is not ready because of %q", why)
	}
}

// back waits until the edge is ready again.
func (s *stage) back() {
	s.t.Helper()
	edgetest.Eventually(s.t, "the edge is ready again", func() bool { return len(s.Bus.Ready()) == 0 })
}

// join adds a socket to rooms, as a service does.
func (s *stage) join(so *socket, names []string) {
	s.t.Helper()
	answer := s.Ask("sio.room.join.socket."+so.ID, `["`+strings.Join(names, `","`)+`"]`)
	if answer.Header != nil {
		s.t.Fatalf("join: %v", answer)
	}
}
