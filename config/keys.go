package config

import (
	"strconv"
	"strings"
	"time"

	"partyline/internal/redact"
)

// kind is how a key's text is read.
type kind uint8

const (
	text     kind = iota
	integer       // whole number, decimal
	boolean       // true or false
	duration      // Go duration: 25s, 1m30s
	list          // comma separated in flags and environment, a sequence in the file
)

// key is one setting, under the same name in the file, among flags and (in other letters) in the environment.
type key struct {
	name  string
	kind  kind
	only  Flavour // "" for both programs
	group string  // heading in --help
	arg   string  // what --help calls the value
	help  string
}

const envPrefix = "PARTYLINE_"

// env is the key's environment variable.
func (k key) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// namespacesKey is the one key that is no scalar or list: it has no flag, and is JSON in the environment.
const namespacesKey = "namespaces"

const namespacesEnv = "PARTYLINE_NAMESPACES"

// allKeys in the order of --help and --print-config. Keys of one section stand together.
var allKeys = []key{
	{"listen", text, "", "Listening", "HOST:PORT", "HTTP and WebSocket for clients; port 0 picks a free one."},
	{"admin.listen", text, "", "Listening", "HOST:PORT", "/healthz, /readyz, /edges, /metrics and /drain for the operator."},
	{"admin.pprof", boolean, "", "Listening", "", "Also /debug/pprof/ there: profiles of the running process, for Go's tools."},
	{"path", text, "", "Listening", "PATH", "Where clients connect."},
	{"page", boolean, "", "Listening", "", "Serve a page at / on which to try everything."},
	{"trusted_proxies", list, "", "Listening", "ADDRESSES", "Proxies whose X-Forwarded-… and Forwarded headers count: addresses or ranges such as 10.0.0.0/8."},

	{"log.level", text, "", "Logs", "LEVEL", "debug, info, warn or error."},

	{"nats.url", text, FlavourEdge, "NATS", "URLS", "Servers, separated by commas."},
	{"nats.prefix", text, "", "NATS", "PREFIX", "First token or tokens of every subject."},
	{"nats.creds", text, FlavourEdge, "NATS", "FILE", "Credentials file (JWT and seed)."},
	{"nats.nkey", text, FlavourEdge, "NATS", "FILE", "NKey seed file."},
	{"nats.token", text, FlavourEdge, "NATS", "TOKEN", "Token. Other users of a machine can read flags: better in the environment or the file."},
	{"nats.refuse_sessions", text, "", "NATS", "WHEN", "on, off or auto: without NATS, new sessions get 503 if services admit to all namespaces."},
	{"nats.tls.ca", text, FlavourEdge, "NATS", "FILE", "PEM file of the authorities that may sign the server's certificate."},
	{"nats.tls.cert", text, FlavourEdge, "NATS", "FILE", "PEM file of the client certificate; needs nats.tls.key."},
	{"nats.tls.key", text, FlavourEdge, "NATS", "FILE", "PEM file of the client key; needs nats.tls.cert."},

	{"embedded.listen", text, FlavourEmbedded, "NATS inside", "HOST:PORT", "Where other NATS clients (services, the nats command) connect."},
	{"embedded.jetstream.dir", text, FlavourEmbedded, "NATS inside", "FOLDER", "Switches JetStream on and keeps its files here."},

	{"advertise", text, "", "Other edges", "URL", "http://host:port where the other edges reach this one; they pass on requests of its sessions."},
	{"edges.secret", text, "", "Other edges", "SECRET", "The same on every edge: what edges announce and pass on must be signed with it. Better in the environment or the file."},

	{"drain.rate", integer, "", "Leaving", "N", "Clients sent to other edges each second when this one leaves; 0: all at once."},
	{"drain.timeout", duration, "", "Leaving", "DURATION", "How long that may take; who is left then goes at once. 0s: all at once."},
	{"isolation_timeout", duration, "", "Leaving", "DURATION", "How long without NATS until this edge sends its clients to other edges, if there were any. 0s: never."},

	{"engine.ping_interval", duration, "", "Sessions", "DURATION", "From one heartbeat to the next."},
	{"engine.ping_timeout", duration, "", "Sessions", "DURATION", "How long a client may take to answer one."},
	{"engine.upgrade_timeout", duration, "", "Sessions", "DURATION", "How long an upgrade from polling to WebSocket may take."},
	{"engine.max_payload", integer, "", "Sessions", "BYTES", "Largest packet of a client, attachments included."},
	{"engine.transports", list, "", "Sessions", "NAMES", "polling, websocket or both."},
	{"connect_timeout", duration, "", "Sessions", "DURATION", "How long a session may stay without a namespace; the time in which services are asked does not count."},
	{"cors.origins", list, "", "Sessions", "ORIGINS", "Other origins that may connect: https://app.example, capacitor://localhost, https://*.app.example, or * for any."},
	{"cors.credentials", boolean, "", "Sessions", "", "Allow those pages to send cookies."},
	{"cookie.name", text, "", "Sessions", "NAME", "Set a cookie of this name at the handshake."},

	{"limits.rooms_per_socket", integer, "", "Limits", "N", "Rooms a socket may be in. 0: no limit."},
	{"limits.namespaces_per_session", integer, "", "Limits", "N", "Namespaces a session may join. 0: no limit."},
	{"limits.sessions", integer, "", "Limits", "N", "Sessions of this process. 0: no limit."},
	{"limits.sessions_per_address", integer, "", "Limits", "N", "Sessions of one client address. 0: no limit."},
	{"limits.queue_bytes", integer, "", "Limits", "BYTES", "Memory for what waits for one client; past that its session is closed. At least 65536."},
	{"limits.queue_packets", integer, "", "Limits", "N", "Packets that may wait for one client, the same. At least 16."},
	{"limits.handshakes_per_second", integer, "", "Limits", "N", "New sessions accepted per second. The rest get 503 with Retry-After. 0: no limit."},
}

// keysOf lists the keys that a program knows.
func keysOf(f Flavour) []key {
	var known []key
	for _, k := range allKeys {
		if k.only == "" || k.only == f {
			known = append(known, k)
		}
	}
	return known
}

// find returns the key of that name, whichever program knows it.
func find(name string) (key, bool) {
	for _, k := range allKeys {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

// elsewhere explains why a key of one program is unknown to the other; "" if it is not known there either. name may
// also be a section.
func elsewhere(f Flavour, name string) string {
	for _, k := range allKeys {
		if k.only == "" || k.only == f || (k.name != name && !strings.HasPrefix(k.name, name+".")) {
			continue
		}
		if f == FlavourEmbedded {
			return "only cmd/edge knows it: cmd/embedded has NATS inside and connects to it in the process; remove it, or run cmd/edge for a NATS elsewhere"
		}
		return "only cmd/embedded knows it: cmd/edge has no NATS inside; remove it, or run cmd/embedded"
	}
	return ""
}

// parse reads the text of a flag, a variable or a scalar in the file. problem is "" if the text is good.
func (k key) parse(s string) (value any, problem string) {
	switch k.kind {
	case integer:
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, quoteURL(s) + " is not a whole number; write it in digits, such as 1000000"
		}
		return n, ""
	case boolean:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return nil, quoteURL(s) + " is neither true nor false"
		}
		return b, ""
	case duration:
		return parseDuration(s)
	case list:
		return splitList(s), ""
	default:
		return s, ""
	}
}

func parseDuration(s string) (value any, problem string) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return nil, quoteURL(s) + " is not a duration; write a number with its unit, such as 25s or 1m30s"
	}
	return d, ""
}

// splitList never returns nil, so that an empty list prints as one.
func splitList(s string) []string {
	items := []string{}
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// quote keeps an operator's terminal safe from what a value contains, and short.
func quote(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.Quote(s)
}

// quoteURL quotes a value in which somebody may have put a URL with a password.
func quoteURL(s string) string {
	if strings.Contains(s, "@") || strings.Contains(s, "://") {
		s = redact.URLs(s)
	}
	return quote(s)
}

// Variable is the environment variable of a key: "admin.listen" → "PARTYLINE_ADMIN_LISTEN".
func Variable(name string) string { return key{name: name}.env() }
