package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/text/encoding/unicode"

	"partyline/wire/eio"
)

// isUpgrade reports whether a request asks for a WebSocket. A server without WebSockets takes an upgrade for a plain
// request, as Node does.
func (s *Server) isUpgrade(r *http.Request) bool {
	return websocket.IsWebSocketUpgrade(r) && slices.Contains(s.set.Transports, transportNames[kindWebSocket])
}

// WriteCORS adds the headers of cross-origin requests to a response, also to one that is not Engine.IO's.
func (s *Server) WriteCORS(w http.ResponseWriter, r *http.Request) {
	maps.Copy(w.Header(), s.origins.headers(originOf(r)))
}

// Refuse answers a request that was rejected in front of the server, as the server answers bad ones, and counts it
// with them.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, why eio.Refusal) {
	s.WriteCORS(w, r)
	s.refuse(w, why, s.isUpgrade(r))
}

// refuse answers a request that breaks the rules: JSON for plain HTTP, and for an upgrade a plain 400 with the message
// (engine.io, server.ts: abortRequest, abortUpgrade).
func (s *Server) refuse(w http.ResponseWriter, why eio.Refusal, isUpgrade bool) {
	s.stats.refused[why].Inc()
	if isUpgrade {
		refuseUpgrade(w, why.Message())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(why.Status())
	_, _ = w.Write(eio.AppendRefusal(nil, why))
}

// refuseUpgrade answers an upgrade with 400. CORS does not apply to it.
func refuseUpgrade(w http.ResponseWriter, message string) {
	clear(w.Header())
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Length", strconv.Itoa(len(message)))
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(message))
}

// withoutSessionID returns the header without the cookie that may carry the id of the browser's other session: an id
// lets its holder read and write the session, so it stays in the engine.
func (s *Server) withoutSessionID(h http.Header) http.Header {
	if s.set.Cookie == "" || h.Get("Cookie") == "" {
		return h
	}
	h = h.Clone()
	kept := slices.DeleteFunc(strings.Split(strings.Join(h["Cookie"], "; "), ";"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return strings.TrimSpace(name) == s.set.Cookie
	})
	if h.Del("Cookie"); len(kept) > 0 {
		h.Set("Cookie", strings.TrimSpace(strings.Join(kept, ";")))
	}
	return h
}

// randomPart returns the part of an id that cannot be guessed: 20 base64url characters, 120 random bits.
func randomPart() string {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// last returns the value that counts when a query names a key twice, as in the reference.
func last(q url.Values, key string) string {
	if v := q[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// parseQuery reads the query of a request line as the reference server does, with the URLSearchParams of the URL
// standard: only "&" separates, "+" is a blank, an invalid escape stays as it is, and what is not UTF-8 becomes
// U+FFFD. (url.ParseQuery drops such pairs, and those with a semicolon.)
func parseQuery(raw string) url.Values {
	raw, _, _ = strings.Cut(raw, "#") // net/http leaves a fragment in the query
	values := url.Values{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = unescape(name)
		values[name] = append(values[name], unescape(value))
	}
	return values
}

var escapePattern = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// unescape decodes a name or value of a query. What is not UTF-8 becomes U+FFFD: one for each maximal part of a
// character (Unicode, section 3.9), as browsers and Node.js do it.
func unescape(s string) string {
	s = escapePattern.ReplaceAllStringFunc(strings.ReplaceAll(s, "+", " "), func(escape string) string {
		c, _ := hex.DecodeString(escape[1:])
		return string(c)
	})
	if !utf8.ValidString(s) {
		s, _ = unicode.UTF8.NewDecoder().String(s)
	}
	return s
}

// subprotocol chooses the first of the WebSocket subprotocols that a request offers, as the reference does (ws,
// subprotocol.js and websocket-server.js): without a choice a browser closes the connection. It returns "" if the
// request offers none, and false if the header breaks RFC 6455, section 4.1.
func subprotocol(h http.Header) (chosen string, ok bool) {
	lines, offered := h["Sec-Websocket-Protocol"]
	if !offered {
		return "", true
	}
	var names []string
	for name := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name = strings.Trim(name, " \t")
		// A name is a token of HTTP, like the name of a header.
		if !httpguts.ValidHeaderFieldName(name) || slices.Contains(names, name) {
			return "", false
		}
		names = append(names, name)
	}
	return names[0], true
}

// Peer is the sender of a request, behind trusted proxies.
type Peer struct {
	Address string // IP address
	Host    string // the Host that the client asked for, with or without a port
	Port    string // the port that a trusted proxy reports where Host has none; otherwise ""
	Scheme  string // "https" or "http" where the edge knows it, by its own TLS or from a trusted proxy; otherwise ""
}

// Secure reports whether the client is known to use TLS.
func (p Peer) Secure() bool { return p.Scheme == "https" }

type peerKey struct{}

// WithPeer returns r with the client that another edge, which has passed the request on, has seen. It replaces
// everything in the request itself about its sender.
func WithPeer(r *http.Request, p Peer) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), peerKey{}, p))
}

// Peer returns the sender of a request. The headers X-Forwarded-… and Forwarded count only if a trusted proxy set
// them. Of the two kinds X-Forwarded-… wins, header by header: proxies that set it commonly pass on a client's
// Forwarded.
func (s *Server) Peer(r *http.Request) Peer {
	if p, passedOn := r.Context().Value(peerKey{}).(Peer); passedOn {
		return p
	}
	p := Peer{Address: remoteIP(r.RemoteAddr), Host: r.Host}
	if r.TLS != nil {
		p.Scheme = "https"
	}
	if !s.trusted(p.Address) {
		return p
	}
	chain := parseForwarded(r.Header["Forwarded"])
	if lines := r.Header["X-Forwarded-For"]; lines != nil {
		p.Address, _ = s.client(p.Address, strings.Split(strings.Join(lines, ","), ","))
	} else if chain != nil {
		nodes := make([]string, len(chain))
		for i, hop := range chain {
			nodes[i] = hop.node
		}
		var at int
		p.Address, at = s.client(p.Address, nodes)
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
func (s *Server) client(nearest string, hops []string) (address string, at int) {
	address = nearest
	for at = len(hops) - 1; ; at-- {
		ip, ok := nodeAddress(hops[at])
		if !ok {
			return address, at
		}
		if address = ip.String(); at == 0 || !s.trusted(address) {
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

// FromTrustedProxy reports whether the connection of a request comes from one of the trusted proxies' addresses.
func (s *Server) FromTrustedProxy(r *http.Request) bool { return s.trusted(remoteIP(r.RemoteAddr)) }

func (s *Server) trusted(address string) bool {
	ip, ok := nodeAddress(address)
	return ok && slices.ContainsFunc(s.set.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// hasForwardedHeaders reports whether a request has the headers of a proxy, or of a client that claims to be one.
func hasForwardedHeaders(h http.Header) bool {
	return h["Forwarded"] != nil || h["X-Forwarded-For"] != nil || h["X-Forwarded-Host"] != nil || h["X-Forwarded-Proto"] != nil
}

// remoteIP returns the address part of host:port.
func remoteIP(hostport string) string {
	host, _, _ := net.SplitHostPort(hostport)
	return cmp.Or(host, hostport) // connections in memory have no port
}

// firstOf returns the first element of a list with commas.
func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(first)
}
