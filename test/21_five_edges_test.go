package test

import (
	"fmt"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// Five edges at three servers, each with its own room, socket and namespace. What is addressed to one of them reaches
// no other.
func TestFiveEdgesHearOnlyWhatConcernsThem(t *testing.T) {
	const edges, rounds = 5, 50
	servers := natsdtest.StartCluster(t, 3)
	brief := func(o *edgetest.Options) { o.Linger = 50 * time.Millisecond }
	s := beginAt(t, servers[0], usual(), brief)
	nodes, sockets := []*edgetest.Node{s.Node}, make([]*socket, edges)
	for i := 1; i < edges; i++ {
		o := edgetest.Options{NATS: servers[i%3].ClientURL(), Namespaces: usual()}
		brief(&o)
		nodes = append(nodes, edgetest.Start(t, o).Ready())
	}
	for i, n := range nodes {
		sockets[i] = n.Enter(fmt.Sprint("client ", i), "/chat")
		s.reached(sockets[i])
		s.Ask("sio.chat.join.socket."+sockets[i].ID, fmt.Sprintf(`["room-%d","shared"]`, i))
	}
	for _, so := range sockets { // rooms that an edge has left do not count after the linger
		s.Ask("sio.chat.leave.socket."+so.ID, `["shared"]`)
	}
	for i, n := range nodes {
		edgetest.Eventually(t, fmt.Sprintf("edge %d has given the shared room back", i), func() bool {
			before := n.Heard()
			s.Publish("sio.chat.emit.room.shared", `["nobody"]`)
			s.onlyMarker(sockets[i])
			return n.Heard() == before+1
		})
	}
	unwanted := make([]int, edges)
	before := make([]int, edges)
	for i, n := range nodes {
		before[i], unwanted[i] = n.Heard(), n.Figure("unwanted_total", "")
	}
	for range rounds {
		for i, so := range sockets {
			s.Publish(fmt.Sprintf("sio.chat.emit.room.room-%d", i), `["room"]`)
			s.PublishReply(fmt.Sprintf("sio.chat.broadcast.room.room-%d", i), "sio.chat.emit.socket.aaaaaaaa.aaaaaaaaaaaaaaaaaaaa", `["but nobody"]`)
			s.Publish(so.Address(), `["socket"]`)
			s.Publish(so.Ack("1"), `["ack"]`)
		}
	}
	for _, so := range sockets {
		for range 4 * rounds {
			so.Next()
		}
	}
	s.onlyMarker(sockets...)
	for i, n := range nodes {
		if got := n.Heard() - before[i]; got != 4*rounds+1 {
			t.Errorf("edge %d had %d messages, want its own %d and the marker", i, got, 4*rounds)
		}
		if got := n.Figure("unwanted_total", "") - unwanted[i]; got != 0 {
			t.Errorf("edge %d threw %d messages away", i, got)
		}
	}
}

// reached returns when what the service publishes reaches a socket at another server.
func (s *stage) reached(so *socket) {
	s.t.Helper()
	edgetest.Eventually(s.t, "the socket is within reach", func() bool {
		answer, err := s.NC.Request("sio.chat.leave.socket."+so.ID, []byte(`["x"]`), edgetest.Patience)
		return err == nil && answer.Header == nil
	})
}
