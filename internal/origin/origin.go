// Package origin finds where a request comes from: its sender, behind trusted proxies, and the origin of its page,
// which may connect or not.
package origin

import (
	"errors"
	"net/http"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Policy decides which pages may connect, and makes the CORS headers for their browsers (reference: npm package cors).
// It is static.
type Policy struct {
	configured  bool // there is an entry
	any         bool
	allowed     []origin
	credentials bool
}

// NewPolicy makes the policy of entries, with credentials in CORS or without. It ignores entries that Parse refuses.
func NewPolicy(entries []string, credentials bool) *Policy {
	o := &Policy{configured: len(entries) > 0, any: slices.Contains(entries, "*"), credentials: credentials}
	for _, entry := range entries {
		if normal, err := Parse(entry); err == nil && normal != "*" {
			parsed, _ := parseOrigin(normal)
			o.allowed = append(o.allowed, parsed)
		}
	}
	return o
}

// Of returns the Origin of a request, "" if it has none. Two of them are joined, as in the reference, and match
// nothing.
func Of(r *http.Request) string { return strings.Join(r.Header["Origin"], ", ") }

// Headers returns the CORS headers of the response to a request with an Origin.
func (o *Policy) Headers(origin string) http.Header {
	if !o.configured {
		return nil
	}
	h := http.Header{"Vary": {"Origin"}}
	switch {
	case o.any && !o.credentials:
		h = http.Header{"Access-Control-Allow-Origin": {"*"}}
	case o.listed(origin):
		h.Set("Access-Control-Allow-Origin", origin)
	}
	if o.credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	return h
}

// listed reports whether the configuration allows an Origin.
func (o *Policy) listed(text string) bool {
	if text == "" || o.any {
		return text != ""
	}
	parsed, ok := parseOrigin(text)
	return ok && !parsed.isPattern() && slices.ContainsFunc(o.allowed, func(a origin) bool { return a.matches(parsed) })
}

// Allows reports whether the page or program that sent a request with an Origin may connect. A request without one
// comes from no page.
func (o *Policy) Allows(text string, p Peer) bool {
	if text == "" || o.listed(text) {
		return true
	}
	parsed, ok := parseOrigin(text)
	// An edge does not know the client's scheme behind a proxy that is not trusted, which may have ended TLS.
	isSameScheme := p.Scheme == "" || p.Scheme == schemeOf(parsed.scheme)
	return ok && parsed.ofWeb() && isSameScheme && sameHost(parsed, p)
}

// sameHost reports whether an origin is at the host and port that the client asked for. A Host without a port means
// the origin's default, or the port that a trusted proxy names.
func sameHost(o origin, p Peer) bool {
	host, port, ok := splitHost(p.Host)
	if !ok || host != o.host || o.isPattern() {
		return false
	}
	if port == defaultPorts[schemeOf(o.scheme)] {
		port = ""
	}
	return port == o.port || port == "" && p.Port != "" && p.Port == o.port
}

// Remedy returns a line for the log about a refused Origin, with the setting that would help, and its attributes.
// proxy is the address of the proxy that is not trusted, if the request has the headers of one, otherwise "".
func Remedy(text string, p Peer, proxy string) (line string, args []any) {
	parsed, ok := parseOrigin(text)
	host, _, _ := splitHost(p.Host)
	line, args = "refused a page of another origin; to allow it, list it in cors.origins", []any{"origin", text, "host", p.Host}
	switch {
	case text == noOrigin: // of a file, or in a sandboxed frame, which any page can make
		line = "refused a page without an origin; serve it over HTTP, or list \"null\" in cors.origins, which any page can get by a sandboxed frame"
	case !ok:
		line = "refused a request whose Origin is none; only cors.origins \"*\" allows it"
	case proxy != "":
		line = "refused a page of another origin; if it is this edge's own, list the address of the proxy in trusted_proxies, " +
			"otherwise the origin in cors.origins"
		args = append(args, "proxy", proxy)
	case parsed.ofWeb() && sameHost(parsed, p):
		line = "refused a page of this host, because it was not loaded over the scheme that the client used for this request; " +
			"let the proxy send the client's in X-Forwarded-Proto, or list the origin in cors.origins"
		args = append(args, "scheme", p.Scheme)
	case parsed.ofWeb() && parsed.host == host:
		line = "refused a page of this host at another port; if a proxy is between, let it send the Host with its port " +
			"(nginx: proxy_set_header Host $http_host), otherwise list the origin in cors.origins"
	}
	return line, args
}

// Preflight answers OPTIONS, if an origin is configured, and reports whether it has.
func (o *Policy) Preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions || !o.configured {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
	h.Add("Vary", "Access-Control-Request-Headers")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// noOrigin is the Origin of a page that has none: of a file, or in a sandboxed frame.
const noOrigin = "null"

// Parse checks an entry of a policy and returns its normal form: an origin as clients send it, in lower
// case, without the scheme's default port, an internationalised name as xn--…; or a pattern of origins. In a pattern,
// * in a host matches one or more characters of one label, and * as the port matches any port. The error is a phrase
// for people, and the entry goes in front of it.
func Parse(entry string) (string, error) {
	if entry == "*" {
		return entry, nil
	}
	o, ok := parseOrigin(entry)
	if !ok {
		return "", errors.New("is not an origin; write scheme://host or scheme://host:port as clients send it, such as " +
			"https://app.example, a pattern such as https://*.app.example, or * for any")
	}
	if !o.isPattern() {
		return o.String(), nil
	}
	star := strings.LastIndexByte(o.host, '*')
	labels, fixed := strings.Split(o.host, "."), strings.Count(o.host[star+1:], ".") // fixed labels at the end have no *
	last, starred := labels[len(labels)-1], labels[max(0, len(labels)-1-fixed)]
	switch {
	case !o.ofWeb() || star < 0:
	case fixed == 0:
		return "", errors.New("is a pattern whose last part could be anybody's; write the end of the host without a *, " +
			"such as https://*.app.example, or * for any origin")
	case fixed == 1 && starred != "*":
		return "", errors.New("is a pattern that also matches hosts of others; write " + o.scheme + "://*." + strings.TrimLeft(starred, "*") +
			"." + last)
	case fixed == 1 && !slices.Contains(privateDomains, last):
		return "", errors.New("is a pattern that matches anybody's domain; write at least two parts without a * at the end, " +
			"such as https://*.app.example, or * for any origin")
	}
	return o.String(), nil
}

// privateDomains are ends of names that cannot be registered (RFC 6761 and what is common).
var privateDomains = []string{"localhost", "local", "internal", "test", "example", "lan", "home"}

// origin is a parsed Origin: scheme://host:port.
type origin struct {
	scheme string // in lower case; noOrigin for the Origin of that name
	host   string // in lower case, ASCII; "" for file://
	port   string // "" for the scheme's default
}

// String returns the origin as clients send it.
func (o origin) String() string {
	if o.scheme == noOrigin {
		return noOrigin
	}
	text := o.scheme + "://" + o.host
	if o.port != "" {
		text += ":" + o.port
	}
	return text
}

// ofWeb reports whether the origin names a host of the network.
func (o origin) ofWeb() bool { return schemeOf(o.scheme) != "" }

func (o origin) isPattern() bool { return strings.Contains(o.host, "*") || o.port == "*" }

// matches reports whether an origin is o, or matches the pattern o.
func (o origin) matches(other origin) bool {
	if o == other {
		return true
	}
	if o.scheme != other.scheme || o.port != "*" && o.port != other.port {
		return false
	}
	labels, patterns := strings.Split(other.host, "."), strings.Split(o.host, ".")
	return slices.EqualFunc(patterns, labels, func(pattern, label string) bool {
		ok, err := path.Match(pattern, label) // of a host's characters only * is special
		return ok && err == nil && label != ""
	})
}

// parseOrigin parses an origin or a pattern of origins. A slash behind it is ignored, since some native clients send
// one.
func parseOrigin(s string) (origin, bool) {
	if strings.EqualFold(s, noOrigin) {
		return origin{scheme: noOrigin}, true
	}
	scheme, rest, found := strings.Cut(s, "://")
	host, port, ok := splitHost(strings.TrimSuffix(rest, "/"))
	o := origin{strings.ToLower(scheme), host, port}
	if !found || !ok || !schemePattern.MatchString(scheme) || host == "" && (o.ofWeb() || port != "") {
		return origin{}, false
	}
	if o.port == defaultPorts[schemeOf(o.scheme)] {
		o.port = ""
	}
	return o, true
}

// defaultPorts are the ports that URLs of a scheme omit.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// splitHost splits host:port and normalises both. port is "" if there is none.
func splitHost(s string) (host, port string, ok bool) {
	host = s
	if colon := strings.LastIndexByte(s, ':'); colon > strings.LastIndexByte(s, ']') {
		host, port = s[:colon], s[colon+1:]
	}
	if inner, isBracketed := strings.CutPrefix(host, "["); isBracketed {
		inner, ok = strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		host, ok = "["+ip.String()+"]", ok && err == nil && ip.Is6()
	} else {
		host, ok = normalHost(host)
	}
	if ok && port != "" && port != "*" {
		port, ok = normalPort(port)
	}
	return host, port, ok
}

// normalPort returns a port without leading zeros.
func normalPort(s string) (string, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return "", false
	}
	return strconv.FormatUint(n, 10), true
}

var (
	schemePattern = regexp.MustCompile(`^[A-Za-z0-9+.-]+$`)
	hostPattern   = regexp.MustCompile(`^[a-z0-9._*-]*$`)
)

// toASCII converts an internationalised name as browsers do.
var toASCII = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))

// normalHost returns a name in lower case, and as xn--… if it is an internationalised one.
func normalHost(s string) (string, bool) {
	if strings.IndexFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) >= 0 {
		var err error
		if s, err = toASCII.ToASCII(s); err != nil {
			return "", false
		}
	}
	s = strings.ToLower(s)
	return s, hostPattern.MatchString(s)
}
