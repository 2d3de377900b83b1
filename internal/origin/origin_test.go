package origin

import (
	"slices"
	"strings"
	"testing"
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
		o := NewPolicy(nil, false)
		if got := o.Allows(c.origin, c.peer); got != c.want {
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
		normal, err := Parse(entry)
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		for _, text := range []string{entry, normal} {
			o := NewPolicy([]string{text}, false)
			for _, origin := range strings.Fields(c.yes) {
				if !o.Allows(origin, Peer{Host: "chat.example"}) {
					t.Errorf("%s does not allow %s", text, origin)
				}
			}
			for _, origin := range strings.Fields(c.no) {
				if o.Allows(origin, Peer{Host: "chat.example"}) {
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
		if got, err := Parse(entry); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v, want an error with %q", entry, got, err, want)
		}
	}
}

// A page of another scheme than the edge knows gets a remedy of its own.
func TestRemedyForAnotherScheme(t *testing.T) {
	line, args := Remedy("https://h", Peer{Host: "h", Scheme: "http"}, "")
	if !strings.Contains(line, "X-Forwarded-Proto") || !slices.Contains(args, any("scheme")) {
		t.Errorf("the line is %s, with %v", line, args)
	}
}

// No Origin that a client sends makes a panic, and none that has another host is allowed.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{"null", "http://h", "https://[::1]:1", "https://*.a.example", "file://", "x://h/evil", "https://bücher.example", "http://h:*"} {
		f.Add(seed, "h:80")
	}
	o := NewPolicy([]string{"https://*.a.example", "file://"}, true)
	f.Fuzz(func(t *testing.T, origin, host string) {
		o.Allows(origin, Peer{Host: host})
		if parsed, ok := parseOrigin(origin); ok {
			again, ok := parseOrigin(parsed.String())
			if !ok || again != parsed {
				t.Errorf("%q is %+v, and that is %+v, %t", origin, parsed, again, ok)
			}
		}
		_, _ = Parse(origin)
	})
}
