package edge

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"partyline/engine"
)

// The bytes of headers arrive as letters of ISO 8859-1, and lines are joined as Node.js joins them. No byte is lost or
// breaks the JSON. test/conformance compares it with the reference.
func TestRequestJSON(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	body, _ := new(Edge).requestJSON(&engine.Opening{
		Header: http.Header{
			"X-Mine": {"J\xfcrgen", "\xc3\xbc"}, "Cookie": {"a=\xe9", "b=2"}, "User-Agent": {"first", "second"}, "Authorization": {"first", "second"}, "X-All": {string(all)},
		},
		Peer: engine.Peer{Host: "b\xfccher.example", Address: "192.0.2.1"}, URL: "/socket.io/?a=\xfc", Query: url.Values{"a": {"1", "\uFFFD"}},
	}, "")
	var got struct {
		Query, Headers map[string]string
		URL            string
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for name, want := range map[string]string{
		"host": "bücher.example", "x-mine": "Jürgen, Ã¼", "cookie": "a=é; b=2", "user-agent": "first", "authorization": "first",
	} {
		if got.Headers[name] != want {
			t.Errorf("%s: %q, want %q", name, got.Headers[name], want)
		}
	}
	letters := []rune(got.Headers["x-all"])
	for i, letter := range letters {
		if letter != rune(i) {
			t.Errorf("byte %d has become %q", i, letter)
		}
	}
	if len(letters) != 256 || got.URL != "/socket.io/?a=\uFFFD" || got.Query["a"] != "\uFFFD" {
		t.Errorf("%d letters, url %q, query %q", len(letters), got.URL, got.Query)
	}
}
