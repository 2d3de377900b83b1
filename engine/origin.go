package engine

import (
	"log/slog"
	"net/http"
	"strings"

	"partyline/internal/throttle"
)

// maxLoggedOrigin is how many bytes of a refused origin are logged.
const maxLoggedOrigin = 200

// origins decides which pages may connect, and makes the CORS headers for their browsers (reference: npm package
// cors).
type origins struct {
	configured  bool // there is an entry
	any         bool
	allowed     map[string]bool // normal forms
	patterns    []origin
	credentials bool
	complaints  *throttle.Logger
}

// newOrigins ignores entries that ParseOrigin refuses.
func newOrigins(entries []string, credentials bool, log *slog.Logger) *origins {
	o := &origins{
		configured: len(entries) > 0, allowed: make(map[string]bool), credentials: credentials,
		complaints: throttle.New(log),
	}
	for _, entry := range entries {
		normal, err := ParseOrigin(entry)
		if err != nil {
			continue
		}
		parsed, _ := parseOrigin(normal)
		switch {
		case normal == "*":
			o.any = true
		case parsed.isPattern():
			o.patterns = append(o.patterns, parsed)
		default:
			o.allowed[normal] = true
		}
	}
	return o
}

// originOf returns the Origin of a request, "" if it has none. Two of them are joined, as in the reference, and match
// nothing.
func originOf(r *http.Request) string { return strings.Join(r.Header["Origin"], ", ") }

// headers returns the CORS headers of the response to a request with an Origin.
func (o *origins) headers(origin string) http.Header {
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
func (o *origins) listed(text string) bool {
	if text == "" || o.any {
		return text != ""
	}
	parsed, ok := parseOrigin(text)
	if !ok || parsed.isPattern() {
		return false
	}
	if o.allowed[parsed.String()] {
		return true
	}
	for _, pattern := range o.patterns {
		if pattern.matches(parsed) {
			return true
		}
	}
	return false
}

// check reports whether the page or program that sent a request with an Origin may connect. A request without one
// comes from no page.
func (o *origins) check(text string, p Peer) bool {
	if text == "" || o.listed(text) {
		return true
	}
	parsed, ok := parseOrigin(text)
	return ok && parsed.ofWeb() && sameHost(parsed, p) && sameScheme(parsed, p)
}

// sameHost reports whether an origin is at the host and port that the client asked for. A Host without a port means
// the origin's default, or the port that a trusted proxy names.
func sameHost(o origin, p Peer) bool {
	host, port, ok := splitHost(p.Host)
	if !ok || host != o.host || o.isPattern() {
		return false
	}
	if port == defaultPort(o.scheme) {
		port = ""
	}
	return port == o.port || port == "" && p.Port != "" && p.Port == o.port
}

// sameScheme reports whether an origin has the scheme that the client used, or the edge does not know that scheme: it
// does not behind a proxy that is not trusted, which may have ended TLS.
func sameScheme(o origin, p Peer) bool { return p.Scheme == "" || p.Scheme == schemeOf(o.scheme) }

// logRefused logs a refused request with the setting that would help, once a minute for each origin. isProxied means
// that the request has the headers of a proxy that is not trusted, which is at the address from.
func (o *origins) logRefused(text string, p Peer, isProxied bool, from string) {
	text = text[:min(len(text), maxLoggedOrigin)]
	parsed, ok := parseOrigin(text)
	host, _, _ := splitHost(p.Host)
	what, args := "refused a page of another origin; to allow it, list it in cors.origins", []any{"origin", text, "host", p.Host}
	switch {
	case text == noOrigin: // of a file, or in a sandboxed frame, which any page can make
		what = "refused a page without an origin; serve it over HTTP, or list \"null\" in cors.origins, which any page can get by a sandboxed frame"
	case !ok:
		what = "refused a request whose Origin is none; only cors.origins \"*\" allows it"
	case isProxied:
		what = "refused a page of another origin; if it is this edge's own, list the address of the proxy in trusted_proxies, " +
			"otherwise the origin in cors.origins"
		args = append(args, "proxy", from)
	case parsed.ofWeb() && sameHost(parsed, p):
		what = "refused a page of this host, because it was not loaded over the scheme that the client used for this request; " +
			"let the proxy send the client's in X-Forwarded-Proto, or list the origin in cors.origins"
		args = append(args, "scheme", p.Scheme)
	case parsed.ofWeb() && parsed.host == host:
		what = "refused a page of this host at another port; if a proxy is between, let it send the Host with its port " +
			"(nginx: proxy_set_header Host $http_host), otherwise list the origin in cors.origins"
	}
	o.complaints.Log(slog.LevelWarn, what, text, "", args...)
}

// preflight answers OPTIONS.
func (o *origins) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
	h.Add("Vary", "Access-Control-Request-Headers")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusNoContent)
}
