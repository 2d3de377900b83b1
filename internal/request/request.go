// Package request reads parts of HTTP requests that net/http does not read, or reads otherwise than the reference
// server and Node.js.
package request

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/text/encoding/unicode"
)

// Last returns the value that counts when a query names a key twice, as in the reference.
func Last(q url.Values, key string) string {
	if v := q[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// ParseQuery reads the query of a request line as the reference server does, with the URLSearchParams of the URL
// standard: only "&" separates, "+" is a blank, an invalid escape stays as it is, and what is not UTF-8 becomes
// U+FFFD. (url.ParseQuery drops such pairs, and those with a semicolon.)
func ParseQuery(raw string) url.Values {
	raw, _, _ = strings.Cut(raw, "#") // net/http leaves a fragment in the query
	values := url.Values{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = unescape(name)
		values[name] = append(values[name], unescape(value))
	}
	return values
}

var escapePattern = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// unescape decodes a name or value of a query. What is not UTF-8 becomes U+FFFD: one for each maximal part of a
// character (Unicode, section 3.9), as browsers and Node.js do it.
func unescape(s string) string {
	s = escapePattern.ReplaceAllStringFunc(strings.ReplaceAll(s, "+", " "), func(escape string) string {
		c, _ := hex.DecodeString(escape[1:])
		return string(c)
	})
	if !utf8.ValidString(s) {
		s, _ = unicode.UTF8.NewDecoder().String(s)
	}
	return s
}

// Subprotocol chooses the first of the WebSocket subprotocols that a request offers, as the reference does (ws,
// subprotocol.js and websocket-server.js): without a choice a browser closes the connection. It returns "" if the
// request offers none, and false if the header breaks RFC 6455, section 4.1.
func Subprotocol(h http.Header) (chosen string, ok bool) {
	lines, offered := h["Sec-Websocket-Protocol"]
	if !offered {
		return "", true
	}
	var names []string
	for name := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name = strings.Trim(name, " \t")
		// A name is a token of HTTP, like the name of a header.
		if !httpguts.ValidHeaderFieldName(name) || slices.Contains(names, name) {
			return "", false
		}
		names = append(names, name)
	}
	return names[0], true
}

// WithoutCookie returns a header without the cookies of a name. h is not changed.
func WithoutCookie(h http.Header, name string) http.Header {
	if name == "" || h.Get("Cookie") == "" {
		return h
	}
	h = h.Clone()
	kept := slices.DeleteFunc(strings.Split(strings.Join(h["Cookie"], "; "), ";"), func(pair string) bool {
		other, _, _ := strings.Cut(pair, "=")
		return strings.TrimSpace(other) == name
	})
	if h.Del("Cookie"); len(kept) > 0 {
		h.Set("Cookie", strings.TrimSpace(strings.Join(kept, ";")))
	}
	return h
}

// AcceptsGzip reports whether a response may be compressed with gzip (RFC 9110, section 12.5.3): Accept-Encoding has
// gzip or
// * with a weight that is not zero. The weight of gzip counts more than that of *.
func AcceptsGzip(h http.Header) bool {
	wildcard := false
	for _, header := range h.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(header, ",") {
			coding, parameters, _ := strings.Cut(part, ";")
			weight, found := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameters)), "q=")
			q, err := strconv.ParseFloat(weight, 64)
			wanted := !found || err == nil && q > 0
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				return wanted
			case "*":
				wildcard = wanted
			}
		}
	}
	return wildcard
}
