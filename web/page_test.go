package web

import (
	"strings"
	"testing"
	"time"

	"partyline/rule"
)

func TestPageFiles(t *testing.T) {
	p := NewPage(PageConfig{Prefix: "sio", Path: "/socket.io/"})
	for path, contentType := range map[string]string{
		"/":            "text/html; charset=utf-8",
		"/chat.js":     "text/javascript; charset=utf-8",
		"/log.js":      "text/javascript; charset=utf-8",
		"/contract.js": "text/javascript; charset=utf-8",
		"/rules.js":    "text/javascript; charset=utf-8",
		"/side.js":     "text/javascript; charset=utf-8",
		"/style.css":   "text/css; charset=utf-8",
		"/favicon.svg": "image/svg+xml",
		"/favicon.ico": "image/svg+xml",
	} {
		response := get(t, p, "GET", path)
		if response.StatusCode != 200 || bodyOf(t, response) == "" {
			t.Errorf("%s: status %d or empty", path, response.StatusCode)
		}
		for header, want := range map[string]string{
			"Content-Type":            contentType,
			"Cache-Control":           "no-cache",
			"X-Content-Type-Options":  "nosniff",
			"Content-Security-Policy": contentSecurityPolicy,
		} {
			if got := response.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", path, header, got, want)
			}
		}
		again := get(t, p, "GET", path, "If-None-Match", response.Header.Get("Etag"))
		if again.StatusCode != 304 {
			t.Errorf("%s: %d with its own ETag", path, again.StatusCode)
		}
	}
}

func TestPageRefuses(t *testing.T) {
	p := NewPage(PageConfig{Prefix: "sio", Path: "/socket.io/"})
	for _, path := range []string{"/index.html", "/page/chat.js", "/contract.test.mjs", "/nothing", "//", "/rules", "/tail"} {
		if response := get(t, p, "GET", path); response.StatusCode != 404 {
			t.Errorf("%s: %d", path, response.StatusCode)
		}
	}
	if response := get(t, p, "POST", "/"); response.StatusCode != 405 {
		t.Errorf("POST: %d", response.StatusCode)
	}
}

func TestPageKnowsItsConfiguration(t *testing.T) {
	html := bodyOf(t, get(t, NewPage(PageConfig{Prefix: "sio", Path: "/socket.io/"}), "GET", "/"))
	for _, want := range []string{`data-prefix="sio"`, `data-path="/socket.io/"`, `data-nats=""`,
		`src="/socket.io/socket.io.min.js"`} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	html = bodyOf(t, get(t, NewPage(PageConfig{Prefix: "a.b", Path: `/x"y/`, NATS: `nats://"<b>:4222`}), "GET", "/"))
	for _, want := range []string{`data-prefix="a.b"`, `data-path="/x&#34;y/"`, `src="/x%22y/socket.io.min.js"`} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(html, "<b>") {
		t.Error("the NATS URL is not escaped")
	}
}

func TestPageShowsNoCredentials(t *testing.T) {
	p := NewPage(PageConfig{NATS: "nats://ann:s3cret@a:1,tls://s3cret@b:2/x?s3cret"})
	if html := bodyOf(t, get(t, p, "GET", "/")); strings.Contains(html, "s3cret") ||
		!strings.Contains(html, "ann:hidden@a:1") {
		t.Errorf("the page says %s", html)
	}
}

// The page gets the rules of the namespace that it names, and no list of them.
func TestPageTellsTheRulesOfANamespace(t *testing.T) {
	book := rule.NewBook(map[string]rule.Namespace{
		"/plain": {},
		"/full": {Connect: rule.ConnectToken, Tokens: []string{"secret-issuer"}, Rooms: []string{"lobby-*"}, AutoJoin: []string{"news"},
			Relay: []rule.Relay{{Event: "message", To: rule.ToRooms, Self: true}}, Recovery: rule.Recovery{For: 2 * time.Minute},
			Rewind: []rule.Rewind{{Room: "*", Messages: 9}}, Presence: rule.DefaultPresence("lobby-*")},
	})
	p := NewPage(PageConfig{Prefix: "sio", Path: "/socket.io/", Rules: book.Find})
	for name, want := range map[string]string{
		"/missing": "null", "": "null",
		"/plain": `{"connect":"service","rooms":[],"auto_join":[],"relay":[],"recovery":0,"rewind":[]}`,
		"/full": `{"connect":"token","rooms":["lobby-*"],"auto_join":["news"],"relay":[{"event":"message","to":"rooms","self":true}],` +
			`"recovery":120,"rewind":[{"room":"*","messages":9}],"presence":{"rooms":["lobby-*"],"event":"partyline:presence"}}`,
	} {
		response := get(t, p, "GET", "/rules?namespace="+name)
		if got := strings.TrimSpace(bodyOf(t, response)); got != want || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if response := get(t, p, "POST", "/rules?namespace=/plain"); response.StatusCode != 405 {
		t.Errorf("POST: %d", response.StatusCode)
	}
}
