package engine

import "time"

// Config is what an operator chooses for Engine.IO sessions. DefaultConfig gives the values of the reference server.
type Config struct {
	PingInterval   time.Duration `koanf:"ping_interval"`   // from one heartbeat to the next; > 0
	PingTimeout    time.Duration `koanf:"ping_timeout"`    // how long a client may take to answer one; > 0
	UpgradeTimeout time.Duration `koanf:"upgrade_timeout"` // how long an upgrade may take; > 0
	MaxPayload     int           `koanf:"max_payload"`     // bytes of one packet (WebSocket) or one POST body (polling); >= 1024
	Transports     []string      `koanf:"transports"`      // "polling", "websocket"; at least one
}

// DefaultConfig is the configuration of the reference server.
func DefaultConfig() Config {
	return Config{
		PingInterval:   25 * time.Second,
		PingTimeout:    20 * time.Second,
		UpgradeTimeout: 10 * time.Second,
		MaxPayload:     1_000_000,
		Transports:     []string{"polling", "websocket"},
	}
}
