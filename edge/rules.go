package edge

import (
	"partyline/edge/rule"
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

// What the configuration declares of a namespace. See package rule.
type (
	Namespace = rule.Namespace
	Relay     = rule.Relay
)

// Constants of package rule.
const (
	ConnectService        = rule.ConnectService
	ConnectOpen           = rule.ConnectOpen
	ToRooms               = rule.ToRooms
	ToRoom                = rule.ToRoom
	ToSocket              = rule.ToSocket
	ToAll                 = rule.ToAll
	ToRoomsOrAll          = rule.ToRoomsOrAll
	DefaultConnectTimeout = rule.DefaultConnectTimeout
	UnavailableWait       = rule.UnavailableWait
	UnavailableRefuse     = rule.UnavailableRefuse
)
