// Package contest starts the contestants, runs the load generator against them alternately, and collects its
// measurements.
package contest

import (
	"time"

	"partyline/bench/load"
)

// Scenario is a kind of load, and who is loaded.
type Scenario struct {
	Name    string
	Servers []string
	Once    bool // one round is enough
	apart   bool // what Node.js costs is also measured alone
	connect bool // the connects are a phase
	job     load.Job
	settles time.Duration // before memory is read
}

// Scenarios are all scenarios; quick ones are short, and with fewer idle clients.
func Scenarios(quick bool) []Scenario {
	warm, lasts, compiles := time.Second, 5*time.Second, 3*time.Second
	idle, settles, churns := 10_000, 10*time.Second, time.Minute
	if quick {
		warm, lasts, compiles = 300*time.Millisecond, time.Second, time.Second
		idle, settles, churns = 3_000, 3*time.Second, 4*time.Second
	}
	phase := func(name string, rate float64, window int) load.Phase {
		return load.Phase{Name: name, Rate: rate, Window: window, Warm: warm, Lasts: lasts}
	}
	// V8 compiles what runs often while it runs. That is not what is to be measured.
	first := func(rate float64, window int) load.Phase {
		return load.Phase{Rate: rate, Window: window, Warm: compiles}
	}
	return []Scenario{
		{
			Name: "fanout", Servers: []string{Embedded, Edge, Recovery, SocketIO, Limit},
			job: load.Job{Kind: load.Fanout, Clients: 1000, Phases: []load.Phase{
				first(0, 4), phase("paced", 25, 0), phase("full", 0, 32), phase("one", 0, 1),
			}},
		},
		{
			Name: "rooms", Servers: []string{Embedded, Edge, Recovery, SocketIO},
			job: load.Job{Kind: load.Rooms, Clients: 1000, RoomSize: 10, Phases: []load.Phase{
				first(2000, 0), phase("1k", 1000, 0), phase("4k", 4000, 0), phase("full", 0, 1),
			}},
		},
		{
			Name: "echo", Servers: []string{Embedded, Edge, SocketIO},
			job: load.Job{Kind: load.Echo, Clients: 200, Phases: []load.Phase{
				first(0, 1), phase("paced", 2000, 0), phase("full", 0, 1),
			}},
		},
		{
			Name: "nodeserver", Servers: []string{NodeEmbedded, NodeEdge, SocketIO}, apart: true,
			job: load.Job{Kind: load.Echo, Clients: 100, Phases: []load.Phase{
				first(0, 1), phase("paced", 2000, 0), phase("full", 0, 1),
			}},
		},
		{
			Name: "nodeidle", Servers: []string{NodeEmbedded, NodeEdge, SocketIO}, apart: true,
			job: load.Job{Kind: load.Idle, Clients: 3_000}, settles: settles,
		},
		{
			Name: "twonode", Servers: []string{Edges, Redis},
			job: load.Job{Kind: load.Fanout, Clients: 1000, Phases: []load.Phase{first(0, 4), phase("full", 0, 32)}},
		},
		{
			Name: "far", Servers: []string{EdgeFar, SocketIOFar}, connect: true,
			job: load.Job{Kind: load.Echo, Clients: 200, AtOnce: 8, Phases: []load.Phase{first(500, 0), phase("paced", 500, 0)}},
		},
		{
			Name: "idle", Servers: []string{Embedded, Edge, SocketIO, Limit},
			job: load.Job{Kind: load.Idle, Clients: idle}, settles: settles,
		},
		{
			Name: "tokens", Servers: []string{Edge, EdgeToken, Verify},
			job: load.Job{Kind: load.Idle, Clients: idle}, settles: settles,
		},
		{
			Name: "post", Servers: []string{Gateway, Express},
			job: load.Job{Kind: load.Post, Clients: 1, Posters: 32, Phases: []load.Phase{first(0, 1), phase("full", 0, 1)}},
		},
		{
			Name: "churn", Servers: []string{Embedded, Edge, SocketIO}, Once: true,
			job: load.Job{Kind: load.Churn, Phases: []load.Phase{{Name: "churn", Rate: 200, Lasts: churns}}}, settles: settles,
		},
	}
}
