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
		s := NewServer(Settings{Config: DefaultConfig(), Log: slog.New(slog.NewTextHandler(&log, nil))})
		refuse := func(origin string) {
			s.logRefused(&http.Request{RemoteAddr: "192.0.2.1:5", Header: http.Header{"Origin": {origin}}}, Peer{Host: "chat.example"})
		}
		lines := func(want int) {
			t.Helper()
			if got := log.String(); strings.Count(got, "\n") != want || !strings.Contains(got, "cors.origins") || !strings.Contains(got, "https://a.example") {
				t.Errorf("the log, of which %d lines are wanted:\n%s", want, got)
			}
		}
		for range 3 {
			refuse("https://a.example")
			refuse("https://b.example")
		}
		lines(2)
		time.Sleep(throttle.Every)
		refuse("https://a.example")
		lines(3)
		for i := range 2000 { // a client that invents origins fills neither log nor memory
			refuse(fmt.Sprintf("https://%d.example/%s", i, strings.Repeat("x", 10_000)))
		}
		if most := throttle.MaxLines * (maxLoggedOrigin + 500); log.Len() > most {
			t.Errorf("the log has %d bytes, want at most %d", log.Len(), most)
		}
		time.Sleep(throttle.Every)
		before := strings.Count(log.String(), "\n")
		refuse("https://a.example")
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
}
