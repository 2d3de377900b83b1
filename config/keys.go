package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"partyline/internal/natsconn"
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
	in    []Flavour // the programs that know it
	live  bool      // a change counts when the configuration is read again; false: it needs a restart
	group string    // heading in --help
	arg   string    // what --help calls the value
	help  string
	check check // of the value that counts, or of each item of a list; nil accepts all
}

const envPrefix = "PARTYLINE_"

// env is the key's environment variable.
func (k key) env() string { return Variable(k.name) }

// Variable is the environment variable of a key: "admin.listen" → "PARTYLINE_ADMIN_LISTEN".
func Variable(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, ".", "_"))
}

// The sections that are no scalars or lists of them: they have no flags, and are JSON in the environment.
const (
	namespacesKey = "namespaces"
	tokensKey     = "tokens"
	hooksKey      = "hooks"
	apiKeysKey    = "api.keys"
)

// section is one of them.
type section struct {
	name    string
	in      []Flavour // the programs that know it
	title   string    // heading in --help
	help    string
	example string // as JSON
	read    func(*loader, node)
}

var sections = []section{
	{namespacesKey, edges, "Namespaces", "They replace the default as a whole.", `an object such as {"/":{"connect":"service"}}`, func(l *loader, n node) {
		l.issuers = nil // of the same section in a weaker source
		l.namespaces = readNamespaces(n)
	}},
	{tokensKey, edges, "Issuers of tokens", "None by default.", `an array such as [{"name":"main",…}]`, func(l *loader, n node) { l.tokens = readTokens(n) }},
	{hooksKey, gateways, "Hooks", "None by default.", `an array such as [{"namespaces":["/chat"],"events":["connect"],…}]`, func(l *loader, n node) { l.hooks = readHooks(n) }},
	{apiKeysKey, gateways, "Keys of the HTTP API", "None by default.", `an array such as [{"name":"shop","hash":"sha256:…",…}]`, func(l *loader, n node) { l.apiKeys = readAPIKeys(n) }},
}

// sectionOf returns a section by its name; nil if there is none.
func sectionOf(name string) *section {
	if i := slices.IndexFunc(sections, func(s section) bool { return s.name == name }); i >= 0 {
		return &sections[i]
	}
	return nil
}

// Which programs know a key.
var (
	everywhere  = []Flavour{FlavourEdge, FlavourEmbedded, FlavourGateway, FlavourServer}
	all         = []Flavour{FlavourEdge, FlavourEmbedded, FlavourGateway}
	edges       = []Flavour{FlavourEdge, FlavourEmbedded, FlavourServer}
	listeners   = []Flavour{FlavourEdge, FlavourEmbedded} // edges that listen for clients
	gateways    = []Flavour{FlavourGateway, FlavourEmbedded}
	natsOutside = []Flavour{FlavourEdge, FlavourGateway}
	natsInside  = []Flavour{FlavourEmbedded, FlavourServer}
)

// Checks that several keys share.
var (
	noLimit  = atLeast(0, "negative; write 0 for no limit")
	isRate   = atLeast(1, "too small: there is always a limit; write at least 1")
	countsMs = atLeast(time.Millisecond, "too short; write at least 1ms") // the protocol tells clients milliseconds
	// Clients wait for ping_interval and ping_timeout together, and a timer of JavaScript takes 24.8 days at the most.
	beats = between(time.Millisecond, 10*24*time.Hour, "too short; write at least 1ms")
)

// Whether a change of a key counts when the configuration is read again; see Reload.
const (
	reloads  = true
	restarts = false
)

// allKeys in the order of --help, in which keys of one group stand together.
var allKeys = []key{
	{"listen", text, listeners, restarts, "Listening", "HOST:PORT", "HTTP and WebSocket for clients; port 0 picks a free one.", texts(listenAddress)},
	{"admin.listen", text, all, restarts, "Listening", "HOST:PORT", "/healthz, /readyz, /edges, /metrics, /drain and /reload for the operator.", texts(listenAddress)},
	{"admin.token", text, all, restarts, "Listening", "TOKEN", "All of these but /healthz and /readyz need it (Authorization: Bearer TOKEN). Better in the environment or the file.", texts(bearerToken)},
	{"admin.hosts", list, all, restarts, "Listening", "NAMES", "Names under which they are served without the token, beside IP addresses and localhost.", items(pagesHost)},
	{"admin.insecure", boolean, all, restarts, "Listening", "", "Serve them on another address than loopback without a token. Anyone who reaches it can drain the edge.", nil},
	{"admin.pprof", boolean, all, restarts, "Listening", "", "Also /debug/pprof/ there: profiles of the running process, for Go's tools.", nil},
	{"path", text, edges, restarts, "Listening", "PATH", "Where clients connect.", texts(clientPath)},
	{"page", boolean, listeners, restarts, "Listening", "", "Serve a page at / on which to try everything.", nil},
	{"trusted_proxies", list, edges, restarts, "Listening", "ADDRESSES", "Proxies whose X-Forwarded-… and Forwarded headers count: addresses or ranges such as 10.0.0.0/8.", items(addresses)},

	{"tls.cert", text, listeners, restarts, "TLS", "FILE", "PEM file of the certificate and its chain, for https:// and wss://. Read again when it changes.", texts(readableFile)},
	{"tls.key", text, listeners, restarts, "TLS", "FILE", "PEM file of its private key.", texts(readableFile)},

	{"log.level", text, all, reloads, "Logs", "LEVEL", "debug, info, warn or error.", texts(logLevel)},

	{"nats.url", text, natsOutside, restarts, "NATS", "URLS", "Servers, separated by commas.", nil},
	{"nats.prefix", text, everywhere, restarts, "NATS", "PREFIX", "First token or tokens of every subject.", texts(subjectPrefix)},
	{"nats.reply_prefixes", list, edges, restarts, "NATS", "SUBJECTS", "Where requests are answered: only below these subjects, such as _INBOX.chat.>.", items(replyPrefix)},
	{"nats.creds", text, all, restarts, "NATS", "FILE", "Credentials file (JWT and seed).", texts(readableFile)},
	{"nats.nkey", text, all, restarts, "NATS", "FILE", "NKey seed file.", texts(readableFile)},
	{"nats.token", text, all, restarts, "NATS", "TOKEN", "Token. Other users of a machine can read flags: better in the environment or the file.", nil},
	{"nats.refuse_sessions", text, edges, restarts, "NATS", "WHEN", "on, off or auto: without NATS, new sessions get 503 if services admit to all namespaces.", texts(oneOf(natsconn.RefuseAuto, natsconn.RefuseOn, natsconn.RefuseOff))},
	{"nats.tls.ca", text, natsOutside, restarts, "NATS", "FILE", "PEM file of the authorities that may sign the server's certificate.", texts(authorities)},
	{"nats.tls.cert", text, natsOutside, restarts, "NATS", "FILE", "PEM file of the client certificate; needs nats.tls.key.", texts(readableFile)},
	{"nats.tls.key", text, natsOutside, restarts, "NATS", "FILE", "PEM file of the client key; needs nats.tls.cert.", texts(readableFile)},

	{"embedded.listen", text, natsInside, restarts, "NATS inside", "HOST:PORT", "Where other NATS clients (services, the nats command) connect.", texts(optional(listenAddress))},
	{"embedded.jetstream.dir", text, natsInside, restarts, "NATS inside", "FOLDER", "Switches JetStream on and keeps its files here.", texts(folder)},
	{"embedded.server_config", text, natsInside[:1], restarts, "NATS inside", "FILE", "Configuration of nats-server (routes, accounts, TLS, …), instead of the two keys above.", texts(readableFile)},

	{"advertise", text, edges, restarts, "Other edges", "URL", "http://host:port where the other edges reach this one; they pass on requests of its sessions.", texts(edgeURL)},
	{"edges.listen", text, listeners, restarts, "Other edges", "HOST:PORT", "Plain HTTP for other edges alone: needed for advertise beside tls.cert. Keep it private.", texts(optional(listenAddress))},
	{"edges.secret", text, everywhere, restarts, "Other edges", "SECRET", "The same on every edge: what edges announce and pass on must be signed with it. Better in the environment or the file.", nil},
	{"edges.insecure", boolean, edges, restarts, "Other edges", "", "Advertise without edges.secret: who may announce edges in NATS then receives clients' requests.", nil},
	{"edges.networks", list, edges, restarts, "Other edges", "ADDRESSES", "Where edges are: addresses or ranges such as 10.0.0.0/8. Requests are passed on to no other. None: anywhere.", items(addresses)},

	{"drain.rate", integer, edges, restarts, "Leaving", "N", "Clients sent to other edges each second when this one leaves; 0: all at once.", atLeast(0, "negative; write 0 to send all clients away at once")},
	{"drain.timeout", duration, edges, restarts, "Leaving", "DURATION", "How long that may take; who is left then goes at once. 0s: all at once.", atLeast(0*time.Second, "negative; write 0s to send all clients away at once")},
	{"isolation_timeout", duration, edges, restarts, "Leaving", "DURATION", "How long without NATS until this edge sends its clients to other edges, if there were any. 0s: never.", noneOr(atLeast(time.Second, "too short; write at least 1s, or 0s to keep the clients of an edge that is cut off from NATS"))},

	{"gateway.listen", text, gateways, restarts, "Gateway", "HOST:PORT", "HTTP API and Admin UI; nothing: none of them. Keep it on loopback, or behind a proxy with TLS.", texts(optional(listenAddress))},
	{"gateway.group", text, gateways, restarts, "Gateway", "NAME", "The service group that all gateways form.", texts(groupName)},
	{"gateway.user_room", text, gateways, restarts, "Gateway", "PREFIX", "What the rooms of users begin with: user_room of the edges' namespaces. Nothing: users have no rooms.", texts(optional(userRoom))},
	{"ui.users_file", text, gateways, reloads, "Gateway", "FILE", "Who may log in to the Admin UI: lines name:hash, see the command user. It switches the UI on.", texts(readableFile)},
	{"ui.readonly", boolean, gateways, restarts, "Gateway", "", "The Admin UI only shows; false lets its users emit, join, leave and disconnect.", nil},
	{"ui.url", text, gateways, restarts, "Gateway", "URL", "Where browsers reach the edges, for the Admin UI; nothing: its page asks.", texts(optional(edgesURL))},
	{"api.requests_per_second", integer, gateways, reloads, "Gateway", "N", "Requests of one key per second; past that it gets 429. 0: no limit.", noLimit},

	{"recovery.storage", text, edges, restarts, "Recovery", "WHERE", "file or memory: where JetStream keeps the events of namespaces with recovery or rewind.", texts(oneOf("file", "memory"))},
	{"recovery.replicas", integer, edges, restarts, "Recovery", "N", "NATS servers that keep a copy: 1, 3 or 5.", isReplicas},
	{"recovery.max_bytes", text, edges, restarts, "Recovery", "BYTES", "Size of the log, such as 512MiB; past that the oldest events go.", texts(logSize)},

	{"token.from", list, edges, restarts, "Tokens", "PLACES", "Where a client's token is looked for: auth, authorization, cookie:NAME, query:NAME. The first counts.", items(tokenPlace)},
	{"token.event", text, edges, restarts, "Tokens", "EVENT", "The event by which a client shows a new token without reconnecting.", texts(tokenEvent)},
	{"token.grace", duration, edges, restarts, "Tokens", "DURATION", "How long a socket lives on when its token or grant has expired; then its transport is closed.", atLeast(0*time.Second, "negative; write 0s to close it at once")},

	{"engine.ping_interval", duration, edges, restarts, "Sessions", "DURATION", "From one heartbeat to the next.", beats},
	{"engine.ping_timeout", duration, edges, restarts, "Sessions", "DURATION", "How long a client may take to answer one.", beats},
	{"engine.upgrade_timeout", duration, edges, restarts, "Sessions", "DURATION", "How long an upgrade from polling to WebSocket may take.", countsMs},
	{"engine.max_payload", integer, edges, restarts, "Sessions", "BYTES", "Largest packet of a client, attachments included.", between(1024, 1<<30, "too small; write at least 1024 bytes")},
	{"engine.transports", list, edges, restarts, "Sessions", "NAMES", "polling, websocket or both.", items(oneOf("polling", "websocket"))},
	{"connect_timeout", duration, edges, restarts, "Sessions", "DURATION", "How long a session may stay without a namespace; the time in which services are asked does not count.", countsMs},
	{"cors.origins", list, edges, reloads, "Sessions", "ORIGINS", "Other origins that may connect: https://app.example, capacitor://localhost, https://*.app.example, or * for any.", items(corsOrigin)},
	{"cors.credentials", boolean, edges, reloads, "Sessions", "", "Allow those pages to send cookies.", nil},
	{"cookie.name", text, edges, restarts, "Sessions", "NAME", "Set a cookie of this name at the handshake.", texts(cookieName)},

	{"limits.rooms_per_socket", integer, edges, reloads, "Limits", "N", "Rooms a socket may be in. 0: no limit.", noLimit},
	{"limits.namespaces_per_session", integer, edges, reloads, "Limits", "N", "Namespaces a session may join. 0: no limit.", noLimit},
	{"limits.sessions", integer, edges, reloads, "Limits", "N", "Sessions of this process. 0: no limit.", noLimit},
	{"limits.sessions_per_address", integer, edges, reloads, "Limits", "N", "Sessions of one client address. Of IPv6 a /64 is one address. 0: no limit.", noLimit},
	{"limits.connections", integer, listeners, reloads, "Limits", "N", "TCP connections of this process. 0: as many as the limit of open files allows.", atLeast(0, "negative; write 0 for as many as the limit of open files allows")},
	{"limits.connections_per_address", integer, listeners, reloads, "Limits", "N", "TCP connections of an address (IPv6: /64). 0: no limit, or 16 + 4 * limits.sessions_per_address.", atLeast(0, "negative; write 0 for no limit")},
	{"limits.handshakes_per_second", integer, edges, reloads, "Limits", "N", "New sessions accepted per second. The rest get 503 with Retry-After. 0: no limit.", noLimit},
	{"limits.handshakes_per_second_per_address", integer, edges, reloads, "Limits", "N", "The same, of one client address. Of IPv6 a /64 is one address. 0: no limit.", noLimit},
	{"limits.events_per_second", integer, edges, reloads, "Limits", "N", "Packets of one session per second; past that it is slowed down. At least 1.", isRate},
	{"limits.events_burst", integer, edges, reloads, "Limits", "N", "Packets of one session that may come at once. At least 1.", isRate},
	{"limits.bytes_per_second", integer, edges, reloads, "Limits", "BYTES", "Bytes of one session's packets per second; the same. At least 1.", isRate},
	{"limits.overrun", duration, edges, reloads, "Limits", "DURATION", "How long a client may stay above these until its session is closed. 0s: it is only slowed down.", atLeast(0*time.Second, "negative; write 0s to close no session")},
	{"limits.queue_bytes", integer, edges, reloads, "Limits", "BYTES", "Memory for what waits for one client; past that its session is closed. At least 65536.", atLeast(64<<10, "too small; write at least 65536")},
	{"limits.queue_packets", integer, edges, reloads, "Limits", "N", "Packets that may wait for one client, the same. At least 16.", atLeast(16, "too small; write at least 16")},
	{"limits.session_bytes", integer, edges, reloads, "Limits", "BYTES", "Memory that one session may cost, its queue included; past that it is closed.", atLeast(64<<10, "too small; write at least 65536")},
	{"limits.memory", text, edges, restarts, "Limits", "SHARE", "Memory of the process, such as 512MiB, or a share of its limit; then sessions are closed. 0: no limit.", texts(memorySize)},
}

// secretKeys are never shown, nor what may be a part of their values.
var secretKeys = []string{"admin.token", "nats.token", "edges.secret"}

// otherPrograms explains to the user of a program a key or section that only others know.
func otherPrograms(f Flavour, name string) string {
	var known []Flavour
	for _, k := range allKeys {
		if k.name == name || strings.HasPrefix(k.name, name+".") {
			known = k.in
			break
		}
	}
	if s := sectionOf(name); s != nil {
		known = s.in
	}
	known = slices.DeleteFunc(slices.Clone(known), func(each Flavour) bool { return each == FlavourServer }) // it is no program
	names := make([]string, len(known))
	for i, each := range known {
		names[i] = "cmd/" + string(each)
	}
	text, why := "only "+names[0]+" knows it: ", "cmd/"+string(f)+" has no use for it"
	if len(names) > 1 {
		text = "only " + strings.Join(names, " and ") + " know it: "
	}
	switch {
	case f == FlavourServer:
		return text + "a program that embeds the edge listens, logs and connects to NATS itself; remove it"
	case f == FlavourEmbedded:
		why = "cmd/embedded has NATS inside and connects to it in the process"
	case slices.Equal(known, natsInside[:1]):
		why = "cmd/" + string(f) + " has no NATS inside"
	case f == FlavourGateway:
		why = "clients connect to edges, not to cmd/gateway"
	case slices.Equal(known, gateways):
		why = "cmd/edge makes no requests of its own"
	}
	return text + why + "; remove it, or run " + strings.Join(names, " or ")
}

// isKnown reports whether one of the programs knows a key, or a section, of that name.
func isKnown(name string) bool { return has(allKeys, name) || sectionOf(name) != nil }

// keysOf lists the keys that a program knows.
func keysOf(f Flavour) []key {
	return slices.DeleteFunc(slices.Clone(allKeys), func(k key) bool { return !slices.Contains(k.in, f) })
}

// sectionsOf lists the names of the sections that a program knows.
func sectionsOf(f Flavour) (names []string) {
	for _, s := range sections {
		if slices.Contains(s.in, f) {
			names = append(names, s.name)
		}
	}
	return names
}

// has reports whether one of keys has that name, or stands in a section of that name.
func has(keys []key, name string) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return k.name == name || strings.HasPrefix(k.name, name+".") })
}

// parse reads the text of a flag, a variable or a scalar in the file. problem is "" if the text is good.
func (k key) parse(s string) (value any, problem string) {
	switch k.kind {
	case integer:
		return parseNumber(s)
	case boolean:
		return parseBool(s)
	case duration:
		return parseDuration(s)
	case list:
		return splitList(s), ""
	default:
		return s, ""
	}
}

var (
	parseNumber   = parser(strconv.Atoi, " is not a whole number; write it in digits, such as 1000000")
	parseBool     = parser(strconv.ParseBool, " is neither true nor false")
	parseDuration = parser(time.ParseDuration, " is not a duration; write a number with its unit, such as 25s or 1m30s")
)

// parser returns parse with a problem, which follows the text, in place of an error.
func parser[T any](parse func(string) (T, error), problem string) func(string) (value T, problem string) {
	return func(s string) (T, string) {
		value, err := parse(s)
		if err != nil {
			return value, quote(s) + problem
		}
		return value, ""
	}
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

// quote keeps an operator's terminal safe from what a value contains, and short. If the value may be a URL, it hides
// the credentials in it, whatever the value should have been.
func quote(s string) string {
	const most = 100
	if mayBeURL(s) {
		s = redact.URLs(s)
	}
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.Quote(s)
}

// mayBeURL reports whether a value may be a URL with credentials, such as nats.url in the place of another key.
func mayBeURL(s string) bool { return strings.Contains(s, "@") || strings.Contains(s, "://") }

// unquoted is quote for a name that stands without quotation marks.
func unquoted(s string) string {
	s = quote(s)
	return s[1 : len(s)-1]
}
