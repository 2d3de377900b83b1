package origin

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Peer is the sender of a request, behind trusted proxies.
type Peer struct {
	Address string // IP address
	Host    string // the Host that the client asked for, with or without a port
	Port    string // the port that a trusted proxy reports where Host has none; otherwise ""
	Scheme  string // "https" or "http" where the edge knows it, by its own TLS or from a trusted proxy; otherwise ""
}

// Secure reports whether the client is known to use TLS.
func (p Peer) Secure() bool { return p.Scheme == "https" }

// Proxies are ranges of addresses of trusted proxies.
type Proxies []netip.Prefix

// Peer returns the sender of a request. The headers X-Forwarded-… and Forwarded count only if a trusted proxy set
// them. Of the two kinds X-Forwarded-… wins, header by header: proxies that set it commonly pass on a client's
// Forwarded.
func (proxies Proxies) Peer(r *http.Request) Peer {
	p := Peer{Address: RemoteIP(r.RemoteAddr), Host: r.Host}
	if r.TLS != nil {
		p.Scheme = "https"
	}
	if !proxies.contain(p.Address) {
		return p
	}
	chain := parseForwarded(r.Header["Forwarded"])
	if lines := r.Header["X-Forwarded-For"]; lines != nil {
		p.Address, _ = proxies.client(p.Address, strings.Split(strings.Join(lines, ","), ","))
	} else if chain != nil {
		nodes := make([]string, len(chain))
		for i, hop := range chain {
			nodes[i] = hop.node
		}
		var at int
		p.Address, at = proxies.client(p.Address, nodes)
		// The hop that saw the client, then those nearer to this edge, then those that the client may have invented.
		chain = slices.Concat(chain[at:], chain[:at])
	}
	var forwarded hop
	for _, h := range chain {
		forwarded.host = cmp.Or(forwarded.host, h.host)
		forwarded.proto = cmp.Or(forwarded.proto, schemeOf(h.proto))
	}
	p.Host = cmp.Or(firstOf(r.Header.Get("X-Forwarded-Host")), forwarded.host, p.Host)
	p.Scheme = cmp.Or(schemeOf(firstOf(r.Header.Get("X-Forwarded-Proto"))), forwarded.proto, p.Scheme)
	if _, port, ok := splitHost(p.Host); ok && port == "" {
		p.Port, _ = normalPort(firstOf(r.Header.Get("X-Forwarded-Port")))
	}
	return p
}

// client returns the first address that is not a trusted proxy's, from the nearest hop on, and the index of the last
// hop that a trusted proxy has written. A hop without an address ends the search: its sender is unknown, and the hops
// before it could be the client's invention. hops must not be empty.
func (proxies Proxies) client(nearest string, hops []string) (address string, at int) {
	address = nearest
	for at = len(hops) - 1; ; at-- {
		ip, ok := nodeAddress(hops[at])
		if !ok {
			return address, at
		}
		if address = ip.String(); at == 0 || !proxies.contain(address) {
			return address, at
		}
	}
}

// nodeAddress reads an address of X-Forwarded-For or Forwarded, which may have a port: 192.0.2.1, 192.0.2.1:4711,
// 2001:db8::1, [2001:db8::1], [2001:db8::1]:4711 (RFC 7239, section 6).
func nodeAddress(node string) (netip.Addr, bool) {
	node = strings.Trim(strings.TrimSpace(node), `"`)
	if inner, bracketed := strings.CutPrefix(node, "["); bracketed {
		node, _, _ = strings.Cut(inner, "]")
	} else if host, _, found := strings.Cut(node, ":"); found && strings.Count(node, ":") == 1 {
		node = host
	}
	ip, err := netip.ParseAddr(node)
	return ip.Unmap().WithZone(""), err == nil
}

// hop is an element of Forwarded, which one proxy has written.
type hop struct{ node, host, proto string }

var (
	// forwardedPart is a comma between two elements of Forwarded, or a pair of which the value may be a quoted string.
	forwardedPart = regexp.MustCompile(`,|([^=;,]*)=\s*("(?:[^"\\]|\\.)*"|[^;,]*)`)
	quotedPair    = regexp.MustCompile(`\\(.)`)
)

// parseForwarded reads Forwarded (RFC 7239, section 4): elements with commas between them, the nearest proxy's last,
// of pairs with semicolons. It returns nil if there is none.
func parseForwarded(lines []string) []hop {
	if len(lines) == 0 {
		return nil
	}
	hops := []hop{{}}
	for _, part := range forwardedPart.FindAllStringSubmatch(strings.Join(lines, ","), -1) {
		value := strings.TrimSpace(part[2])
		if inner, isQuoted := strings.CutPrefix(value, `"`); isQuoted {
			value = quotedPair.ReplaceAllString(strings.TrimSuffix(inner, `"`), "$1")
		}
		last := &hops[len(hops)-1]
		switch strings.ToLower(strings.TrimSpace(part[1])) {
		case "for":
			last.node = value
		case "host":
			last.host = value
		case "proto":
			last.proto = value
		}
		if part[0] == "," {
			hops = append(hops, hop{})
		}
	}
	return hops
}

// schemeOf returns http or https for a scheme that a proxy reports, and "" for any other.
func schemeOf(proto string) string {
	return webSchemes[strings.ToLower(proto)]
}

var webSchemes = map[string]string{"http": "http", "ws": "http", "https": "https", "wss": "https"}

// Sent reports whether the connection of a request comes from one of the proxies.
func (proxies Proxies) Sent(r *http.Request) bool { return proxies.contain(RemoteIP(r.RemoteAddr)) }

func (proxies Proxies) contain(address string) bool {
	ip, ok := nodeAddress(address)
	return ok && slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// IsForwarded reports whether a request has the headers of a proxy, or of a client that claims to be one.
func IsForwarded(h http.Header) bool {
	return h["Forwarded"] != nil || h["X-Forwarded-For"] != nil || h["X-Forwarded-Host"] != nil || h["X-Forwarded-Proto"] != nil
}

// RemoteIP returns the address part of host:port.
func RemoteIP(hostport string) string {
	host, _, _ := net.SplitHostPort(hostport)
	return cmp.Or(host, hostport) // connections in memory have no port
}

// firstOf returns the first element of a list with commas.
func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(first)
}
