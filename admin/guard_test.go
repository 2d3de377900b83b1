package admin

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

// pagesOf are the pages of a handler with everything switched on.
var pagesOf = []string{"GET /", "GET /healthz", "GET /readyz", "GET /edges", "GET /metrics", "GET /debug/pprof/", "POST /drain",
	"POST /drain?cancel", "GET /nothing"}

// status asks for a page ("GET /path") with a Host and headers.
func status(t *testing.T, o Options, page, host string, header ...string) int {
	t.Helper()
	o.Drain, o.Pprof = &drainer{}, true
	method, path, _ := strings.Cut(page, " ")
	r, w := httptest.NewRequest(method, "http://x"+path, nil), httptest.NewRecorder()
	r.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	newHandler(t, o).ServeHTTP(w, r)
	return w.Code
}

// A page of a stranger can make a browser send any name that is the stranger's, but no address and not localhost.
func TestHosts(t *testing.T) {
	listed := Options{Hosts: []string{"", "edge-1", "Metrics.example:3001", "fully.example."}}
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:3001": true, "10.0.0.7:3001": true, "[::1]": true, "[::1]:3001": true,
		"[fe80::1%25eth0]:3001": true, "localhost": true, "LocalHost:3001": true, "localhost.": true, "": true,
		"edge-1": true, "edge-1:3001": true, "EDGE-1.:3001": true, "metrics.example": true, "fully.example": true,
		"evil.example": false, "evil.example:3001": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"edge-1.evil.example": false, "evil-edge-1": false, "edge-10": false, "0x7f000001": false, "2130706433": false,
		"127.1": false, "1.evil.example@127.0.0.1": false, "localhost@evil": false, "[::1": false,
		"[evil]:1": false, "evil.example, localhost": false, " ": false, "localhost:3001:1": false, "*": false, ".": false,
	} {
		for _, page := range pagesOf {
			if got := status(t, listed, page, host); (got != 403) != want {
				t.Errorf("%s with Host %q: %d", page, host, got)
			}
		}
	}
	if got := status(t, Options{}, "GET /metrics", "edge-1"); got != 403 {
		t.Errorf("a name that is not listed: %d", got)
	}
}

// With a token all pages need it, but for probes. It counts more than the Host, which a page cannot send with it.
func TestToken(t *testing.T) {
	o := Options{Token: "s3cret-token"}
	for _, page := range pagesOf {
		open := page == "GET /healthz" || page == "GET /readyz"
		for _, header := range [][]string{nil, {"Authorization", "Bearer "}, {"Authorization", "Bearer s3cret"},
			{"Authorization", "Bearer s3cret-tokens"}, {"Authorization", "Basic s3cret-token"}, {"Authorization", "s3cret-token"},
			{"Authorization", "Bearer s3cret-token x"}, {"Authorization", "Bearer x", "Authorization", "Bearer s3cret-token"},
			{"X-Authorization", "Bearer s3cret-token"}} {
			if got := status(t, o, page, "127.0.0.1:3001", header...); (got == 401) == open {
				t.Errorf("%s with %q: %d", page, header, got)
			}
			if got := status(t, o, page, "evil.example", header...); got != 403 {
				t.Errorf("%s with %q and another Host: %d", page, header, got)
			}
		}
		for _, sent := range []string{"Bearer s3cret-token", "bearer s3cret-token", "Bearer  s3cret-token "} {
			for _, host := range []string{"127.0.0.1", "edge-1:3001"} {
				if got := status(t, o, page, host, "Authorization", sent); got == 401 || got == 403 {
					t.Errorf("%s at %s with %q: %d", page, host, sent, got)
				}
			}
		}
	}
	if got := status(t, Options{}, "GET /edges", "127.0.0.1", "Authorization", "Bearer "); got != 200 {
		t.Errorf("without a token in the configuration: %d", got)
	}
}

// A page of another site cannot make a browser fetch a profile. A link to a page works.
func TestPagesOfOtherSites(t *testing.T) {
	for _, c := range []struct {
		header []string
		want   int
	}{
		{[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 200},
		{[]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, 200},
		{[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}, 200},
	} {
		for _, page := range []string{"GET /debug/pprof/", "GET /metrics", "GET /edges"} {
			if got := status(t, Options{}, page, "localhost:3001", c.header...); got != c.want {
				t.Errorf("%s with %q: %d, want %d", page, c.header, got, c.want)
			}
		}
	}
}

// Refusals are counted, and logged once a minute with the key that helps, and without the token.
func TestRefusalsAreTold(t *testing.T) {
	var log bytes.Buffer
	h := newHandler(t, Options{Token: "s3cret-token", Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		r := httptest.NewRequest("GET", "http://evil.example/metrics", nil)
		r.Header.Set("Authorization", "Bearer s3cret-tokem")
		h.ServeHTTP(httptest.NewRecorder(), r)
		get(t, h, "GET", "/metrics")
	}
	if said := log.String(); strings.Count(said, "admin.hosts") != 1 || !strings.Contains(said, "host=evil.example") ||
		strings.Contains(said, "s3cret") {
		t.Errorf("the log is %s", said)
	}
	r, w := httptest.NewRequest("GET", "http://evil.example/metrics", nil), httptest.NewRecorder()
	r.Header.Set("Authorization", "Bearer s3cret-token")
	h.ServeHTTP(w, r)
	for _, line := range []string{`partyline_admin_refused_total{reason="host"} 3`, `partyline_admin_refused_total{reason="token"} 3`,
		`partyline_admin_refused_total{reason="cross-site"} 0`} {
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if got := w.Header().Get("Cache-Control"); w.Code != 200 || got != "no-store" {
		t.Errorf("%d, Cache-Control: %q", w.Code, got)
	}
}
