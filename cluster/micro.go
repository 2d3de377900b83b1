package cluster

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"partyline/bus"
)

// ServiceName is the name of edges in NATS's list of services (`nats micro ls`).
const ServiceName = "partyline-edge"

// Verbs and response types of NATS's service protocol (its ADR-32).
const (
	microPrefix = "$SRV."
	microPing   = "PING"
	microInfo   = "INFO"
	microStats  = "STATS"

	microPingType  = "io.nats.micro.v1.ping_response"
	microInfoType  = "io.nats.micro.v1.info_response"
	microStatsType = "io.nats.micro.v1.stats_response"
)

// Figures is what `nats micro stats` shows of an edge.
type Figures struct {
	Sessions int     `json:"sessions"`
	Sockets  int     `json:"sockets"`
	Rooms    int     `json:"rooms"`
	Uptime   float64 `json:"uptime_seconds"` // filled in by the cluster
	Draining bool    `json:"draining"`       // filled in by the cluster
}

// microIdentity is in every response.
type microIdentity struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	Version  string            `json:"version"`
	Metadata map[string]string `json:"metadata"`
	Type     string            `json:"type"`
}

// microEndpoint is the one endpoint of an edge: the subjects of its sockets.
type microEndpoint struct {
	Name       string `json:"name"`
	Subject    string `json:"subject"`
	QueueGroup string `json:"queue_group"`
}

type microInfoResponse struct {
	microIdentity
	Description string              `json:"description"`
	Endpoints   []microEndpointInfo `json:"endpoints"`
}

type microEndpointInfo struct {
	microEndpoint
	Metadata map[string]string `json:"metadata"`
}

type microStatsResponse struct {
	microIdentity
	Started   time.Time            `json:"started"`
	Endpoints []microEndpointStats `json:"endpoints"`
}

// microEndpointStats counts messages from NATS as requests, and those dropped because the edge was too slow as
// errors. Edges do not measure processing times.
type microEndpointStats struct {
	microEndpoint
	Requests    uint64        `json:"num_requests"`
	Errors      uint64        `json:"num_errors"`
	LastError   string        `json:"last_error"`
	Time        time.Duration `json:"processing_time"`
	AverageTime time.Duration `json:"average_processing_time"`
	Data        Figures       `json:"data"`
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

// microResponse returns the response to PING, INFO or STATS. The bus's worker calls it, because the bus's counters take
// locks of nats.go.
func (c *Cluster) microResponse(verb string) []byte {
	identity := microIdentity{
		Name: ServiceName, ID: c.set.ID, Version: semantic(c.set.Version),
		Metadata: map[string]string{"edge": c.set.ID, "advertise": c.set.Address},
	}
	endpoint := microEndpoint{Name: "sockets", Subject: c.set.Prefix.Sockets(c.set.ID)}
	var response any
	switch verb {
	case microPing:
		identity.Type = microPingType
		response = identity
	case microInfo:
		identity.Type = microInfoType
		response = microInfoResponse{identity, "An edge of Partyline: it holds connections of Socket.IO clients.",
			[]microEndpointInfo{{endpoint, map[string]string{}}}}
	case microStats:
		identity.Type = microStatsType
		figures := c.set.Figures()
		figures.Uptime, figures.Draining = time.Since(c.started).Seconds(), c.draining.Load()
		response = microStatsResponse{identity, c.started.UTC(), []microEndpointStats{{
			microEndpoint: endpoint, Requests: c.set.Bus.Received(), Errors: c.set.Bus.Dropped(), Data: figures,
		}}}
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
