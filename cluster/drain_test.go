package cluster_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"partyline/cluster"
	"partyline/internal/edgetest"
)

// slowly sets a drain that a test can watch: it closes a transport at once, and the next ones a second apart.
func slowly(o *edgetest.Options) { o.Drain = cluster.DrainConfig{Rate: 1, Timeout: time.Hour} }

// seenDraining reports whether an edge has received that another one drains.
func seenDraining(n *edgetest.Node, id string) bool {
	for _, m := range n.Cluster.Members() {
		if m.ID == id {
			return m.Draining
		}
	}
	return false
}

// expectRefusal checks that a handshake is answered with 503 and a time to wait.
func (s *stage) expectRefusal(n *edgetest.Node) {
	s.t.Helper()
	got := s.ask(n, "GET", "", "", "Origin: "+n.URL)
	seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
	if got.status != http.StatusServiceUnavailable || err != nil || seconds < 1 || seconds > 5 {
		s.t.Errorf("a handshake was answered %d, Retry-After %q", got.status, got.header.Get("Retry-After"))
	}
}

// A draining edge announces it, closes transports one after the other, answers the clients that are left, and takes
// clients again.
func TestDrainAndReturn(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	const sessions = 30
	s := begin(t, 2, slowly)
	a, b := s.nodes[0], s.nodes[1]
	for range sessions {
		s.open(a)
	}
	ann := a.Dial("ann")
	ann.Connect("/", "")
	a.Drain.Drain()
	a.Drain.Drain() // changes nothing

	edgetest.Eventually(t, "the other edge knows", func() bool { return seenDraining(b, a.ID) })
	if why := strings.Join(a.Drain.Ready(), "\n"); !strings.HasPrefix(why, "draining: ") ||
		!strings.Contains(why, " sessions are left") {
		t.Errorf("it is not ready because of %q", why)
	}
	s.expectRefusal(a)
	if left := a.Figure("drain_left", ""); a.Figure("draining", "") != 1 || left == 0 || left > sessions+1 {
		t.Errorf("%d are left", left)
	}
	edgetest.Eventually(t, "the first have been closed", func() bool { return a.Figure("drain_closed_total", "") >= 2 })

	if err := a.Drain.Return(); err != nil {
		t.Fatal(err)
	}
	if why := a.Drain.Ready(); why != nil || a.Figure("draining", "") != 0 || a.Figure("drain_left", "") != 0 {
		t.Errorf("it came back, and is not ready because of %q", why)
	}
	edgetest.Eventually(t, "the other edge knows", func() bool { return !seenDraining(b, a.ID) })
	sid := s.open(a)
	s.upgrade(b, sid).send(`42["everyone",1]`)
	if n := a.Engine.Sessions(); n < 2 {
		t.Errorf("%d sessions are left", n)
	}
}

// Requests of sessions that are not closed yet are answered, whichever edge they come through.
func TestSessionsOfADrainingEdgeGoOn(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t, 2, slowly)
	a, b := s.nodes[0], s.nodes[1]
	sids := map[string]bool{}
	for range 20 {
		sids[s.open(a)] = true
	}
	a.Drain.Drain()
	edgetest.Eventually(t, "the other edge knows", func() bool { return seenDraining(b, a.ID) })
	answered := 0
	for sid := range sids {
		for _, n := range s.nodes {
			if got := s.ask(n, "POST", sid, `42["everyone",1]`); got.status == 200 {
				answered++
			}
		}
	}
	if answered < 10 {
		t.Errorf("of 40 requests %d were answered", answered)
	}
}

// A client of a draining edge sees its transport close and nothing else: after a DISCONNECT it would not come back.
func TestDrainingDisconnectsNoSocket(t *testing.T) {
	s := begin(t, 1)
	ws := s.upgrade(s.nodes[0], s.open(s.nodes[0]))
	s.nodes[0].Drain.Drain()
	_, first, err := ws.ReadMessage()
	if err == nil && string(first) == "6" { // the noop with which the upgrade ended
		_, first, err = ws.ReadMessage()
	}
	if err == nil && string(first) != "1" {
		t.Errorf("the client received %q", first)
	}
	ws.ended()
}

// Stop starts a new drain with a new timeout, and no Return is possible after it.
func TestStopEndsADrainAtOnceWhenThereIsNoTime(t *testing.T) {
	s := begin(t, 1, func(o *edgetest.Options) { o.Drain = cluster.DrainConfig{Rate: 1} })
	a := s.nodes[0]
	for range 50 {
		a.Dial("ann").Ignore()
	}
	a.Drain.Drain()
	a.Drain.Stop(context.Background())
	edgetest.Eventually(t, "all have ended", func() bool { return a.Engine.Sessions() == 0 })
	if err := a.Drain.Return(); !errors.Is(err, cluster.ErrStopping) {
		t.Errorf("Return: %v", err)
	}
	s.expectRefusal(a)
	if why := a.Drain.Ready(); len(why) != 1 || !strings.HasPrefix(why[0], "shutting down: 0 sessions") {
		t.Errorf("it is not ready because of %q", why)
	}
}
