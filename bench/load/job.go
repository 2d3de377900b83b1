// Package load is the load generator: thousands of Socket.IO clients in one process, on raw sockets and one epoll
// loop. So it is cheap enough not to limit what it measures. It parses no JSON: the numbers in its messages have
// fixed positions.
package load

import (
	"time"

	"partyline/bench/process"
)

// What clients do.
const (
	Idle   = "idle"   // connect, and stay
	Fanout = "fanout" // one more client than listeners speaks to all of them
	Rooms  = "rooms"  // all speak, each to the others in its room
	Echo   = "echo"   // all emit with an ack
	Post   = "post"   // one client listens; Posters emit over HTTP, each with one request under way
	Churn  = "churn"  // come, join rooms, speak, leave and go
	Crowd  = "crowd"  // stay in a room of a few and in one of all, execute Orders, and reconnect when an edge is gone
)

// Job is what the generator reads from its standard input, as JSON.
type Job struct {
	Kind      string
	Addresses []string // of the servers, host:port; clients use them alternately
	Bare      bool     // the servers speak WebSocket and no Socket.IO
	Clients   int      // listeners, in Fanout
	RoomSize  int      // clients of a room, in Rooms and Crowd
	First     int      // the first client's number, in Crowd, whose clients are those of several processes
	Began     int64    // in Crowd: the wall clock's ns from which the times of messages count, the same in all processes
	AtOnce    int      // connects in progress; 0: 64
	Across    bool     // in Crowd: begin with polling at one server, and upgrade at any
	Posters   int      // HTTP connections, in Post
	Post      string   // host:port that they post to
	PostHead  string   // their requests' lines, without Content-Length
	Phases    []Phase
	Auth      []string          // of CONNECTs as JSON, used alternately; none: without
	Watch     []process.Watched // whose CPU is measured
}

// Phase is a time of steady load. One without a name is for warming up; it is measured, but not reported.
type Phase struct {
	Name   string
	Rate   float64 // messages, or churning clients, that begin each second; 0: as fast as Window allows
	Window int     // messages in flight, in Fanout; or of a client, in Echo and Rooms (at most one there)
	Warm   time.Duration
	Lasts  time.Duration // of the measurement, after Warm
}

// Lines of the generator's standard output, as JSON. Exactly one field is set.
type Line struct {
	Connected *Connected `json:",omitempty"` // all clients are there
	Measuring *Measuring `json:",omitempty"` // a phase is warm
	Done      *Done      `json:",omitempty"` // a phase is over
	Heard     *Heard     `json:",omitempty"` // an Order is carried out
	Failed    string     `json:",omitempty"` // the generator has failed
}

// Connected is the result of the clients' connects.
type Connected struct {
	Clients int
	Seconds float64
	CPU     map[string]float64 // by name, seconds
	Own     float64            // the generator's, seconds
	P50     int64              // from the first packet until a client is in its rooms, ns
	P99     int64
	Most    int64
}

// Measuring is sent when the measurement of a phase begins.
type Measuring struct {
	Phase string
	Lasts time.Duration
}

// Done is the result of a phase.
type Done struct {
	Phase     string
	Seconds   float64
	Sent      int64 // messages, in the measured time
	Delivered int64 // messages or acks that came to a client; churning clients that came and went
	CPU       map[string]float64
	Own       float64 // the generator's CPU, seconds
	Others    float64 // CPU of everything else on the machine, seconds
	P50       int64   // ns
	P99       int64
	Most      int64
	Lost      int64 // of the whole phase, as the following
	Doubled   int64
	Reordered int64
	Misplaced int64
}
