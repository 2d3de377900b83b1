package cluster_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"partyline/internal/edgetest"
)

// gather sends a request to all services and returns the responses of want.
func gather[T any](s *stage, subject string, want int) []T {
	s.t.Helper()
	inbox := nats.NewInbox()
	sub := s.Hear(inbox)
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.NC.PublishRequest(subject, inbox, nil); err != nil {
		s.t.Fatal(err)
	}
	var all []T
	for len(all) < want {
		m, err := sub.NextMsg(edgetest.Patience)
		if err != nil {
			s.t.Fatalf("%s: %d answers of %d: %v", subject, len(all), want, err)
		}
		var answer T
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			s.t.Fatalf("%s: %v: %s", subject, err, m.Data)
		}
		all = append(all, answer)
	}
	return all
}

// subject returns the subject of a request as nats.go's own package builds it.
func subject(t *testing.T, verb micro.Verb, name, id string) string {
	t.Helper()
	text, err := micro.ControlSubject(verb, name, id)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestEdgesAreServicesOfNATS sends edges the requests of `nats micro ls`, info and stats. It reads the responses with
// the types of nats.go's own package.
func TestEdgesAreServicesOfNATS(t *testing.T) {
	s := begin(t, 3)
	a := s.nodes[0]
	for range 2 {
		s.open(a)
	}
	const name = "partyline-edge"
	for _, question := range []string{subject(t, micro.PingVerb, "", ""), subject(t, micro.PingVerb, name, "")} {
		found := map[string]bool{}
		for _, p := range gather[micro.Ping](s, question, len(s.nodes)) {
			if p.Name != name || p.Type != micro.PingResponseType || p.Version != "1.2.3" {
				t.Errorf("%s: %+v", question, p)
			}
			found[p.ID] = true
		}
		for _, n := range s.nodes {
			if !found[n.ID] {
				t.Errorf("%s: nothing of %s", question, n.ID)
			}
		}
	}
	info := gather[micro.Info](s, subject(t, micro.InfoVerb, name, a.ID), 1)[0]
	if info.ID != a.ID || info.Type != micro.InfoResponseType || info.Description == "" || len(info.Endpoints) != 1 ||
		info.Metadata["edge"] != a.ID || info.Metadata["advertise"] != a.URL {
		t.Errorf("info: %+v", info)
	}
	a.Drain.Drain()
	stats := gather[micro.Stats](s, subject(t, micro.StatsVerb, name, a.ID), 1)[0]
	if stats.ID != a.ID || stats.Type != micro.StatsResponseType || len(stats.Endpoints) != 1 ||
		stats.Endpoints[0].NumRequests == 0 ||
		time.Since(stats.Started) < 0 || time.Since(stats.Started) > time.Hour {
		t.Fatalf("stats: %+v", stats)
	}
	var figures struct {
		Sessions, Sockets, Rooms *int
		Uptime                   float64 `json:"uptime_seconds"`
		Draining                 bool
	}
	if err := json.Unmarshal(stats.Endpoints[0].Data, &figures); err != nil || figures.Sessions == nil ||
		figures.Sockets == nil ||
		figures.Rooms == nil || figures.Uptime <= 0 || !figures.Draining {
		t.Errorf("stats: %v %s", err, stats.Endpoints[0].Data)
	}
}

// Any client may send a service a request. The response must not go to subjects where only edges may publish.
func TestServiceAnswersNoSubjectOfItsOwn(t *testing.T) {
	s := begin(t, 1)
	ann := s.nodes[0].Dial("ann")
	id := ann.Connect("/", "")
	for _, question := range []string{"$SRV.PING", "$SRV.STATS.partyline-edge", "$SRV.INFO", "$SRV.SCHEMA",
		"$SRV.PING.another"} {
		for _, reply := range []string{"sio._.emit.socket." + id, "sio._.emit.all", "$SRV.PING"} {
			if err := s.NC.PublishRequest(question, reply, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	gather[micro.Ping](s, "$SRV.PING", 1) // the earlier requests have been processed
	if n := s.nodes[0].Figure("nats_answers_dropped_total", ""); n != 0 {
		t.Errorf("%d answers were dropped", n)
	}
	dropped := 0
	for _, m := range s.nodes[0].Edge.Metrics().Metrics() {
		if m.Name == "dropped_total" {
			dropped += int(m.Read())
		}
	}
	if dropped != 0 {
		t.Errorf("an edge received %d responses of its own", dropped)
	}
	ann.Send("40/else,")
	ann.Connected("/else") // the next packet that it receives
}
