package cluster

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"partyline/bus"
)

// ServiceName is the name of edges in NATS's list of services (`nats micro ls`).
const ServiceName = "partyline-edge"

// microPrefix begins the subjects of NATS's service protocol (its ADR-32).
const microPrefix = micro.APIPrefix + "."

// Figures is what `nats micro stats` shows of an edge.
type Figures struct {
	Sessions int     `json:"sessions"`
	Sockets  int     `json:"sockets"`
	Rooms    int     `json:"rooms"`
	Uptime   float64 `json:"uptime_seconds"` // filled in by the cluster
	Draining bool    `json:"draining"`       // filled in by the cluster
}

// microSubjects returns the subjects of requests to all services, to all edges, and to this edge.
func microSubjects(id string) [3]string {
	all := microPrefix + "*"
	return [3]string{all, all + "." + ServiceName, all + "." + ServiceName + "." + id}
}

// handleMicro answers a request of the service protocol, but not on a subject where the requester may not publish.
// Each verb, to all services, to all edges and to this edge, has a share of its own: a flood of one leaves the others
// answered.
func (c *Cluster) handleMicro(m *bus.Message) {
	verb, to, _ := strings.Cut(m.Subject[len(microPrefix):], ".")
	scope := 0
	if to != "" {
		scope = 1 + strings.Count(to, ".")
	}
	if kinds := c.questions.micro[verb]; scope < len(kinds) && c.set.MayAnswer(m) {
		kinds[scope].add(c, m.Reply, func() ([]byte, bus.Header) { return c.microResponse(verb), nil })
	}
}

// microResponse returns the response to PING, INFO or STATS. Messages from NATS count as requests, and those dropped
// because the edge was too slow as errors; edges do not measure processing times. The bus's worker calls it, because
// the bus's counters take locks of nats.go.
func (c *Cluster) microResponse(verb string) []byte {
	identity := micro.ServiceIdentity{
		Name: ServiceName, ID: c.set.ID, Version: semantic(c.set.Version),
		Metadata: map[string]string{"edge": c.set.ID, "advertise": c.set.Address},
	}
	const endpoint = "sockets"
	subject := c.set.Prefix.Sockets(c.set.ID)
	var response any
	switch verb {
	case micro.PingVerb.String():
		response = micro.Ping{ServiceIdentity: identity, Type: micro.PingResponseType}
	case micro.InfoVerb.String():
		response = micro.Info{
			ServiceIdentity: identity, Type: micro.InfoResponseType, Description: "An edge of Partyline: it holds connections of Socket.IO clients.",
			Endpoints: []micro.EndpointInfo{{Name: endpoint, Subject: subject, Metadata: map[string]string{}}},
		}
	case micro.StatsVerb.String():
		figures := c.set.Figures()
		figures.Uptime, figures.Draining = time.Since(c.started).Seconds(), c.draining.Load()
		data, _ := json.Marshal(figures)
		response = micro.Stats{
			ServiceIdentity: identity, Type: micro.StatsResponseType, Started: c.started.UTC(),
			Endpoints: []*micro.EndpointStats{{
				Name: endpoint, Subject: subject, NumRequests: int(c.set.Bus.Received()), NumErrors: int(c.set.Bus.Dropped()), Data: data,
			}},
		}
	}
	body, _ := json.Marshal(response) // strings and numbers cannot fail
	return body
}

// semanticVersion is the form of versions that the service protocol requires (semver.org).
var semanticVersion = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// semantic returns a version in that form. One of another form, such as "devel", becomes 0.0.0, before all others.
func semantic(version string) string {
	if version = strings.TrimPrefix(version, "v"); semanticVersion.MatchString(version) {
		return version
	}
	return "0.0.0"
}
