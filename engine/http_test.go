package engine

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// ask sends one request to a server without a network and without a session.
func ask(t *testing.T, change func(*Settings), method, query string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	set := Settings{
		Config: DefaultConfig(), EdgeID: "edgeedge", Log: slog.New(slog.DiscardHandler),
		Handler: func(s *Session, _ *Opening) Receiver { return &recorder{session: s} },
	}
	if change != nil {
		change(&set)
	}
	s := NewServer(set)
	t.Cleanup(s.Abort)
	r := httptest.NewRequest(method, "http://chat.example/socket.io/?"+query, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

const pollingQuery = "EIO=4&transport=polling"

func TestRefusals(t *testing.T) {
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	for _, c := range []struct {
		name, method, query string
		header              []string
		status              int
		body                string
	}{
		{"no transport", "GET", "EIO=4", nil, 400, `{"code":0,"message":"Transport unknown"}`},
		{"unknown transport", "GET", "EIO=4&transport=webtransport", nil, 400, `{"code":0,"message":"Transport unknown"}`},
		{"unknown session", "GET", pollingQuery + "&sid=x", nil, 400, `{"code":1,"message":"Session ID unknown"}`},
		{"POST handshake", "POST", pollingQuery, nil, 400, `{"code":2,"message":"Bad handshake method"}`},
		{"OPTIONS without CORS", "OPTIONS", pollingQuery, nil, 400, `{"code":2,"message":"Bad handshake method"}`},
		{"WebSocket without upgrade", "GET", "EIO=4&transport=websocket", nil, 400, `{"code":3,"message":"Bad request"}`},
		{"foreign origin", "GET", pollingQuery, []string{"Origin", "https://evil.example"}, 403, `{"code":4,"message":"Forbidden"}`},
		{"old protocol", "GET", "EIO=3&transport=polling", nil, 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"no protocol", "GET", "transport=polling", nil, 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"foreign origin, upgrade", "GET", "EIO=4&transport=websocket", append([]string{"Origin", "null"}, upgrade...), 400, "Forbidden"},
		{"unknown session, upgrade", "GET", "EIO=4&transport=websocket&sid=x", upgrade, 400, "Session ID unknown"},
		{"old protocol, upgrade", "GET", "EIO=3&transport=websocket", upgrade, 400, "Unsupported protocol version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(t, nil, c.method, c.query, c.header...)
			if w.Code != c.status || w.Body.String() != c.body {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, c.status, c.body)
			}
		})
	}
}

func TestOrigins(t *testing.T) {
	list := func(origins ...string) func(*Settings) { return func(s *Settings) { s.Origins = origins } }
	for _, c := range []struct {
		name   string
		change func(*Settings)
		origin string
		want   int
		allow  string // Access-Control-Allow-Origin
	}{
		{"no page", nil, "", 200, ""},
		{"our own", nil, "http://chat.example", 200, ""},
		{"our own with the default port", nil, "https://chat.example:443", 200, ""},
		{"another port", nil, "http://chat.example:8080", 403, ""},
		{"another host", nil, "http://chat.example.evil", 403, ""},
		{"a file", nil, "null", 403, ""},
		{"listed", list("https://a.example"), "https://a.example", 200, "https://a.example"},
		{"not listed", list("https://a.example"), "https://b.example", 403, ""},
		{"our own beside a list", list("https://a.example"), "http://chat.example", 200, ""},
		{"any", list("*"), "https://b.example", 200, "*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var header []string
			if c.origin != "" {
				header = []string{"Origin", c.origin}
			}
			w := ask(t, c.change, "GET", pollingQuery, header...)
			if w.Code != c.want {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, c.want)
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != c.allow {
				t.Errorf("Access-Control-Allow-Origin: %q, want %q", got, c.allow)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	w := ask(t, func(s *Settings) { s.Origins, s.Credentials = []string{"https://a.example"}, true }, "OPTIONS", pollingQuery,
		"Origin", "https://a.example", "Access-Control-Request-Headers", "x-token")
	h := w.Header()
	if w.Code != 204 || h.Get("Access-Control-Allow-Origin") != "https://a.example" || h.Get("Access-Control-Allow-Credentials") != "true" ||
		h.Get("Access-Control-Allow-Headers") != "x-token" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("got %d %v", w.Code, h)
	}
}

func TestTheSessionCookieStaysHere(t *testing.T) {
	var seen http.Header
	change := func(s *Settings) {
		s.Cookie = "io"
		s.Handler = func(session *Session, o *Opening) Receiver {
			seen = o.Header
			return &recorder{session: session}
		}
	}
	w := ask(t, change, "GET", pollingQuery, "Cookie", "a=1; io=secret; b=2")
	if got := w.Header().Get("Set-Cookie"); !strings.HasPrefix(got, "io=edgeedge.") || !strings.HasSuffix(got, "; Path=/; HttpOnly; SameSite=Lax") {
		t.Errorf("Set-Cookie: %q", got)
	}
	if got := seen.Get("Cookie"); got != "a=1; b=2" {
		t.Errorf("services would receive the cookies %q", got)
	}
}

// The cookie of a client that came over TLS is for TLS only. Its other attributes are the reference's.
func TestTheCookieIsSecureOverTLS(t *testing.T) {
	const plain, secure = "; Path=/; HttpOnly; SameSite=Lax", "; Path=/; HttpOnly; Secure; SameSite=Lax"
	for _, c := range []struct {
		name    string
		trusted bool // the proxy
		tls     bool // the edge's own
		header  []string
		passed  *Peer // what another edge has seen
		want    string
	}{
		{"plain", false, false, nil, nil, plain},
		{"own TLS", false, true, nil, nil, secure},
		{"a trusted proxy", true, false, []string{"X-Forwarded-Proto", "https"}, nil, secure},
		{"a trusted proxy, WebSocket's scheme", true, false, []string{"X-Forwarded-Proto", "WSS"}, nil, secure},
		{"several proxies", true, false, []string{"X-Forwarded-Proto", "https, http"}, nil, secure},
		{"a trusted proxy, Forwarded", true, false, []string{"Forwarded", "for=192.0.2.9;proto=https"}, nil, secure},
		{"a trusted proxy, plain", true, false, []string{"X-Forwarded-Proto", "http"}, nil, plain},
		{"TLS between a trusted proxy and the edge alone", true, true, []string{"X-Forwarded-Proto", "http"}, nil, plain},
		{"anybody's header", false, false, []string{"X-Forwarded-Proto", "https", "Forwarded", "proto=https"}, nil, plain},
		{"another edge's client over TLS", false, false, nil, &Peer{Address: "192.0.2.9", Host: "h", Scheme: "https"}, secure},
		{"another edge's client", false, true, []string{"X-Forwarded-Proto", "https"}, &Peer{Address: "192.0.2.9", Host: "h"}, plain},
	} {
		set := Settings{
			Config: DefaultConfig(), EdgeID: "edgeedge", Cookie: "io", Log: slog.New(slog.DiscardHandler),
			Handler: func(s *Session, _ *Opening) Receiver { return &recorder{session: s} },
		}
		if c.trusted {
			set.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}
		s := NewServer(set)
		t.Cleanup(s.Abort)
		r := httptest.NewRequest("GET", "http://chat.example/socket.io/?"+pollingQuery, nil)
		for i := 0; i+1 < len(c.header); i += 2 {
			r.Header.Add(c.header[i], c.header[i+1])
		}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if c.passed != nil {
			r = WithPeer(r, *c.passed)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if got := w.Header().Get("Set-Cookie"); !strings.HasPrefix(got, "io=edgeedge.") || !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: Set-Cookie: %s, want …%s", c.name, got, c.want)
		}
	}
}

// A response that depends on the Origin says so, refusals and preflights, too.
func TestVary(t *testing.T) {
	const own, listed, evil = "http://chat.example", "https://a.example", "https://evil.example"
	for _, c := range []struct {
		name, method, query, origin string
		configured                  []string
		credentials                 bool
		want                        string
	}{
		{"not configured", "GET", pollingQuery, own, nil, false, ""},
		{"any", "GET", pollingQuery, evil, []string{"*"}, false, ""},
		{"any, with cookies", "GET", pollingQuery, evil, []string{"*"}, true, "Origin"},
		{"listed", "GET", pollingQuery, listed, []string{listed}, false, "Origin"},
		{"no origin", "GET", pollingQuery, "", []string{listed}, false, "Origin"},
		{"refused", "GET", pollingQuery, evil, []string{listed}, false, "Origin"},
		{"an error", "GET", "EIO=3&transport=polling", listed, []string{listed}, true, "Origin"},
		{"an unknown session", "GET", pollingQuery + "&sid=x", listed, []string{listed}, true, "Origin"},
		{"a preflight", "OPTIONS", pollingQuery, listed, []string{listed}, true, "Origin, Access-Control-Request-Headers"},
		{"a preflight, any", "OPTIONS", pollingQuery, listed, []string{"*"}, false, "Access-Control-Request-Headers"},
		{"a refused preflight", "OPTIONS", pollingQuery, evil, []string{listed}, true, "Origin"},
	} {
		var header []string
		if c.origin != "" {
			header = []string{"Origin", c.origin}
		}
		w := ask(t, func(s *Settings) { s.Origins, s.Credentials = c.configured, c.credentials }, c.method, c.query, header...)
		if got := strings.Join(w.Header()["Vary"], ", "); got != c.want {
			t.Errorf("%s: Vary: %q, want %q", c.name, got, c.want)
		}
		if got := w.Header().Get("Access-Control-Allow-Credentials") == "true"; got != c.credentials {
			t.Errorf("%s: Access-Control-Allow-Credentials is %t", c.name, got)
		}
	}
}

func TestSessionLimits(t *testing.T) {
	var s *Server
	open := func(address string) int {
		r := httptest.NewRequest("GET", "http://chat.example/socket.io/?"+pollingQuery, nil)
		r.RemoteAddr = address + ":1"
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	s = NewServer(Settings{
		Config: DefaultConfig(), EdgeID: "edgeedge", Log: slog.New(slog.DiscardHandler), MaxSessions: 3, MaxPerAddress: 2,
		Handler: func(s *Session, _ *Opening) Receiver { return &recorder{session: s} },
	})
	t.Cleanup(s.Abort)
	for i, want := range []int{200, 200, 503} {
		if got := open("192.0.2.1"); got != want {
			t.Errorf("session %d of one address: %d, want %d", i+1, got, want)
		}
	}
	if got := open("192.0.2.2"); got != 200 {
		t.Errorf("another address: %d", got)
	}
	if got := open("192.0.2.3"); got != 503 {
		t.Errorf("the fourth session: %d", got)
	}
	for _, session := range s.all() {
		session.fail(TransportClose)
	}
	if got := open("192.0.2.1"); got != 200 {
		t.Errorf("after the others went: %d", got)
	}
}
