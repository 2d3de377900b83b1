package cluster_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/wire/msg"
)

// Nothing is said of edges that were known for less than a beat, and the list of edges is bounded.
func TestInventedEdges(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	for _, o := range []struct {
		secret  string
		ignored string // the metric
		ignores int    // at least
		listed  int
	}{
		{secret, "announcements_ignored_total", 20_000, 1},
		{"", "announcements_unlisted_total", 1, 1025},
	} {
		s := begin(t, 1, func(options *edgetest.Options) { options.Secret = o.secret })
		n := s.nodes[0]
		gone := s.Hear("sio.$edge.*.gone")
		most := 1
		for i := range 20_000 {
			id := fmt.Sprintf("x%07d", i)
			body := msg.EdgeAnnouncement{Edge: id, At: time.Now().UnixMilli(), Every: 1000, Address: "http://127.0.0.1:1"}.Body()
			s.Publish("sio.$edge."+id+".beat", string(body))
		}
		edgetest.Eventually(t, "those that are not listed are counted", func() bool {
			most = max(most, len(n.Cluster.Members()))
			return n.Figure(o.ignored, "") >= o.ignores && n.Figure("announcements_total", "") >= 20_000
		})
		edgetest.Eventually(t, "the invented edges are forgotten", func() bool { return len(n.Cluster.Members()) == 1 })
		if most > o.listed {
			t.Errorf("the list had %d edges, want at most %d", most, o.listed)
		}
		if got := n.Figure("edges_gone_total", ""); got != 0 {
			t.Errorf("the deaths of %d invented edges were announced", got)
		}
		s.Publish("sio.$edge.marker00.gone", `[{"edge":"marker00","at":1}]`)
		if m := gone.Next(); m.Subject != "sio.$edge.marker00.gone" {
			t.Errorf("%s came", m.Subject)
		}
		if lines := len(n.Logged()); lines > 450 {
			t.Errorf("the log has %d lines", lines)
		}
	}
}

// What was recorded of an edge does not count again: neither its beat, nor its death.
func TestCopiesOfAnnouncements(t *testing.T) {
	s := begin(t, 2)
	a, b := s.nodes[0], s.nodes[1]
	heard := s.Hear("sio.$edge." + b.ID + ".*")
	beat := heard.Next()
	ignored := a.Figure("announcements_ignored_total", "")
	if err := s.NC.PublishMsg(&nats.Msg{Subject: beat.Subject, Header: beat.Header, Data: beat.Data}); err != nil {
		t.Fatal(err)
	}
	edgetest.Eventually(t, "the copy is ignored", func() bool { return a.Figure("announcements_ignored_total", "") > ignored })
	s.knows(a, b.ID)
	b.Stop()
	edgetest.Eventually(t, "it has left", func() bool { return len(a.Cluster.Members()) == 1 })
	ignored = a.Figure("announcements_ignored_total", "")
	if err := s.NC.PublishMsg(&nats.Msg{Subject: beat.Subject, Header: beat.Header, Data: beat.Data}); err != nil {
		t.Fatal(err)
	}
	edgetest.Eventually(t, "the copy is ignored", func() bool { return a.Figure("announcements_ignored_total", "") > ignored })
	if n := len(a.Cluster.Members()); n != 1 {
		t.Errorf("a copy brought an edge back: %d edges", n)
	}
}

// Requests are passed on to no address outside edges.networks: neither to one that was announced, nor to one that a
// name stands for.
func TestEdgesOutsideTheNetworks(t *testing.T) {
	for _, c := range []struct {
		networks []string
		host     string
		dialed   bool
	}{
		{nil, "127.0.0.1", true},
		{[]string{"127.0.0.0/8"}, "127.0.0.1", true},
		{[]string{"10.0.0.0/8", "127.0.0.1"}, "[::ffff:127.0.0.1]", true},
		{[]string{"127.0.0.0/8", "::1"}, "localhost", true},
		{[]string{"10.0.0.0/8"}, "127.0.0.1", false},
		{[]string{"10.0.0.0/8"}, "[::ffff:127.0.0.1]", false},
		{[]string{"10.0.0.0/8"}, "localhost", false},
		{[]string{"fd00::/8"}, "127.0.0.1", false},
	} {
		s := begin(t, 1, func(o *edgetest.Options) { o.Networks = c.networks })
		o := s.pretend(100)
		_, port, err := net.SplitHostPort(o.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		sid := strings.Replace(o.sid, "pretend0", "outside0", 1)
		before := s.nodes[0].Figure("edges_outside_total", "")
		s.announce("outside0", "http://"+c.host+":"+port)
		got := s.ask(s.nodes[0], "GET", sid, "")
		if answered := got.body == "ok"; answered != c.dialed || len(o.requests()) > 0 != c.dialed {
			t.Errorf("%v, %s: answered %+v, passed on %v", c.networks, c.host, got, len(o.requests()) > 0)
		}
		if !c.dialed {
			_, upgraded := s.dial(s.nodes[0], sid)
			if upgraded.body != "Session ID unknown" {
				t.Errorf("%v, %s: an upgrade was answered %+v", c.networks, c.host, upgraded)
			}
		}
		if counted := s.nodes[0].Figure("edges_outside_total", "") > before; counted == c.dialed {
			t.Errorf("%v, %s: counted %v", c.networks, c.host, counted)
		}
	}
}
