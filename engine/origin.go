package engine

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"partyline/internal/throttle"
)

// Peer is who sent a request, behind trusted proxies.
type Peer struct {
	Address string // IP address
	Host    string // the Host that the client asked for
	Secure  bool   // over TLS
}

type peerKey struct{}

// WithPeer is r with the client that another edge, which has passed it on, has seen. It goes before all that the request
// itself says about its sender.
func WithPeer(r *http.Request, p Peer) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), peerKey{}, p))
}

// Peer reads who sent a request; X-Forwarded-… headers count only when a trusted proxy set them.
func (s *Server) Peer(r *http.Request) Peer {
	if p, passedOn := r.Context().Value(peerKey{}).(Peer); passedOn {
		return p
	}
	p := Peer{Address: remoteIP(r.RemoteAddr), Host: r.Host, Secure: r.TLS != nil}
	if !s.trusted(p.Address) {
		return p
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- { // from the nearest hop on, the first that is not ours
		hop := strings.TrimSpace(hops[i])
		if _, err := netip.ParseAddr(hop); err != nil {
			break
		}
		p.Address = hop
		if !s.trusted(hop) {
			break
		}
	}
	if host := firstOf(r.Header.Get("X-Forwarded-Host")); host != "" {
		p.Host = host
	}
	if proto := firstOf(r.Header.Get("X-Forwarded-Proto")); proto != "" {
		p.Secure = proto == "https" || proto == "wss"
	}
	return p
}

// FromTrustedProxy tells whether the connection of a request comes from one of the trusted proxies' addresses.
func (s *Server) FromTrustedProxy(r *http.Request) bool { return s.trusted(remoteIP(r.RemoteAddr)) }

func (s *Server) trusted(address string) bool {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(s.set.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
}

func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(first)
}

// origins decides which pages may connect, and speaks CORS to their browsers (reference: npm package cors).
type origins struct {
	allowed     []string
	any         bool
	credentials bool
	complaints  *throttle.Logger
}

func newOrigins(allowed []string, credentials bool, log *slog.Logger) *origins {
	return &origins{
		allowed: allowed, any: slices.Contains(allowed, "*"), credentials: credentials,
		complaints: throttle.New(log),
	}
}

func (o *origins) configured() bool { return len(o.allowed) > 0 }

// headers is what the answer to a request says to the browser about its origin.
func (o *origins) headers(origin string) http.Header {
	if !o.configured() {
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

func (o *origins) listed(origin string) bool {
	return origin != "" && (o.any || slices.Contains(o.allowed, origin))
}

// check says whether the page that sent a request may connect. A request without Origin comes from no page.
func (o *origins) check(origin string, p Peer) bool {
	if origin == "" || o.listed(origin) {
		return true
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && sameHost(u, p) {
		return true
	}
	what := "refused a page of another origin; to allow it, list it in cors.origins"
	if origin == "null" { // a page opened as a file, or in a sandbox: it has no name that could be listed
		what = "refused a page without an origin; serve it over HTTP, or allow any page with cors.origins \"*\""
	}
	o.complaints.Log(slog.LevelWarn, what, origin, "", "origin", origin, "host", p.Host)
	return false
}

// sameHost compares an origin with the host that the browser asked for; the default port may be left out.
func sameHost(origin *url.URL, p Peer) bool {
	if strings.EqualFold(origin.Host, p.Host) {
		return true
	}
	port := map[string]string{"http": "80", "https": "443"}[origin.Scheme]
	return port != "" && (strings.EqualFold(origin.Host+":"+port, p.Host) || strings.EqualFold(origin.Host, p.Host+":"+port))
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
