// Package bus is the edge's connection to NATS.
package bus

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
