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
	"strconv"
	"strings"

	"partyline/cluster"
	"partyline/internal/natsconn"
	"partyline/internal/redact"
	"partyline/subjects"
	"partyline/wire/msg"
)

// EmbeddedMaxPayload is the largest engine.max_payload with NATS inside: nats-server takes messages of 64 MiB at the
// most, and an event needs room for its headers.
const EmbeddedMaxPayload = 64<<20 - 64<<10

// validate checks what depends on more than one key, or on the program.
func (l *loader) validate(c *Config) {
	if l.flavour == FlavourEmbedded {
		l.validateInside(c)
	}
	l.validateListening(c)
	if l.flavour != FlavourServer {
		l.validateNATS(c.NATS)
	}
	if l.flavour == FlavourEmbedded || l.flavour == FlavourGateway {
		l.validateWeb(c)
	}
	if l.flavour != FlavourGateway {
		l.validateEdge(c)
	}
}

// validateEdge checks what programs need that hold clients.
func (l *loader) validateEdge(c *Config) {
	l.validateTLS(c)
	l.validateEdges(c)
	l.validateReplies(c.NATS)
	l.validateRecovery(c)
	l.validateTokens(c)
	if slices.Contains(c.CORS.Origins, "null") {
		l.warn("cors.origins: \"null\" allows the pages of everybody: any page can open a sandboxed frame, whose origin it is")
	}
	refuses := c.NATS.RefuseSessions == natsconn.RefuseOn
	for _, name := range slices.Sorted(maps.Keys(c.Namespaces)) {
		if ns := c.Namespaces[name]; refuses && !ns.AsksService() {
			l.warn("nats.refuse_sessions: on does nothing here: clients of %s (connect: %s) can be served without NATS", name, ns.Connect)
			refuses = false // one line is enough
		}
		if n := c.Namespaces[name].EventsPerSecond; n > c.Limits.EventsPerSecond {
			l.warn("namespaces: %s: events_per_second: %d does nothing: limits.events_per_second allows a session %d in all namespaces together",
				quote(name), n, c.Limits.EventsPerSecond)
		}
	}
	if size := c.Engine.MaxPayload; l.flavour == FlavourEmbedded && size > EmbeddedMaxPayload {
		l.fault(l.at("engine.max_payload"), "%d is more than NATS can carry; write at most %d bytes", size, EmbeddedMaxPayload)
	}
	if least := max(c.Limits.QueueBytes, 2*min(c.Engine.MaxPayload, EmbeddedMaxPayload)); c.Limits.SessionBytes < least && least <= mostNumber {
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

// validateTLS checks what TLS for clients needs.
func (l *loader) validateTLS(c *Config) {
	l.validatePair("tls", c.TLS.Cert, c.TLS.Key)
	if c.TLS.Cert != "" && c.Advertise != "" && c.Edges.Listen == "" {
		l.fault(l.at("advertise"), "needs edges.listen with tls.cert: edges speak plain HTTP to each other, and cannot at `listen`; "+
			"write a private address there, and its port in advertise")
	}
}

// validateEdges checks how edges trust each other.
func (l *loader) validateEdges(c *Config) {
	const risk = "without it, anyone who may publish sio.$edge.> in NATS chooses where clients' requests and cookies go"
	if _, problem := edgeURL(c.Advertise); problem != "" {
		return // it has its fault
	}
	switch {
	case c.Edges.Secret != "" && c.Edges.Insecure:
		l.warn("edges.insecure: does nothing here, because there is edges.secret; remove it")
	case c.Advertise == "" || c.Edges.Secret != "":
	case !c.Edges.Insecure && l.flavour != FlavourEmbedded:
		l.fault(l.at("advertise"), "needs edges.secret, the same on every edge: %s; "+
			"set it (better as %s), or edges.insecure to go without", risk, Variable("edges.secret"))
	default:
		l.warn("advertise: there is no edges.secret: %s; what others pass on counts only from addresses in trusted_proxies", risk)
	}
	hostPort, _ := msg.EdgeHostPort(c.Advertise)
	host, _, _ := net.SplitHostPort(hostPort)
	if address, err := netip.ParseAddr(host); err == nil && !cluster.Within(c.EdgeRanges(), address) {
		l.fault(l.at("advertise"), "%s lies outside edges.networks, so other edges would ignore it; add its network there", quote(c.Advertise))
	}
}

// validateReplies checks that answers go elsewhere than to the edge's own subjects, and somewhere.
func (l *loader) validateReplies(c natsconn.Config) {
	prefix, err := subjects.NewPrefix(c.Prefix)
	if err != nil {
		return // it has its fault
	}
	if len(c.ReplyPrefixes) == 0 {
		l.fault(l.at("nats.reply_prefixes"), "is empty, so that no request could be answered; write _INBOX.>")
	}
	for _, one := range c.ReplyPrefixes {
		if _, problem := replyPrefix(one); problem != "" {
			continue // it has its fault
		}
		if _, err := subjects.NewReplies(prefix, []string{one}); err != nil {
			l.fault(l.at("nats.reply_prefixes"), "%v; services need an inbox prefix of their own", err)
		}
	}
}

// validateListening compares the addresses that the program listens on.
func (l *loader) validateListening(c *Config) {
	listeners := []struct{ name, address string }{
		{"listen", c.Listen}, {"admin.listen", c.Admin.Listen}, {"embedded.listen", c.Embedded.Listen}, {"edges.listen", c.Edges.Listen},
		{"gateway.listen", c.Gateway.Listen},
	}
	for i, a := range listeners {
		if _, problem := listenAddress(a.address); problem != "" {
			continue // it has its fault, or the program has no NATS inside
		}
		host, port, _ := net.SplitHostPort(a.address)
		for _, b := range listeners[:i] {
			if otherHost, otherPort, err := net.SplitHostPort(b.address); err == nil && port == otherPort && port != "0" &&
				overlap(host, otherHost) {
				l.fault(l.at(a.name), "%s is the same port as %s (%s); choose another", quote(a.address), b.name, b.address)
			}
		}
		switch {
		case isLoopback(host):
		case a.name == "admin.listen":
			if c.Admin.Token == "" && !c.Admin.Insecure {
				l.fault(l.at(a.name), "%s is not a loopback address, and the pages there ask for no token: anybody could read them and "+
					"drain this edge; set admin.token, listen on 127.0.0.1, or set admin.insecure if only the operator reaches that address", quote(a.address))
			}
		case c.Open:
			l.fault(l.at(a.name), "%s is not a loopback address, and without a `namespaces` section everything is open to everyone; "+
				"declare namespaces in the file (or %s), or listen on 127.0.0.1", quote(a.address), Variable(namespacesKey))
		case a.name == "gateway.listen" && l.flavour == FlavourEmbedded:
			l.fault(l.at(a.name), "%s is not a loopback address; run cmd/gateway to serve the HTTP API to others", quote(a.address))
		case a.name == "embedded.listen":
			l.warn("embedded.listen: %s is not a loopback address: whoever reaches it can publish and read everything, the NATS inside asks for no credentials", a.address)
		}
	}
}

// overlap reports whether two hosts to listen on, at the same port, exclude each other.
func overlap(a, b string) bool {
	addressA, _ := netip.ParseAddr(a)
	addressB, _ := netip.ParseAddr(b)
	isAll := func(host string, address netip.Addr) bool { return host == "" || address.IsUnspecified() }
	isName := func(host string) bool { return strings.EqualFold(host, "localhost") }
	return isAll(a, addressA) || isAll(b, addressB) || strings.EqualFold(a, b) ||
		addressA.IsValid() && addressA.Unmap() == addressB.Unmap() || isName(a) && isLoopback(b) || isName(b) && isLoopback(a)
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// validateNATS checks how to reach a NATS that is elsewhere.
func (l *loader) validateNATS(c natsconn.Config) {
	var ways []string
	if l.flavour != FlavourEmbedded && l.validateServers(c.URL) {
		ways = append(ways, "nats.url with a user or token")
	}
	last := "nats.url"
	for _, way := range []struct{ name, value string }{{"nats.creds", c.Creds}, {"nats.nkey", c.NKey}, {"nats.token", c.Token}} {
		if way.value != "" {
			ways, last = append(ways, way.name), way.name
		}
	}
	if len(ways) > 1 {
		l.fault(l.at(last), "%s are given; NATS takes one of them, remove the others", strings.Join(ways, " and "))
	}
	l.validatePair("nats.tls", c.TLS.Cert, c.TLS.Key)
}

// validatePair checks the files of a certificate and its key, which are the keys cert and key of a section.
func (l *loader) validatePair(section, certificate, key string) {
	switch {
	case certificate != "" && key == "":
		l.fault(l.at(section+".cert"), "needs %s.key, the file of its private key", section)
	case key != "" && certificate == "":
		l.fault(l.at(section+".key"), "needs %s.cert, the file of its certificate", section)
	case certificate != "":
		var unreadable *fs.PathError // it has its own fault
		if _, err := tls.LoadX509KeyPair(certificate, key); err != nil && !errors.As(err, &unreadable) {
			l.fault(l.at(section+".cert"), "%s and %s are no pair of certificate and key: %v", quote(certificate), quote(key), err)
		}
	}
}

// validateInside checks what describes the NATS inside, which a file of its own may describe instead.
func (l *loader) validateInside(c *Config) {
	if c.Embedded.ServerConfig == "" {
		for _, name := range []string{"nats.creds", "nats.nkey", "nats.token"} {
			if l.given[name].value != nil && l.given[name].value != "" {
				l.fault(l.at(name), "needs embedded.server_config: without it the NATS inside asks for no credentials; remove it")
			}
		}
		return
	}
	for _, name := range []string{"embedded.listen", "embedded.jetstream.dir"} {
		if l.given[name].value != nil && l.given[name].value != "" {
			l.fault(l.at(name), "does nothing beside embedded.server_config, whose file says it (listen, jetstream); remove one of them")
		}
	}
	c.Embedded.Listen = "" // the default
}

// validateServers checks nats.url, and reports whether a server has credentials in it.
func (l *loader) validateServers(list string) (withUser bool) {
	if strings.TrimSpace(list) == "" {
		l.fault(l.at("nats.url"), "is empty; write the servers' URLs, such as nats://nats:4222")
		return false
	}
	shown := strings.Split(redact.URLs(list), ",")
	kinds := map[bool]bool{} // whether servers are reached by WebSocket
	for i, server := range strings.Split(list, ",") {
		withUser = withUser || strings.Contains(server, "@")
		u, problem := natsURL(strings.TrimSpace(server))
		if problem != "" {
			l.fault(l.at("nats.url"), "%s %s", quote(shown[i]), problem)
			continue
		}
		kinds[strings.HasPrefix(u.Scheme, "ws")] = true
	}
	if len(kinds) > 1 {
		l.fault(l.at("nats.url"), "has servers with ws:// or wss:// and others; write all in one way")
	}
	return withUser
}

// natsURL reads the URL of a server as nats.go does, or says what is wrong with it.
func natsURL(server string) (u *url.URL, problem string) {
	const remedy = "; write nats://host:4222 (or tls://, ws://, wss://)"
	if !strings.Contains(server, "://") {
		server = "nats://" + server
	}
	u, err := url.Parse(server)
	switch {
	case err != nil: // the error would repeat the password
		return nil, "is not a URL" + remedy + ", and special characters of user and password as %XX"
	case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
		return nil, "has a scheme that NATS does not know" + remedy
	case strings.Contains(u.Path+u.RawQuery+u.Fragment, "@"): // else a part of the password would be the host's name
		return nil, "has an @ behind its host; write / ? # and @ in a password as %2F %3F %23 and %40"
	case u.Hostname() == "":
		return nil, "names no host" + remedy
	case strings.Contains(u.Hostname(), ":") && !strings.HasPrefix(u.Host, "["):
		return nil, "has no good host" + remedy + ", and an IPv6 address in brackets"
	case !isHost(u.Hostname(), strings.HasPrefix(u.Host, "[")):
		return nil, "has no good host" + remedy
	case u.Port() != "" && !isPort(u.Port()):
		return nil, "has no good port; write a number from 1 to 65535"
	}
	return u, ""
}

// isHost reports whether a dialer can take a host: an IP address or a name. inBrackets it must be an IPv6 address.
func isHost(host string, inBrackets bool) bool {
	address, err := netip.ParseAddr(host)
	if inBrackets {
		return err == nil && address.Is6()
	}
	return err == nil || host != "" && hostName.MatchString(host)
}

// isPort reports whether a port can be connected to.
func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
