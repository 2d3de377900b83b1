// Package config turns defaults, a YAML file, the environment and flags into one checked Config.
//
//	defaults < file (--config) < environment (PARTYLINE_…) < flags
//
// One table (keys.go) names the keys, and how each is read and checked. The sources are read into typed values; koanf
// fills the struct with them. validate.go checks what depends on several keys. Nothing stops at the first fault: Load
// returns all of them, each with the place it comes from and what to do about it.
package config

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"partyline/cluster"
	"partyline/engine"
	"partyline/internal/bearer"
	"partyline/internal/natsconn"
	"partyline/rule"
	"partyline/token"
)

// Flavour is one of the programs. They share keys and differ in some defaults.
type Flavour string

// The programs.
const (
	FlavourEdge     Flavour = "edge"     // NATS is elsewhere
	FlavourEmbedded Flavour = "embedded" // NATS is inside the process, and a gateway if it has anything to do
	FlavourGateway  Flavour = "gateway"  // holds no clients; NATS is elsewhere

	// FlavourServer is package partyline: a program of others holds the clients, which has its own listeners and log.
	FlavourServer Flavour = "partyline"
)

// Config is everything an operator can choose. A Config from Load is valid.
type Config struct {
	Front `koanf:",squash,flatten"`
	Rules `koanf:",squash,flatten"`
	Web   `koanf:",squash,flatten"`

	TLS              TLS                 `koanf:"tls"`
	Admin            Admin               `koanf:"admin"`
	Log              Log                 `koanf:"log"`
	NATS             natsconn.Config     `koanf:"nats"`     // with FlavourEmbedded URL and TLS do not count
	Embedded         Embedded            `koanf:"embedded"` // FlavourEmbedded only
	Engine           engine.Config       `koanf:"engine"`
	CORS             CORS                `koanf:"cors"`
	Cookie           Cookie              `koanf:"cookie"`
	Limits           Limits              `koanf:"limits"`
	Advertise        string              `koanf:"advertise"` // http://host:port where other edges reach this one; "": they do not
	Edges            Edges               `koanf:"edges"`
	Drain            cluster.DrainConfig `koanf:"drain"`
	IsolationTimeout time.Duration       `koanf:"isolation_timeout"` // cut off from NATS for that long, an edge sends clients elsewhere; 0: never
}

// Rules is what clients find: the namespaces, and what some of them need: the log, and issuers of tokens.
type Rules struct {
	Recovery Recovery `koanf:"recovery"`
	Token    Token    `koanf:"token"`

	// Namespaces by name or pattern. It does not pass through koanf, whose delimiter the names may contain.
	Namespaces map[string]rule.Namespace `koanf:"-"`

	// Tokens are the issuers whose tokens open namespaces. They have no defaults.
	Tokens []token.Issuer `koanf:"-"`

	// Open is no key: it is true for FlavourEmbedded without a `namespaces` section. Everything is allowed then, so
	// only loopback may be listened on and only loopback names may be served.
	Open bool `koanf:"-"`
}

// Token is how clients show tokens.
type Token struct {
	From  []string      `koanf:"from"`  // where one is looked for when a client connects, as bearer.Places
	Event string        `koanf:"event"` // by which a client shows a new one
	Grace time.Duration `koanf:"grace"` // how long a socket lives on when its grant has expired
}

// Front is where and how clients come in.
type Front struct {
	Listen         string        `koanf:"listen"`          // host:port for clients; port 0 picks a free one
	Path           string        `koanf:"path"`            // begins and ends with "/"
	Page           bool          `koanf:"page"`            // serve the chat page at "/"
	TrustedProxies []string      `koanf:"trusted_proxies"` // addresses or CIDR ranges whose X-Forwarded-… and Forwarded headers count
	ConnectTimeout time.Duration `koanf:"connect_timeout"` // how long a session may stay without a namespace; >= 1 ms
}

// ProxyRanges is TrustedProxies as ranges of addresses; a single address is a range of one. Entries that are neither,
// which Load refuses, are left out.
func (c Config) ProxyRanges() []netip.Prefix { return addressRanges(c.TrustedProxies) }

// EdgeRanges is Edges.Networks, as ProxyRanges is TrustedProxies.
func (c Config) EdgeRanges() []netip.Prefix { return addressRanges(c.Edges.Networks) }

func addressRanges(list []string) (ranges []netip.Prefix) {
	for _, one := range list {
		if r, ok := addressRange(one); ok {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

// addressRange reads an address or a range of addresses.
func addressRange(s string) (r netip.Prefix, ok bool) {
	if address, err := netip.ParseAddr(s); err == nil {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), true
	}
	r, err := netip.ParsePrefix(s)
	return r.Masked(), err == nil
}

// TLS names the files with which the edge speaks TLS to clients. Both are "" if it does not.
type TLS struct {
	Cert string `koanf:"cert"` // PEM: the certificate, and those that it needs
	Key  string `koanf:"key"`  // PEM
}

// Admin is where the operator's pages are.
type Admin struct {
	Listen   string   `koanf:"listen"`   // host:port; port 0 picks a free one
	Token    string   `koanf:"token"`    // all pages but /healthz and /readyz need it; "": none does
	Hosts    []string `koanf:"hosts"`    // names under which the pages are served, beside IP addresses and localhost
	Insecure bool     `koanf:"insecure"` // without a token, too, Listen may be another address than loopback
	Pprof    bool     `koanf:"pprof"`    // profiles of the running process as well
}

// Names returns Hosts and the host of Listen: an edge that listens on a name is reached under it.
func (a Admin) Names() []string {
	host, _, _ := net.SplitHostPort(a.Listen)
	return append(slices.Clip(a.Hosts), host)
}

// Log says what is logged.
type Log struct {
	Level string `koanf:"level"` // debug, info, warn or error
}

// Embedded is the NATS server inside the process. (It is not natsd's own Config: this package must not link
// nats-server.)
type Embedded struct {
	Listen    string    `koanf:"listen"` // host:port for other NATS clients; port 0 picks a free one; "": nowhere
	JetStream JetStream `koanf:"jetstream"`

	// ServerConfig is the path of a configuration file of nats-server, which replaces the keys above; "": none.
	ServerConfig string `koanf:"server_config"`
}

// JetStream is switched on by naming a folder for its files.
type JetStream struct {
	Dir string `koanf:"dir"` // "" leaves JetStream off
}

// CORS says which web pages may connect from another origin.
type CORS struct {
	Origins     []string `koanf:"origins"`     // as origin.Parse takes them
	Credentials bool     `koanf:"credentials"` // Access-Control-Allow-Credentials
}

// Edges says how edges trust each other.
type Edges struct {
	Listen   string   `koanf:"listen"`   // host:port where other edges pass requests on; "": at Front.Listen
	Secret   string   `koanf:"secret"`   // shared by all edges, signs their announcements and what they pass on; "" for none
	Insecure bool     `koanf:"insecure"` // several edges do without a secret
	Networks []string `koanf:"networks"` // addresses or CIDR ranges of edges; empty: they may have any address
}

// Cookie is set at the handshake, as the reference does on request.
type Cookie struct {
	Name string `koanf:"name"` // "" sets no cookie
}

// Limits bounds what one client can make an edge keep and do. Zero means no limit, except for the queue and what a
// session sends.
type Limits struct {
	RoomsPerSocket        int `koanf:"rooms_per_socket"`
	NamespacesPerSession  int `koanf:"namespaces_per_session"`
	Sessions              int `koanf:"sessions"`
	SessionsPerAddress    int `koanf:"sessions_per_address"`
	Connections           int `koanf:"connections"`             // TCP connections; 0: as many as descriptors allow
	ConnectionsPerAddress int `koanf:"connections_per_address"` // 0: by SessionsPerAddress
	QueueBytes            int `koanf:"queue_bytes"`             // what may wait for one session; 0 is the default, there is always a limit
	QueuePackets          int `koanf:"queue_packets"`           // the same
	SessionBytes          int `koanf:"session_bytes"`           // memory of one session, its queue included; 0 is the default

	engine.Rates `koanf:",squash,flatten"`

	Memory string `koanf:"memory"` // of the process: a share of its limit or bytes; "" or "0": no limit
}

// DefaultLimits are the limits an edge has when none are configured.
func DefaultLimits() Limits {
	return Limits{
		RoomsPerSocket: 1000, NamespacesPerSession: 100, QueueBytes: engine.DefaultQueueBytes, QueuePackets: engine.DefaultQueuePackets,
		SessionBytes: engine.DefaultSessionBytes, Memory: "80%",
		Rates: engine.DefaultRates(),
	}
}

// Default is the configuration of a program that is given nothing.
func Default(f Flavour) Config {
	c := Config{
		Front:  Front{Listen: ":3000", Path: "/socket.io/", TrustedProxies: []string{}, ConnectTimeout: 45 * time.Second},
		Admin:  Admin{Listen: "127.0.0.1:3001", Hosts: []string{}},
		Log:    Log{Level: "info"},
		NATS:   natsconn.DefaultConfig(),
		Engine: engine.DefaultConfig(),
		CORS:   CORS{Origins: []string{}},
		Edges:  Edges{Networks: []string{}},
		Limits: DefaultLimits(),
		Drain:  cluster.DefaultDrain(),
		Web: Web{
			Gateway: Gateway{Group: "gateway", UserRoom: "user:"}, API: API{RequestsPerSecond: 1000}, UI: UI{ReadOnly: f != FlavourEmbedded},
		},
		Rules: Rules{
			Recovery: Recovery{Storage: "file", Replicas: 1, MaxBytes: "1GiB"},
			Token:    Token{From: []string{bearer.Auth}, Event: "partyline:token", Grace: 25 * time.Second},
			Namespaces: map[string]rule.Namespace{
				"/": {Connect: rule.ConnectService, ConnectTimeout: rule.DefaultConnectTimeout},
			},
		},
	}
	switch f {
	case FlavourServer:
		c.Listen, c.Admin.Listen, c.NATS.URL = "", "", ""
		c.Limits.Memory = "0" // the process is not only the edge's
		c.Namespaces = map[string]rule.Namespace{"*": c.Namespaces["/"]}
	case FlavourGateway:
		c.Admin.Listen, c.Gateway.Listen = "127.0.0.1:3081", "127.0.0.1:3080" // an edge may be on the same machine
	case FlavourEmbedded:
		c.Listen = "127.0.0.1:3000"
		c.Page = true
		c.NATS.URL = "" // connected in the process
		c.NATS.RefuseSessions = natsconn.RefuseOff
		c.Embedded.Listen = "127.0.0.1:4222"
		c.Namespaces = openNamespaces()
		c.Open = true
	}
	return c
}

// openNamespaces is a working chat without a service: any namespace, any room, messages to the sender's rooms (or to
// all while it is in none) and to single sockets.
func openNamespaces() map[string]rule.Namespace {
	return map[string]rule.Namespace{"*": {
		Connect:        rule.ConnectOpen,
		ConnectTimeout: rule.DefaultConnectTimeout,
		Rooms:          []string{"*"},
		Relay: []rule.Relay{
			{Event: "message", To: rule.ToRoomsOrAll},
			{Event: "everyone", To: rule.ToAll},
			{Event: "direct", To: rule.ToSocket},
		},
		Presence: rule.DefaultPresence("*"),
	}}
}
