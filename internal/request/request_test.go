package request

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The expected values are those of `new URL(…).searchParams` in Node.js; test/conformance compares more of them.
func TestParseQuery(t *testing.T) {
	for raw, want := range map[string]string{ // name=value, sorted, with "|" between them; the last value counts
		"":                         "",
		"a=x;y&b=50%":              "a=x;y|b=50%",
		"a=1&a=2":                  "a=2",
		"a+b=c+d%2Be":              "a b=c d+e",
		"&&=x&y&z=":                "=x|y=|z=",
		"a=%zz%4&%=%":              "%=%|a=%zz%4",
		"a=1#b=2&c=3":              "a=1",
		"a=b=c?d":                  "a=b=c?d",
		"__proto__=x":              "__proto__=x",
		"a=%E9%E9x":                "a=\uFFFD\uFFFDx",
		"a=%E2%82&b=%F0%9F%98y":    "a=\uFFFD|b=\uFFFDy",
		"a=%ED%A0%80&b=%C0%AF":     "a=\uFFFD\uFFFD\uFFFD|b=\uFFFD\uFFFD",
		"a=%F4%90%80%80&b=%E0%80x": "a=\uFFFD\uFFFD\uFFFD\uFFFD|b=\uFFFD\uFFFDx",
		"a=\xe9b":                  "a=\uFFFDb",
		"a=%C3%BC%EF%BB%BF":        "a=ü\uFEFF",
	} {
		q := ParseQuery(raw)
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(q)) {
			pairs = append(pairs, name+"="+Last(q, name))
		}
		if got := strings.Join(pairs, "|"); got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
}

func TestSubprotocol(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
		ok    bool
	}{
		{nil, "", true},
		{[]string{"my-app"}, "my-app", true},
		{[]string{"my-app, other"}, "my-app", true},
		{[]string{"b\t,\ta", "c"}, "b", true},
		{[]string{""}, "", false},
		{[]string{"a,"}, "", false},
		{[]string{",a"}, "", false},
		{[]string{"a b"}, "", false},
		{[]string{"a,a"}, "", false},
		{[]string{"a", "a"}, "", false},
		{[]string{"a/b"}, "", false},
		{[]string{"é"}, "", false},
	} {
		h := map[string][]string{}
		if c.lines != nil {
			h["Sec-Websocket-Protocol"] = c.lines
		}
		if got, ok := Subprotocol(h); got != c.want || ok != c.ok {
			t.Errorf("%q: got %q, %t, want %q, %t", c.lines, got, ok, c.want, c.ok)
		}
	}
}

func TestWithoutCookie(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{"io=secret"}, ""},
		{[]string{"a=1; io=secret; b=2"}, "a=1; b=2"},
		{[]string{"a=1;io=secret", "io=other; b=2"}, "a=1; b=2"},
		{[]string{"a=1; radio=x"}, "a=1; radio=x"},
	} {
		h := http.Header{"Accept": {"*/*"}}
		if c.lines != nil {
			h["Cookie"] = c.lines
		}
		got := WithoutCookie(h, "io")
		if got.Get("Cookie") != c.want || len(got["Cookie"]) > 1 || got.Get("Accept") != "*/*" {
			t.Errorf("%q: %v", c.lines, got)
		}
		if !slices.Equal(h["Cookie"], c.lines) {
			t.Errorf("the header itself is now %v", h)
		}
	}
}

func TestAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"gzip, deflate, br, zstd": true, "GZIP": true, "x-gzip": true, "*": true, "gzip;q=0.5": true,
		"br, gzip; q=1.0": true,
		"":                false, "identity": false, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=0, *": false,
		"*, gzip;q=0": false,
		"*;q=0":       false,
		"br":          false, "gzip;q=x": false,
	} {
		if got := AcceptsGzip(http.Header{"Accept-Encoding": {header}}); got != want {
			t.Errorf("Accept-Encoding %q: %t", header, got)
		}
	}
	if AcceptsGzip(nil) || !AcceptsGzip(http.Header{"Accept-Encoding": {"br", "gzip"}}) {
		t.Error("a header of no line, or of two")
	}
}
