package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/wire/msg"
)

// Edges announce themselves. Each of the others answers a new one.
func TestEdgesAnnounceThemselves(t *testing.T) {
	server := natsdtest.Start(t)
	nc := edgetest.Connect(t, server.ClientURL())
	all := hearOn(t, nc, "sio.$edge.*.*")
	s := beginAt(t, server, usual())
	s.until(all, "sio.$edge."+s.ID+".hello")
	m := s.until(all, "sio.$edge."+s.ID+".beat")
	var body []struct {
		Edge      string
		At, Every int64
		Sockets   int
	}
	if err := json.Unmarshal(m.Data, &body); err != nil || len(body) != 1 || body[0].Edge != s.ID || body[0].Every != 1000 ||
		time.Since(time.UnixMilli(body[0].At)) > time.Minute {
		t.Errorf("the beat is %s, %v", m.Data, err)
	}
	answer := s.Ask("sio.$svc.chat.chat-a.hello", `[{"instance":"chat-a","group":"chat"}]`)
	if err := json.Unmarshal(answer.Data, &body); err != nil || body[0].Edge != s.ID {
		t.Errorf("the answer is %s, %v", answer.Data, err)
	}
}

// When an edge dies, exactly one of the others reports it.
func TestADeadEdgeIsToldOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	server := natsdtest.Start(t)
	s := beginAt(t, server, usual())
	second := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: usual()}).Ready()
	gone := s.hear("sio.$edge.*.gone")
	beatFor(s, "deadedge")
	m := gone.Next()
	if m.Subject != "sio.$edge.deadedge.gone" || !strings.HasPrefix(string(m.Data), `[{"edge":"deadedge","at":`) {
		t.Errorf("%s %s came", m.Subject, m.Data)
	}
	beatFor(s, "otheredg")
	if m := gone.Next(); m.Subject != "sio.$edge.otheredg.gone" {
		t.Errorf("%s came, which was reported already", m.Subject)
	}
	edgetest.Eventually(t, "each edge knows both", func() bool { return len(s.Cluster.Edges()) == 2 && len(second.Cluster.Edges()) == 2 })
}

// beatFor announces an edge for as long as it takes to be known well, and then no more.
func beatFor(s *stage, edge string) {
	s.t.Helper()
	began := time.Now()
	edgetest.Eventually(s.t, "it has announced itself for longer than a beat", func() bool {
		s.Publish("sio.$edge."+edge+".beat", `[{"edge":"`+edge+`","at":1}]`)
		return time.Since(began) > 5*msg.BeatEvery/4
	})
}

// Services end the sockets of an edge that is reported dead. If it lives, it finds owners for them. Otherwise its
// clients would stay connected without a service.
func TestAnEdgeThatWasTakenForDeadFindsOwners(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	s.Publish("sio.$edge."+s.ID+".gone", `[{"edge":"`+s.ID+`","at":1,"by":"otheredg"}]`)
	request := a.accepts(`[]`)
	if request.Handover == nil || request.Handover.From != "chat-a" {
		t.Errorf("the request to own the socket again: %+v", request)
	}
	so.Emit("", `["heard"]`)
	a.gets(so, "heard", `["heard"]`)
}

// The same when the edge was cut off from NATS while it was reported: then only its own beats show that it was silent.
func TestAnEdgeThatWasSilentFindsOwners(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	for _, at := range []time.Time{time.Now(), time.Now().Add(4 * time.Second)} { // the clock jumps
		s.Publish("sio.$edge."+s.ID+".beat", fmt.Sprintf(`[{"edge":"%s","at":%d}]`, s.ID, at.UnixMilli()))
	}
	a.accepts(`[]`)
	so.Emit("", `["heard"]`)
	a.gets(so, "heard", `["heard"]`)
}

// With a secret, only processes that have it count as edges.
func TestSignedAnnouncements(t *testing.T) {
	server := natsdtest.Start(t)
	s := beginAt(t, server, usual(), func(o *edgetest.Options) { o.Secret = "open sesame" })
	friend := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: usual(), Secret: "open sesame"}).Ready()
	stranger := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: usual(), Secret: "something else"}).Ready()
	edgetest.Eventually(t, "friends know each other", func() bool { return len(s.Cluster.Edges()) == 2 && len(friend.Cluster.Edges()) == 2 })
	edgetest.Eventually(t, "the stranger was heard and ignored", func() bool {
		return s.Figure("announcements_ignored_total", "") > 0 && stranger.Figure("announcements_ignored_total", "") > 0
	})
	if len(s.Cluster.Edges()) != 2 || len(stranger.Cluster.Edges()) != 1 {
		t.Errorf("it knows %v, the stranger %v", s.Cluster.Edges(), stranger.Cluster.Edges())
	}
}
