package edge

import (
	"time"

	"partyline/engine"
)

// Limits bounds what one client can make an edge keep. Zero means no limit, except for the queue.
type Limits struct {
	RoomsPerSocket       int `koanf:"rooms_per_socket"`
	NamespacesPerSession int `koanf:"namespaces_per_session"`
	Sessions             int `koanf:"sessions"`
	SessionsPerAddress   int `koanf:"sessions_per_address"`
	QueueBytes           int `koanf:"queue_bytes"`           // what may wait for one session; 0 is the default, there is always a limit
	QueuePackets         int `koanf:"queue_packets"`         // the same
	HandshakesPerSecond  int `koanf:"handshakes_per_second"` // sessions that begin; as many may come at once after a quiet second
}

// DefaultLimits are the limits an edge has when none are configured.
func DefaultLimits() Limits {
	return Limits{
		RoomsPerSocket: 1000, NamespacesPerSession: 100, QueueBytes: engine.DefaultQueueBytes, QueuePackets: engine.DefaultQueuePackets,
	}
}

// Who admits sockets to a namespace.
const (
	ConnectService = "service" // a service answers the connect request
	ConnectOpen    = "open"    // everyone is admitted, services get a notice
)

// Where a relay rule sends an event.
const (
	ToRooms      = "rooms"        // every room of the sender, a union: each receiver gets it once
	ToRoom       = "room"         // the room that the event's first argument names, if the sender is in it
	ToSocket     = "socket"       // the socket whose id is the event's first argument
	ToAll        = "all"          // the whole namespace
	ToRoomsOrAll = "rooms_or_all" // the sender's rooms, or the whole namespace while it is in none
)

// Namespace says what clients may do in a namespace without a service.
type Namespace struct {
	Connect        string        `koanf:"connect" json:"connect"`                 // ConnectService or ConnectOpen; "" is ConnectService
	ConnectTimeout time.Duration `koanf:"connect_timeout" json:"connect_timeout"` // how long a service may take to admit; 0 is 5 s
	Rooms          []string      `koanf:"rooms" json:"rooms"`                     // patterns of the rooms that a client may join and leave by itself
	AutoJoin       []string      `koanf:"auto_join" json:"auto_join"`             // rooms that every socket enters at connect
	Relay          []Relay       `koanf:"relay" json:"relay"`                     // first rule whose Event matches applies
}

// Relay passes a client's event on to other clients; the body stays as it is.
type Relay struct {
	Event string `koanf:"event" json:"event"` // pattern of event names
	To    string `koanf:"to" json:"to"`       // one of the To… constants
	Self  bool   `koanf:"self" json:"self"`   // whether the sender gets it too
}

// DefaultConnectTimeout is how long a service may take to admit a socket.
const DefaultConnectTimeout = 5 * time.Second
