package engine

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"partyline/internal/throttle"
)

// ownOrigins are origins of requests to a peer, and whether they may connect. A page, or a native client, of the
// requested host may. The scheme counts if the edge knows it.
var ownOrigins = []struct {
	origin string
	peer   Peer
	want   bool
}{
	{"http://h", Peer{Host: "h"}, true},
	{"https://h", Peer{Host: "h"}, true},
	{"ws://h", Peer{Host: "h"}, true},
	{"wss://h", Peer{Host: "h"}, true},
	{"WSS://H", Peer{Host: "h"}, true},
	{"http://h", Peer{Host: "H"}, true},
	{"http://h/", Peer{Host: "h"}, true},
	{"https://h", Peer{Host: "h:443"}, true},
	{"wss://h", Peer{Host: "h:443"}, true},
	{"http://h", Peer{Host: "h:80"}, true},
	{"ws://h", Peer{Host: "h:80"}, true},
	{"ws://h:80", Peer{Host: "h"}, true},
	{"wss://h:443", Peer{Host: "h"}, true},
	{"https://h:443", Peer{Host: "h:443"}, true},
	{"http://h", Peer{Host: "h:"}, true},
	{"http://h:8080", Peer{Host: "h:8080"}, true},
	{"https://h:8443", Peer{Host: "h:8443"}, true},
	{"http://[::1]:3000", Peer{Host: "[::1]:3000"}, true},
	{"http://[0:0::1]", Peer{Host: "[::1]:80"}, true},
	{"http://127.0.0.1:3000", Peer{Host: "127.0.0.1:3000"}, true},
	{"https://xn--bcher-kva.example", Peer{Host: "Bücher.example"}, true},
	{"https://bücher.example", Peer{Host: "xn--bcher-kva.example"}, true},
	{"http://h.", Peer{Host: "h."}, true},

	{"HTTPS://[::1]:443", Peer{Host: "[0:0:0:0:0:0:0:1]", Scheme: "https"}, true},
	{"http://[::ffff:127.0.0.1]", Peer{Host: "[::ffff:7f00:1]"}, true},
	{"https://BÜCHER.example:443", Peer{Host: "xn--bcher-kva.example:443"}, true},

	{"http://h.", Peer{Host: "h"}, false}, // another origin for browsers, too
	{"http://h", Peer{Host: "h."}, false},
	{"http://u:p@h", Peer{Host: "h"}, false},
	{"http://:p@h", Peer{Host: "h"}, false},
	{"http://h:80@evil", Peer{Host: "h"}, false},
	{"http://[::1]", Peer{Host: "[::2]"}, false},
	{"http://[::1%25eth0]", Peer{Host: "[::1]"}, false},
	{"http://[h]", Peer{Host: "h"}, false},
	{"http://evil\uff0fh", Peer{Host: "h"}, false}, // a slash of another width
	{"http://b\u00fccher.example", Peer{Host: "bucher.example"}, false},
	{"http://h\x00", Peer{Host: "h"}, false},
	{"http://h%2eevil", Peer{Host: "h"}, false},
	{" http://h", Peer{Host: "h"}, false},
	{"http://h//", Peer{Host: "h"}, false},
	{"javascript://h", Peer{Host: "h"}, false},
	{"NULL", Peer{Host: "h"}, false},
	{"", Peer{Host: "h"}, true}, // no page
	{"http://h:8080", Peer{Host: "h"}, false},
	{"http://h", Peer{Host: "h:8080"}, false},
	{"http://h", Peer{Host: "h:443"}, false}, // the port of the other scheme
	{"https://h", Peer{Host: "h:80"}, false},
	{"wss://h", Peer{Host: "h:80"}, false},
	{"http://h:443", Peer{Host: "h"}, false},
	{"http://h.evil", Peer{Host: "h"}, false},
	{"http://evil.h", Peer{Host: "h"}, false},
	{"http://h@evil", Peer{Host: "h"}, false},
	{"http://evil@h", Peer{Host: "h"}, false},
	{"http://h/evil", Peer{Host: "h"}, false},
	{"http://h?x", Peer{Host: "h"}, false},
	{"http://h#x", Peer{Host: "h"}, false},
	{"http://h\\evil", Peer{Host: "h"}, false},
	{"x://h/evil", Peer{Host: "h"}, false},
	{"x://h", Peer{Host: "h"}, false},
	{"file://h", Peer{Host: "h"}, false},
	{"capacitor://h", Peer{Host: "h"}, false},
	{"//h", Peer{Host: "h"}, false},
	{"h", Peer{Host: "h"}, false},
	{"http:h", Peer{Host: "h"}, false},
	{"http:///h", Peer{Host: "h"}, false},
	{"://h", Peer{Host: "h"}, false},
	{"http://", Peer{Host: ""}, false},
	{"null", Peer{Host: "null"}, false},
	{"file://", Peer{Host: ""}, false},
	{"http://*", Peer{Host: "*"}, false},
	{"http://h:*", Peer{Host: "h:*"}, false},
	{"http://h:99999", Peer{Host: "h:99999"}, false},
	{"http://h, http://evil", Peer{Host: "h"}, false},
	{"http://h http://evil", Peer{Host: "h"}, false},
	{"http://::1", Peer{Host: "::1"}, false},

	{"http://h", Peer{Host: "h", Scheme: "https"}, false},
	{"ws://h", Peer{Host: "h", Scheme: "https"}, false},
	{"http://h:443", Peer{Host: "h:443", Scheme: "https"}, false},
	{"https://h", Peer{Host: "h", Scheme: "https"}, true},
	{"wss://h", Peer{Host: "h:443", Scheme: "https"}, true},
	{"https://h", Peer{Host: "h", Scheme: "http"}, false},
	{"ws://h", Peer{Host: "h", Scheme: "http"}, true},

	{"http://h:8080", Peer{Host: "h", Port: "8080"}, true},
	{"http://h", Peer{Host: "h", Port: "8080"}, true},
	{"http://h:8081", Peer{Host: "h", Port: "8080"}, false},
}

func TestOurOwnOrigins(t *testing.T) {
	for _, c := range ownOrigins {
		o := newOrigins(nil, false, slog.New(slog.DiscardHandler))
		if got := o.check(c.origin, c.peer); got != c.want {
			t.Errorf("%s at %+v: %t, want %t", c.origin, c.peer, got, c.want)
		}
	}
}

func TestListedOrigins(t *testing.T) {
	for entry, c := range map[string]struct{ yes, no string }{ // separated by blanks
		"https://app.example": {"https://app.example https://APP.example https://app.example:443 https://app.example/",
			"http://app.example https://app.example:8443 https://app.example.evil https://app.example/x wss://app.example"},
		"http://app.example:8080":        {"http://app.example:8080", "http://app.example https://app.example:8080"},
		"file://":                        {"file:// file:///", "null file://h file:"},
		"null":                           {"null", "file:// nil http://null"},
		"capacitor://localhost":          {"capacitor://localhost", "ionic://localhost capacitor://localhost:1 http://localhost"},
		"ionic://localhost":              {"ionic://localhost", "capacitor://localhost"},
		"tauri://localhost":              {"tauri://localhost", "https://tauri.localhost"},
		"app://.":                        {"app://.", "app://x"},
		"chrome-extension://abcdefghijk": {"chrome-extension://abcdefghijk", "chrome-extension://abcdefghijl"},
		"moz-extension://*":              {"moz-extension://0f5d7e00-1 moz-extension://x", "chrome-extension://x moz-extension:// moz-extension://a.b"},
		"safari-web-extension://E0C7-F":  {"safari-web-extension://E0C7-F safari-web-extension://e0c7-f", "safari-web-extension://e0c7-e"},
		"https://*.preview.example.com": {"https://a.preview.example.com https://A-1.Preview.example.com:443 https://xn--a-1.preview.example.com",
			"https://evil-preview.example.com https://preview.example.com https://.preview.example.com https://a.b.preview.example.com " +
				"http://a.preview.example.com https://a.preview.example.com:8443 https://a.preview.example.com.evil https://evil/.preview.example.com " +
				"https://evil#.preview.example.com https://u@a.preview.example.com https://*.preview.example.com https://a.previewxexample.com"},
		"https://pr-*.preview.example.com":  {"https://pr-12.preview.example.com", "https://xpr-1.preview.example.com https://pr.preview.example.com https://pr-1.evil.preview.example.com"},
		"https://*-team.vercel.example.app": {"https://a-b-team.vercel.example.app", "https://a-team.evil.vercel.example.app https://team.vercel.example.app"},
		"https://*.*.example.com":           {"https://a.b.example.com", "https://a.example.com https://a.b.c.example.com"},
		"http://localhost:*":                {"http://localhost http://localhost:5173 http://localhost:80", "https://localhost:5173 http://localhost.evil:80"},
		"http://*.localhost:3000":           {"http://a.localhost:3000", "http://a.localhost http://localhost:3000"},
		"https://bücher.example":            {"https://xn--bcher-kva.example https://BÜCHER.example", "https://bucher.example"},
		"https://*.bücher.example":          {"https://a.xn--bcher-kva.example", "https://xn--bcher-kva.example"},
		"http://[::1]:8080":                 {"http://[::1]:8080", "http://[::2]:8080"},
	} {
		normal, err := ParseOrigin(entry)
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		for _, text := range []string{entry, normal} {
			o := newOrigins([]string{text}, false, slog.New(slog.DiscardHandler))
			for _, origin := range strings.Fields(c.yes) {
				if !o.check(origin, Peer{Host: "chat.example"}) {
					t.Errorf("%s does not allow %s", text, origin)
				}
			}
			for _, origin := range strings.Fields(c.no) {
				if o.check(origin, Peer{Host: "chat.example"}) {
					t.Errorf("%s allows %s", text, origin)
				}
			}
		}
	}
}

func TestInvalidOriginEntries(t *testing.T) {
	for entry, want := range map[string]string{
		"": "is not an origin", "app.example": "is not an origin", "https://a.example/x": "is not an origin", "https://": "is not an origin",
		"//a": "is not an origin", "https://u@a": "is not an origin", "https://a:99999": "is not an origin", "https://a b": "is not an origin",
		"*://a.example": "is not an origin", "**": "is not an origin", "https://a?": "is not an origin", "https://[::1": "is not an origin", "file://:1": "is not an origin",
		"https://*": "could be anybody's", "https://app.*": "could be anybody's", "https://*.com": "anybody's domain", "https://*:8080": "could be anybody's",
		"https://*example.com": "write https://*.example.com", "https://*-example.com": "also matches hosts of others", "https://e*e.com": "also matches hosts of others",
	} {
		if got, err := ParseOrigin(entry); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v, want an error with %q", entry, got, err, want)
		}
	}
}

// An allowed origin gets the CORS headers of the reference, with the origin as the client wrote it.
func TestAllowedOriginsAreEchoed(t *testing.T) {
	list := func(origins ...string) func(*Settings) { return func(s *Settings) { s.Origins = origins } }
	for entry, origin := range map[string]string{
		"file://": "file://", "null": "null", "capacitor://localhost": "capacitor://localhost", "https://*.preview.example.com": "https://a.preview.example.com",
	} {
		w := ask(t, list(entry), "GET", pollingQuery, "Origin", origin)
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != 200 || got != origin {
			t.Errorf("%s: %d, Access-Control-Allow-Origin %q", origin, w.Code, got)
		}
		w = ask(t, list(entry), "GET", pollingQuery, "Origin", origin, "Origin", "https://evil.example")
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != 403 || got != "" {
			t.Errorf("%s and another: %d, Access-Control-Allow-Origin %q", origin, w.Code, got)
		}
	}
}

// An edge with TLS of its own knows the scheme.
func TestTheSchemeIsKnownWithTLS(t *testing.T) {
	s := NewServer(Settings{Config: DefaultConfig()})
	if got, want := s.Peer(&http.Request{RemoteAddr: "192.0.2.1:5", Host: "h", TLS: &tls.ConnectionState{}}), (Peer{Address: "192.0.2.1", Host: "h", Scheme: "https"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A page that was loaded over another scheme than the client uses now is not the edge's own, where the edge knows that
// scheme. Where it does not, pages of both schemes are.
func TestAPageOfTheOtherScheme(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for _, c := range []struct {
		name        string
		proxies     []netip.Prefix
		tls         bool
		header      []string
		http, https bool // may such a page connect
	}{
		{"unknown", nil, false, nil, true, true},
		{"own TLS", nil, true, nil, false, true},
		{"a trusted proxy with TLS", trusted, false, []string{"X-Forwarded-Proto", "https"}, false, true},
		{"a trusted proxy with TLS, Forwarded", trusted, false, []string{"Forwarded", "for=192.0.2.9;proto=https"}, false, true},
		{"a trusted proxy without TLS", trusted, false, []string{"X-Forwarded-Proto", "http"}, true, false},
		{"a trusted proxy that does not tell", trusted, false, []string{"X-Forwarded-For", "192.0.2.9"}, true, true},
		{"anybody's header", nil, false, []string{"X-Forwarded-Proto", "https"}, true, true},
		{"anybody's header, own TLS", nil, true, []string{"X-Forwarded-Proto", "http"}, false, true},
	} {
		for scheme, want := range map[string]bool{"http": c.http, "ws": c.http, "https": c.https, "wss": c.https} {
			s := NewServer(Settings{
				Config: DefaultConfig(), EdgeID: "edgeedge", TrustedProxies: c.proxies, Log: slog.New(slog.DiscardHandler),
				Handler: func(s *Session, _ *Opening) Receiver { return &recorder{session: s} },
			})
			t.Cleanup(s.Abort)
			r := httptest.NewRequest("GET", "http://chat.example/socket.io/?"+pollingQuery, nil)
			r.Header.Set("Origin", scheme+"://chat.example")
			for i := 0; i+1 < len(c.header); i += 2 {
				r.Header.Set(c.header[i], c.header[i+1])
			}
			if c.tls {
				r.TLS = &tls.ConnectionState{}
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if got := w.Code == 200; got != want {
				t.Errorf("%s: a page of %s: %d", c.name, scheme, w.Code)
			}
		}
	}
}

func TestARefusedOriginIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := newOrigins(nil, false, slog.New(slog.NewTextHandler(&log, nil)))
		lines := func(want int) {
			t.Helper()
			if got := log.String(); strings.Count(got, "\n") != want || !strings.Contains(got, "cors.origins") || !strings.Contains(got, "https://a.example") {
				t.Errorf("the log, of which %d lines are wanted:\n%s", want, got)
			}
		}
		for range 3 {
			o.logRefused("https://a.example", Peer{Host: "chat.example"}, false, "192.0.2.1")
			o.logRefused("https://b.example", Peer{Host: "chat.example"}, false, "192.0.2.1")
		}
		lines(2)
		time.Sleep(throttle.Every)
		o.logRefused("https://a.example", Peer{Host: "chat.example"}, false, "192.0.2.1")
		lines(3)
		for i := range 2000 { // a client that invents origins fills neither log nor memory
			o.logRefused(fmt.Sprintf("https://%d.example/%s", i, strings.Repeat("x", 10_000)), Peer{Host: "chat.example"}, false, "192.0.2.1")
		}
		if most := throttle.MaxLines * (maxLoggedOrigin + 500); log.Len() > most {
			t.Errorf("the log has %d bytes, want at most %d", log.Len(), most)
		}
		time.Sleep(throttle.Every)
		before := strings.Count(log.String(), "\n")
		o.logRefused("https://a.example", Peer{Host: "chat.example"}, false, "192.0.2.1")
		lines(before + 1)
	})
}

// The line of a refusal names the setting that would help.
func TestARefusalNamesItsRemedy(t *testing.T) {
	for _, c := range []struct {
		origin string
		header []string
		want   string
	}{
		{"https://a.example", nil, "list it in cors.origins"},
		{"null", nil, `list \"null\" in cors.origins`},
		{"nonsense", nil, "whose Origin is none"},
		{"https://a.example", []string{"X-Forwarded-Host", "a.example"}, "trusted_proxies, otherwise the origin in cors.origins\" origin=https://a.example host=chat.example proxy=192.0.2.1"},
		{"http://chat.example:8080", nil, "$http_host"},
		{"http://chat.example:8080", []string{"Forwarded", "host=\"chat.example:8080\""}, "trusted_proxies"},
	} {
		var log bytes.Buffer
		ask(t, func(s *Settings) { s.Log = slog.New(slog.NewTextHandler(&log, nil)) }, "GET", pollingQuery, append(c.header, "Origin", c.origin)...)
		if got := log.String(); !strings.Contains(got, c.want) || strings.Count(got, "refused a") != 1 {
			t.Errorf("%s, %v: the log is %s", c.origin, c.header, got)
		}
	}
	var log bytes.Buffer
	o := newOrigins(nil, false, slog.New(slog.NewTextHandler(&log, nil)))
	o.logRefused("https://h", Peer{Host: "h", Scheme: "http"}, false, "192.0.2.1")
	if !strings.Contains(log.String(), "X-Forwarded-Proto") {
		t.Errorf("another scheme: the log is %s", &log)
	}
}

// No Origin that a client sends makes a panic, and none that has another host is allowed.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{"null", "http://h", "https://[::1]:1", "https://*.a.example", "file://", "x://h/evil", "https://bücher.example", "http://h:*"} {
		f.Add(seed, "h:80")
	}
	o := newOrigins([]string{"https://*.a.example", "file://"}, true, slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, origin, host string) {
		o.check(origin, Peer{Host: host})
		if parsed, ok := parseOrigin(origin); ok {
			again, ok := parseOrigin(parsed.String())
			if !ok || again != parsed {
				t.Errorf("%q is %+v, and that is %+v, %t", origin, parsed, again, ok)
			}
		}
		_, _ = ParseOrigin(origin)
	})
}
