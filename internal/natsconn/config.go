// Package natsconn is what programs connect to NATS with: addresses, credentials and certificates. It explains to an
// operator why there is no connection, in words that name the settings to look at.
package natsconn

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// The pace of a connection. After two missed pings it counts as lost.
const (
	PingInterval  = 5 * time.Second // also how long a write may wait
	pingsMissed   = 2
	reconnectWait = 250 * time.Millisecond
)

// Config configures the connection to NATS. At most one of Creds, NKey and Token may be set.
type Config struct {
	URL    string `koanf:"url"`    // one or more server URLs, separated by commas
	Prefix string `koanf:"prefix"` // first token or tokens of every subject; default "sio"
	Creds  string `koanf:"creds"`  // path of a credentials file (JWT and seed), or ""
	NKey   string `koanf:"nkey"`   // path of an nkey seed file, or ""
	Token  string `koanf:"token"`  // authentication token, or ""; a secret
	TLS    TLS    `koanf:"tls"`
	// ReplyPrefixes are the subjects to which requests are answered, such as "_INBOX.>"; see subjects.NewReplies.
	ReplyPrefixes []string `koanf:"reply_prefixes"`
	// RefuseSessions is one of the Refuse… constants.
	RefuseSessions string `koanf:"refuse_sessions"`
	// Like is a connection of a Go program: Options makes another one to the same servers, with the same credentials.
	// URL, Creds, NKey, Token and TLS do not count then. nil: there is none.
	Like *nats.Conn `koanf:"-"`
}

// Whether an edge without NATS refuses new sessions, so that their clients reach another one. It does so only if
// services decide about all of its namespaces.
const (
	RefuseAuto = "auto" // if another edge was heard in the last minute before NATS was lost
	RefuseOn   = "on"
	RefuseOff  = "off"
)

// TLS holds paths of PEM files, each "" where it is not used. Cert and Key go together.
type TLS struct {
	CA   string `koanf:"ca"`   // authorities that may sign the server's certificate, instead of the system's
	Cert string `koanf:"cert"` // client certificate
	Key  string `koanf:"key"`  // client key
}

// DefaultConfig is a NATS server on this machine.
func DefaultConfig() Config {
	return Config{
		URL: "nats://127.0.0.1:4222", Prefix: "sio", ReplyPrefixes: []string{"_INBOX.>"}, RefuseSessions: RefuseAuto,
	}
}

// Identity returns, for the log, the kind of credentials. It names keys and no values.
func (cfg Config) Identity() string {
	switch {
	case cfg.Like != nil:
		return "the credentials of the program's own connection (Options.Conn)"
	case cfg.Creds != "":
		return "the credentials of nats.creds"
	case cfg.NKey != "":
		return "the credentials of nats.nkey"
	case cfg.Token != "":
		return "the credentials of nats.token"
	case strings.Contains(cfg.URL, "@"):
		return "the credentials of nats.url (its user and password)"
	case cfg.TLS.Cert != "":
		return "the credentials of nats.tls.cert"
	}
	return "a connection without credentials (set nats.creds, nats.nkey, nats.token, or user and password in nats.url)"
}

// Options turns the configuration into options of nats.go. program is the kind of program that connects.
func (cfg Config) Options(program string) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name("partyline " + program),
		nats.CustomInboxPrefix("_INBOX." + program), // NATS need not permit it to read the inboxes of services
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(), // an operator may correct the account meanwhile
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.ReconnectBufSize(-1), // fail at once while disconnected: nothing is sent minutes late
		nats.PingInterval(PingInterval),
		// nats.go writes under its lock, which its own timer needs, too. With the default of a minute a network that
		// drops all packets would block every publisher, and with them the clients' heartbeats, for a minute.
		nats.FlusherTimeout(PingInterval),
		nats.MaxPingsOutstanding(pingsMissed),
	}
	switch {
	case cfg.Like != nil:
		opts = append(opts, like(&cfg.Like.Opts))
	case cfg.Creds != "":
		text, err := os.ReadFile(cfg.Creds)
		if err != nil {
			return nil, fmt.Errorf("nats.creds: %w", err)
		}
		// nats.go reads the file at each connect, and would keep trying with an invalid one.
		if _, err := nkeys.ParseDecoratedUserNKey(text); err != nil {
			return nil, fmt.Errorf("nats.creds: %s holds no user's seed: %w", cfg.Creds, err)
		}
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	case cfg.NKey != "":
		nkey, err := nats.NkeyOptionFromSeed(cfg.NKey)
		if err != nil {
			return nil, fmt.Errorf("nats.nkey: cannot read a seed from %s: %w", cfg.NKey, err)
		}
		opts = append(opts, nkey)
	case cfg.Token != "":
		opts = append(opts, nats.Token(cfg.Token))
	}
	if cfg.TLS.CA != "" {
		opts = append(opts, nats.RootCAs(cfg.TLS.CA))
	}
	if cfg.TLS.Cert != "" {
		opts = append(opts, nats.ClientCert(cfg.TLS.Cert, cfg.TLS.Key))
	}
	return opts, nil
}

// Dialer returns what opens connections to a server elsewhere.
func (cfg Config) Dialer() nats.CustomDialer {
	switch {
	case cfg.Like != nil && cfg.Like.Opts.CustomDialer != nil:
		return cfg.Like.Opts.CustomDialer
	case cfg.Like != nil && cfg.Like.Opts.Dialer != nil:
		return cfg.Like.Opts.Dialer
	}
	return &net.Dialer{Timeout: nats.DefaultTimeout}
}

// like copies what says where to connect, and as whom: not the pace and the callbacks, which are the connection's own.
func like(from *nats.Options) nats.Option {
	return func(o *nats.Options) error {
		o.Url, o.Servers, o.NoRandomize, o.IgnoreDiscoveredServers = from.Url, from.Servers, from.NoRandomize, from.IgnoreDiscoveredServers
		o.InProcessServer, o.SkipHostLookup = from.InProcessServer, from.SkipHostLookup
		o.User, o.Password, o.UserInfo, o.Token, o.TokenHandler = from.User, from.Password, from.UserInfo, from.Token, from.TokenHandler
		o.UserJWT, o.Nkey, o.SignatureCB, o.InboxPrefix = from.UserJWT, from.Nkey, from.SignatureCB, from.InboxPrefix
		o.Secure, o.TLSConfig, o.TLSCertCB, o.RootCAsCB, o.TLSHandshakeFirst = from.Secure, from.TLSConfig, from.TLSCertCB, from.RootCAsCB, from.TLSHandshakeFirst
		o.ProxyPath, o.Compression = from.ProxyPath, from.Compression
		o.WebSocketConnectionHeaders, o.WebSocketConnectionHeadersHandler = from.WebSocketConnectionHeaders, from.WebSocketConnectionHeadersHandler
		return nil
	}
}
