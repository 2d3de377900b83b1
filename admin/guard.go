package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"partyline/internal/tally"
	"partyline/internal/throttle"
)

// maxLoggedHost is how many bytes of a refused Host are logged.
const maxLoggedHost = 200

// openPages answer without the token: probes of an orchestrator or a balancer have no place for a secret.
var openPages = []string{"/healthz", "/readyz"}

// guard decides who gets the pages. A request with the token gets all of them. Any other request must name a host that
// no web page of a stranger can have: a page can make its own name resolve to this machine (DNS rebinding), and then
// reads what is here as if it were its own.
type guard struct {
	pages      http.Handler
	token      string   // "": none is needed
	hosts      []string // allowed names, as hostOf returns them
	complaints *throttle.Logger

	badHost, badToken, crossSite tally.Counter
}

// newGuard makes the guard of the pages. hosts may have ports, which do not count, and be empty.
func newGuard(pages http.Handler, token string, hosts []string, log *slog.Logger) *guard {
	g := &guard{pages: pages, token: token, complaints: throttle.New(log)}
	for _, host := range hosts {
		if host != "" {
			g.hosts = append(g.hosts, hostOf(host))
		}
	}
	return g
}

// ServeHTTP passes a request on to the pages, or refuses it.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	hasToken := g.token != "" && isBearer(r.Header, g.token)
	switch {
	case !hasToken && !g.allows(r.Host):
		g.badHost.Inc()
		host := r.Host[:min(len(r.Host), maxLoggedHost)]
		g.complaints.Log(slog.LevelWarn, "refused a request to the operator's pages, whose Host is a name that is not listed; "+
			"if it is a name of this machine, list it in admin.hosts", host, "", "host", host, "from", r.RemoteAddr)
		writeText(w, http.StatusForbidden, "this name is not in admin.hosts: use an IP address or localhost, or list the name")
	case isCrossSite(r.Header):
		g.crossSite.Inc()
		writeText(w, http.StatusForbidden, "this is not for pages of other sites")
	case g.token != "" && !hasToken && !slices.Contains(openPages, r.URL.Path):
		g.badToken.Inc()
		h.Set("WWW-Authenticate", `Bearer realm="partyline"`)
		writeText(w, http.StatusUnauthorized, "send admin.token in the header Authorization: Bearer <token>")
	default:
		g.pages.ServeHTTP(w, r)
	}
}

// isBearer reports whether a request has the token. That takes the same time whatever it sends.
func isBearer(h http.Header, token string) bool {
	scheme, sent, _ := strings.Cut(h.Get("Authorization"), " ")
	got, want := sha256.Sum256([]byte(strings.TrimSpace(sent))), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// allows reports whether a Host is an IP address, localhost or listed. Programs that speak HTTP/1.0 may send none;
// browsers always do.
func (g *guard) allows(host string) bool {
	name := hostOf(host)
	_, err := netip.ParseAddr(name)
	return host == "" || err == nil || name == "localhost" || slices.Contains(g.hosts, name)
}

// hostOf returns a Host without its port and the brackets of an IPv6 address, in lower case.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// isCrossSite reports whether a page of another site has made a browser send the request without going to the page. It
// could not read the answer, but a profile costs time.
func isCrossSite(h http.Header) bool {
	return h.Get("Sec-Fetch-Site") == "cross-site" && h.Get("Sec-Fetch-Mode") != "navigate"
}

// metrics returns what the guard counts.
func (g *guard) metrics() *tally.Set {
	set := &tally.Set{}
	const name, help = "admin_refused_total", "Requests to the operator's pages that were refused, by what was wrong."
	set.LabelledCounter(&g.badHost, name, help, "reason", "host")
	set.LabelledCounter(&g.badToken, name, help, "reason", "token")
	set.LabelledCounter(&g.crossSite, name, help, "reason", "cross-site")
	return set
}
