package cluster

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"partyline/bus"
)

// ServiceName is what edges are called among the services of NATS (`nats micro ls`).
const ServiceName = "partyline-edge"

// Verbs of the service protocol of NATS (its ADR-32), and the types of the answers.
const (
	microPrefix = "$SRV."
	microPing   = "PING"
	microInfo   = "INFO"
	microStats  = "STATS"

	microPingType  = "io.nats.micro.v1.ping_response"
	microInfoType  = "io.nats.micro.v1.info_response"
	microStatsType = "io.nats.micro.v1.stats_response"
)

// Figures is what an edge tells of itself to `nats micro stats`.
type Figures struct {
	Sessions int     `json:"sessions"`
	Sockets  int     `json:"sockets"`
	Rooms    int     `json:"rooms"`
	Uptime   float64 `json:"uptime_seconds"` // filled in by the cluster
	Draining bool    `json:"draining"`       // filled in by the cluster
}

// microIdentity is in every answer.
type microIdentity struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	Version  string            `json:"version"`
	Metadata map[string]string `json:"metadata"`
	Type     string            `json:"type"`
}

// microEndpoint is the one endpoint of an edge: the subjects that lead to its sockets.
type microEndpoint struct {
	Name       string `json:"name"`
	Subject    string `json:"subject"`
	QueueGroup string `json:"queue_group"`
}

type microInfoAnswer struct {
	microIdentity
	Description string              `json:"description"`
	Endpoints   []microEndpointInfo `json:"endpoints"`
}

type microEndpointInfo struct {
	microEndpoint
	Metadata map[string]string `json:"metadata"`
}

type microStatsAnswer struct {
	microIdentity
	Started   time.Time            `json:"started"`
	Endpoints []microEndpointStats `json:"endpoints"`
}

// microEndpointStats counts messages from NATS as requests, and those dropped because the edge did not keep up as errors.
// Edges do not measure how long they take for one.
type microEndpointStats struct {
	microEndpoint
	Requests    uint64        `json:"num_requests"`
	Errors      uint64        `json:"num_errors"`
	LastError   string        `json:"last_error"`
	Time        time.Duration `json:"processing_time"`
	AverageTime time.Duration `json:"average_processing_time"`
	Data        Figures       `json:"data"`
}

// microSubjects is what an edge hears of the service protocol: questions to all services, to all edges, and to itself.
func microSubjects(id string) [3]string {
	all := microPrefix + "*"
	return [3]string{all, all + "." + ServiceName, all + "." + ServiceName + "." + id}
}

// handleMicro answers a question of the service protocol. Like all answers, it goes to no subject on which the requester could
// not publish. The bus's worker makes it, because what the bus counts takes locks of nats.go.
func (c *Cluster) handleMicro(m *bus.Message) {
	if !c.mayAnswer(m.Reply) {
		return
	}
	verb, _, _ := strings.Cut(m.Subject[len(microPrefix):], ".")
	reply := m.Reply
	c.set.Bus.Do(func() {
		if answer := c.microAnswer(verb); answer != nil {
			c.set.Bus.Later(bus.Letter{Subject: reply, Body: answer})
		}
	})
}

// microAnswer is the answer to PING, INFO or STATS, nil for what this edge does not know.
func (c *Cluster) microAnswer(verb string) []byte {
	who := microIdentity{
		Name: ServiceName, ID: c.set.ID, Version: semantic(c.set.Version),
		Metadata: map[string]string{"edge": c.set.ID, "advertise": c.set.Address},
	}
	endpoint := microEndpoint{Name: "sockets", Subject: c.set.Prefix.Sockets(c.set.ID)}
	var answer any
	switch verb {
	case microPing:
		who.Type = microPingType
		answer = who
	case microInfo:
		who.Type = microInfoType
		answer = microInfoAnswer{who, "An edge of Partyline: it holds connections of Socket.IO clients.",
			[]microEndpointInfo{{endpoint, map[string]string{}}}}
	case microStats:
		who.Type = microStatsType
		figures := c.set.Figures()
		figures.Uptime, figures.Draining = time.Since(c.started).Seconds(), c.draining.Load()
		answer = microStatsAnswer{who, c.started.UTC(), []microEndpointStats{{
			microEndpoint: endpoint, Requests: c.set.Bus.Received(), Errors: c.set.Bus.Dropped(), Data: figures,
		}}}
	default:
		return nil
	}
	body, _ := json.Marshal(answer) // strings and numbers always do
	return body
}

// semanticVersion is semver.org's, as the service protocol wants it.
var semanticVersion = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// semantic is a version as the service protocol wants it: one of another form, such as "devel", is before all others.
func semantic(version string) string {
	if version = strings.TrimPrefix(version, "v"); semanticVersion.MatchString(version) {
		return version
	}
	return "0.0.0"
}
