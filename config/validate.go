package config

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"partyline/bus"
	"partyline/edge"
	"partyline/engine"
	"partyline/internal/redact"
	"partyline/subjects"
	"partyline/wire/msg"
)

// Sizes of messages in bytes.
const (
	minPayload = 1024
	// EmbeddedMaxPayload is the largest engine.max_payload with NATS inside: nats-server takes messages of 64 MiB at the
	// most, and an event needs room for its headers.
	EmbeddedMaxPayload = 64<<20 - 64<<10
)

// at is where a key's value comes from.
func (l *loader) at(name string) string {
	if where, ok := l.where[name]; ok {
		return where
	}
	return name
}

// validate checks a merged configuration, key by key and then together, and brings it into its normal form.
func (l *loader) validate(c *Config) {
	l.validateListening(c)
	l.validatePath(c)
	c.Log.Level = strings.ToLower(c.Log.Level)
	l.choice("log.level", c.Log.Level, "debug", "info", "warn", "error")
	for _, proxy := range c.TrustedProxies {
		_, addrErr := netip.ParseAddr(proxy)
		_, prefixErr := netip.ParsePrefix(proxy)
		if addrErr != nil && prefixErr != nil {
			l.fault(l.at("trusted_proxies"), "%s is neither an address nor a range; write 10.0.0.7 or 10.0.0.0/8", quoteURL(proxy))
		}
	}
	l.validateAdvertise(c)
	l.validateNATS(c)
	l.validateEngine(c)
	for i, origin := range c.CORS.Origins {
		normal, err := engine.ParseOrigin(origin)
		if err != nil {
			l.fault(l.at("cors.origins"), "%s %v", quoteURL(origin), err)
			continue
		}
		if c.CORS.Origins[i] = normal; normal == "null" {
			l.warnings = append(l.warnings, "cors.origins: \"null\" allows the pages of everybody: any page can open a sandboxed frame, whose origin it is")
		}
	}
	if name := c.Cookie.Name; !isToken(name) {
		l.fault(l.at("cookie.name"), "%s cannot name a cookie; use letters, digits, - and _", quote(name))
	}
	if c.Drain.Rate < 0 {
		l.fault(l.at("drain.rate"), "%d is negative; write 0 to send all clients away at once", c.Drain.Rate)
	}
	if c.Drain.Timeout < 0 {
		l.fault(l.at("drain.timeout"), "%s is negative; write 0s to send all clients away at once", c.Drain.Timeout)
	}
	if c.IsolationTimeout < 0 {
		l.fault(l.at("isolation_timeout"), "%s is negative; write 0s to keep the clients of an edge that is cut off from NATS", c.IsolationTimeout)
	}
	l.notNegative("limits.rooms_per_socket", c.Limits.RoomsPerSocket)
	l.notNegative("limits.namespaces_per_session", c.Limits.NamespacesPerSession)
	l.notNegative("limits.sessions", c.Limits.Sessions)
	l.notNegative("limits.sessions_per_address", c.Limits.SessionsPerAddress)
	l.notNegative("limits.handshakes_per_second", c.Limits.HandshakesPerSecond)
	l.atLeast("limits.queue_bytes", c.Limits.QueueBytes, 64<<10)
	l.atLeast("limits.queue_packets", c.Limits.QueuePackets, 16)
}

// listener is an address that the program listens on.
type listener struct{ name, address, host, port string }

func (l *loader) validateListening(c *Config) {
	listeners := []listener{{name: "listen", address: c.Listen}, {name: "admin.listen", address: c.Admin.Listen}}
	if l.flavour == FlavourEmbedded {
		listeners = append(listeners, listener{name: "embedded.listen", address: c.Embedded.Listen})
	}
	for i := range listeners {
		a := &listeners[i]
		var problem string
		if a.host, a.port, problem = splitListen(a.address); problem != "" {
			l.fault(l.at(a.name), "%s %s", quoteURL(a.address), problem)
			continue
		}
		for _, b := range listeners[:i] {
			if a.port == b.port && a.port != "0" && (a.host == b.host || a.host == "" || b.host == "") {
				l.fault(l.at(a.name), "%s is the same port as %s (%s); choose another", quote(a.address), b.name, b.address)
			}
		}
		switch {
		case a.name == "admin.listen" || isLoopback(a.host):
		case c.Open:
			l.fault(l.at(a.name), "%s is not a loopback address, and without a `namespaces` section everything is open to everyone; "+
				"declare namespaces in the file (or %s), or listen on 127.0.0.1", quote(a.address), namespacesEnv)
		case a.name == "embedded.listen":
			l.warnings = append(l.warnings, "embedded.listen: "+a.address+
				" is not a loopback address: whoever reaches it can publish and read everything, the NATS inside asks for no credentials")
		}
	}
}

// splitListen takes an address to listen on apart.
func splitListen(address string) (host, port, problem string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", "is not an address to listen on; write host:port, such as 127.0.0.1:3000, or :3000 for all addresses"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", "", "has no good port; write a number from 0 (a free one) to 65535"
	}
	if _, err := netip.ParseAddr(host); err != nil && !isHostName(host) {
		return "", "", "has no good host; write an address of this machine, or nothing for all of them"
	}
	return host, port, ""
}

func isHostName(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_'
	})
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

func (l *loader) validateAdvertise(c *Config) {
	if c.Advertise == "" {
		return
	}
	hostPort, err := msg.EdgeHostPort(c.Advertise)
	if err != nil {
		l.fault(l.at("advertise"), "%s is not where other edges could reach this one; write http://host:port, such as http://10.0.0.7:3000", quoteURL(c.Advertise))
		return
	}
	host, _, _ := net.SplitHostPort(hostPort)
	if address, err := netip.ParseAddr(host); err == nil && address.IsUnspecified() {
		l.fault(l.at("advertise"), "%s is no address that others could ask; write this machine's own", quote(c.Advertise))
	}
	c.Advertise = "http://" + hostPort
	if c.Edges.Secret == "" && len(c.TrustedProxies) == 0 {
		l.warnings = append(l.warnings, "advertise: without edges.secret, this edge takes what others pass on only from addresses in trusted_proxies, "+
			"and there are none; set edges.secret, the same on every edge")
	}
}

func (l *loader) validatePath(c *Config) {
	if c.Path == "" {
		l.fault(l.at("path"), "is empty; write one such as /socket.io/")
		return
	}
	if !strings.HasPrefix(c.Path, "/") {
		l.fault(l.at("path"), "%s does not begin with a slash; write %s", quote(c.Path), quote("/"+c.Path))
		return
	}
	c.Path = strings.TrimSuffix(c.Path, "/") + "/"
	if c.Path == "/" {
		l.fault(l.at("path"), "\"/\" is no path for clients alone; write one such as /socket.io/")
	} else if strings.ContainsFunc(c.Path, isOddInPath) || strings.Contains(c.Path, "//") || path.Clean(c.Path)+"/" != c.Path {
		l.fault(l.at("path"), "%s is no plain path; write one such as /socket.io/, of letters, digits and -._~ with single slashes between them", quote(c.Path))
	}
}

// isOddInPath reports whether a character would stand escaped in a URL's path, or mean something to the router.
func isOddInPath(c rune) bool {
	return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("/-._~!$&'()+,;=:@", c)
}

func (l *loader) validateNATS(c *Config) {
	if _, err := subjects.NewPrefix(c.NATS.Prefix); err != nil {
		l.fault(l.at("nats.prefix"), "%v; write tokens of letters and digits with dots between them, such as sio or prod.sio", err)
	}
	l.choice("nats.refuse_sessions", c.NATS.RefuseSessions, bus.RefuseAuto, bus.RefuseOn, bus.RefuseOff)
	if open := slices.Sorted(maps.Keys(openOnes(c.Namespaces))); c.NATS.RefuseSessions == bus.RefuseOn && len(open) > 0 {
		l.warnings = append(l.warnings, "nats.refuse_sessions: on does nothing here: clients of "+open[0]+" (connect: open) can be served without NATS")
	}
	if l.flavour == FlavourEmbedded {
		if dir := c.Embedded.JetStream.Dir; dir != "" {
			if info, err := os.Stat(dir); err == nil && !info.IsDir() {
				l.fault(l.at("embedded.jetstream.dir"), "%s is a file; name a folder", quote(dir))
			}
		}
		return
	}
	if strings.TrimSpace(c.NATS.URL) == "" {
		l.fault(l.at("nats.url"), "is empty; write the servers' URLs, such as nats://nats:4222")
	} else {
		shown := strings.Split(redact.URLs(c.NATS.URL), ",")
		for i, server := range strings.Split(c.NATS.URL, ",") {
			if problem := badNATSURL(strings.TrimSpace(server)); problem != "" {
				l.fault(l.at("nats.url"), "%s %s", quote(shown[i]), problem)
			}
		}
	}
	var ways []string
	for _, way := range []struct{ name, value string }{
		{"nats.creds", c.NATS.Creds}, {"nats.nkey", c.NATS.NKey}, {"nats.token", c.NATS.Token},
	} {
		if way.value != "" {
			ways = append(ways, way.name)
		}
	}
	if len(ways) > 1 {
		l.fault(l.at(ways[len(ways)-1]), "%s are given; NATS takes one of them, remove the others", strings.Join(ways, " and "))
	}
	l.readable("nats.creds", c.NATS.Creds)
	l.readable("nats.nkey", c.NATS.NKey)
	l.validateTLS(c)
}

// openOnes are the namespaces that admit without a service.
func openOnes(namespaces map[string]edge.Namespace) map[string]edge.Namespace {
	open := maps.Clone(namespaces)
	maps.DeleteFunc(open, func(_ string, ns edge.Namespace) bool { return ns.Connect != edge.ConnectOpen })
	return open
}

func (l *loader) validateTLS(c *Config) {
	files := c.NATS.TLS
	if data, ok := l.readable("nats.tls.ca", files.CA); ok && !x509.NewCertPool().AppendCertsFromPEM(data) {
		l.fault(l.at("nats.tls.ca"), "%s holds no certificate in PEM form", quote(files.CA))
	}
	certificate, haveCertificate := l.readable("nats.tls.cert", files.Cert)
	key, haveKey := l.readable("nats.tls.key", files.Key)
	switch {
	case files.Cert != "" && files.Key == "":
		l.fault(l.at("nats.tls.cert"), "needs nats.tls.key, the file of its private key")
	case files.Key != "" && files.Cert == "":
		l.fault(l.at("nats.tls.key"), "needs nats.tls.cert, the file of its certificate")
	case haveCertificate && haveKey:
		if _, err := tls.X509KeyPair(certificate, key); err != nil {
			l.fault(l.at("nats.tls.cert"), "%s and %s are no pair of certificate and key: %v", quote(files.Cert), quote(files.Key), err)
		}
	}
}

// readable reads a file that a key names. ok is false if there is none or if it is at fault.
func (l *loader) readable(name, path string) (data []byte, ok bool) {
	if path == "" {
		return nil, false
	}
	data, err := os.ReadFile(path)
	if err != nil && isSecretItself(path) {
		l.fault(l.at(name), "looks like a secret itself; write it to a file that only this user can read, and name the file here")
		return nil, false
	}
	if err != nil {
		l.fault(l.at(name), "the file cannot be read: %v", err)
		return nil, false
	}
	return data, true
}

// isSecretItself reports whether a key that names a file seems to have what should be in the file: a PEM block, an nkey's seed, or a
// token such as a JWT. A fault must not repeat it.
func isSecretItself(value string) bool {
	return strings.Contains(value, "-----BEGIN") || len(value) >= 50 && !strings.ContainsAny(value, "/\\")
}

func badNATSURL(server string) string {
	const remedy = "; write nats://host:4222 (or tls://, ws://, wss://)"
	if !strings.Contains(server, "://") {
		server = "nats://" + server
	}
	u, err := url.Parse(server)
	switch {
	case err != nil: // the error would repeat the password
		return "is not a URL" + remedy + ", and special characters of user and password as %XX"
	case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
		return "has a scheme that NATS does not know" + remedy
	case strings.Contains(u.Path+u.RawQuery+u.Fragment, "@"): // else a part of the password would be the host's name
		return "has an @ behind its host; write / ? # and @ in a password as %2F %3F %23 and %40"
	case u.Hostname() == "":
		return "names no host" + remedy
	case strings.Contains(u.Hostname(), ":") && !strings.HasPrefix(u.Host, "["):
		return "has no good host" + remedy + ", and an IPv6 address in brackets"
	}
	return ""
}

func (l *loader) validateEngine(c *Config) {
	l.longEnough("engine.ping_interval", c.Engine.PingInterval)
	l.longEnough("engine.ping_timeout", c.Engine.PingTimeout)
	l.longEnough("engine.upgrade_timeout", c.Engine.UpgradeTimeout)
	l.longEnough("connect_timeout", c.ConnectTimeout)
	if size := c.Engine.MaxPayload; size < minPayload {
		l.fault(l.at("engine.max_payload"), "%d is too small; write at least %d bytes", size, minPayload)
	} else if l.flavour == FlavourEmbedded && size > EmbeddedMaxPayload {
		l.fault(l.at("engine.max_payload"), "%d is more than NATS can carry; write at most %d bytes", size, EmbeddedMaxPayload)
	}
	if len(c.Engine.Transports) == 0 {
		l.fault(l.at("engine.transports"), "is empty; write polling, websocket or both")
	}
	for i, transport := range c.Engine.Transports {
		l.choice("engine.transports", transport, "polling", "websocket")
		if slices.Contains(c.Engine.Transports[:i], transport) {
			l.fault(l.at("engine.transports"), "%s is listed twice; remove one", quote(transport))
		}
	}
}

// atLeast tells of a number that is too small.
func (l *loader) atLeast(name string, value, least int) {
	if value < least {
		l.fault(l.at(name), "%d is too small; write at least %d", value, least)
	}
}

// longEnough refuses what clients could not be told: the protocol counts milliseconds.
func (l *loader) longEnough(name string, d time.Duration) {
	if d < time.Millisecond {
		l.fault(l.at(name), "%s is too short; write at least 1ms", d)
	}
}

func (l *loader) notNegative(name string, n int) {
	if n < 0 {
		l.fault(l.at(name), "%d is negative; write 0 for no limit", n)
	}
}

func (l *loader) choice(name, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		l.fault(l.at(name), "%s is not one of %s%s", quote(value), strings.Join(allowed, ", "), didYouMean(value, allowed))
	}
}

// isToken tells whether s may stand as a cookie's name (RFC 6265: a token of HTTP), or is empty.
func isToken(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
	})
}
