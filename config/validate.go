package config

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"partyline/bus"
	"partyline/edge"
	"partyline/internal/redact"
)

// EmbeddedMaxPayload is the largest engine.max_payload with NATS inside: nats-server takes messages of 64 MiB at the
// most, and an event needs room for its headers.
const EmbeddedMaxPayload = 64<<20 - 64<<10

// validate checks what depends on more than one key, or on the program.
func (l *loader) validate(c *Config) {
	l.validateListening(c)
	if c.Advertise != "" && c.Edges.Secret == "" && len(c.TrustedProxies) == 0 {
		l.warn("advertise: without edges.secret, this edge takes what others pass on only from addresses in trusted_proxies, " +
			"and there are none; set edges.secret, the same on every edge")
	}
	if slices.Contains(c.CORS.Origins, "null") {
		l.warn("cors.origins: \"null\" allows the pages of everybody: any page can open a sandboxed frame, whose origin it is")
	}
	if c.NATS.RefuseSessions == bus.RefuseOn {
		for _, name := range slices.Sorted(maps.Keys(c.Namespaces)) {
			if c.Namespaces[name].Connect == edge.ConnectOpen {
				l.warn("nats.refuse_sessions: on does nothing here: clients of %s (connect: open) can be served without NATS", name)
				break
			}
		}
	}
	if l.flavour == FlavourEdge {
		l.validateNATS(c.NATS)
	} else if size := c.Engine.MaxPayload; size > EmbeddedMaxPayload {
		l.fault(l.at("engine.max_payload"), "%d is more than NATS can carry; write at most %d bytes", size, EmbeddedMaxPayload)
	}
	if least := max(c.Limits.QueueBytes, 2*min(c.Engine.MaxPayload, EmbeddedMaxPayload)); c.Limits.SessionBytes < least {
		l.fault(l.at("limits.session_bytes"), "%d is less than limits.queue_bytes (%d) or twice engine.max_payload (%d); write at least %d",
			c.Limits.SessionBytes, c.Limits.QueueBytes, c.Engine.MaxPayload, least)
	}
	if len(c.Engine.Transports) == 0 {
		l.fault(l.at("engine.transports"), "is empty; write polling, websocket or both")
	}
	for i, transport := range c.Engine.Transports {
		if slices.Contains(c.Engine.Transports[:i], transport) {
			l.fault(l.at("engine.transports"), "%s is listed twice; remove one", quote(transport))
		}
	}
}

// validateListening compares the addresses that the program listens on.
func (l *loader) validateListening(c *Config) {
	listeners := []struct{ name, address string }{{"listen", c.Listen}, {"admin.listen", c.Admin.Listen}, {"embedded.listen", c.Embedded.Listen}}
	for i, a := range listeners {
		if _, problem := listenAddress(a.address); problem != "" {
			continue // it has its fault, or the program has no NATS inside
		}
		host, port, _ := net.SplitHostPort(a.address)
		for _, b := range listeners[:i] {
			if otherHost, otherPort, err := net.SplitHostPort(b.address); err == nil && port == otherPort && port != "0" &&
				(host == otherHost || host == "" || otherHost == "") {
				l.fault(l.at(a.name), "%s is the same port as %s (%s); choose another", quote(a.address), b.name, b.address)
			}
		}
		switch {
		case a.name == "admin.listen" || isLoopback(host):
		case c.Open:
			l.fault(l.at(a.name), "%s is not a loopback address, and without a `namespaces` section everything is open to everyone; "+
				"declare namespaces in the file (or %s), or listen on 127.0.0.1", quoteURL(a.address), namespacesEnv)
		case a.name == "embedded.listen":
			l.warn("embedded.listen: %s is not a loopback address: whoever reaches it can publish and read everything, the NATS inside asks for no credentials", a.address)
		}
	}
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// validateNATS checks how to reach a NATS that is elsewhere.
func (l *loader) validateNATS(c bus.Config) {
	if strings.TrimSpace(c.URL) == "" {
		l.fault(l.at("nats.url"), "is empty; write the servers' URLs, such as nats://nats:4222")
	} else {
		shown := strings.Split(redact.URLs(c.URL), ",")
		for i, server := range strings.Split(c.URL, ",") {
			if problem := badNATSURL(strings.TrimSpace(server)); problem != "" {
				l.fault(l.at("nats.url"), "%s %s", quote(shown[i]), problem)
			}
		}
	}
	var ways []string
	for _, way := range []struct{ name, value string }{{"nats.creds", c.Creds}, {"nats.nkey", c.NKey}, {"nats.token", c.Token}} {
		if way.value != "" {
			ways = append(ways, way.name)
		}
	}
	if len(ways) > 1 {
		l.fault(l.at(ways[len(ways)-1]), "%s are given; NATS takes one of them, remove the others", strings.Join(ways, " and "))
	}
	certificate, key := c.TLS.Cert, c.TLS.Key
	switch {
	case certificate != "" && key == "":
		l.fault(l.at("nats.tls.cert"), "needs nats.tls.key, the file of its private key")
	case key != "" && certificate == "":
		l.fault(l.at("nats.tls.key"), "needs nats.tls.cert, the file of its certificate")
	case certificate != "":
		var unreadable *fs.PathError // it has its own fault
		if _, err := tls.LoadX509KeyPair(certificate, key); err != nil && !errors.As(err, &unreadable) {
			l.fault(l.at("nats.tls.cert"), "%s and %s are no pair of certificate and key: %v", quote(certificate), quote(key), err)
		}
	}
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
