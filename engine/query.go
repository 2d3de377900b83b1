package engine

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// parseQuery reads the query of a request line as the reference server does, with the URLSearchParams of the URL standard:
// only "&" separates, "+" is a blank, an escape that is none stays as it is, and what is not UTF-8 becomes U+FFFD.
// (url.ParseQuery drops such pairs, and those with a semicolon.)
func parseQuery(raw string) url.Values {
	raw, _, _ = strings.Cut(raw, "#") // net/http leaves a fragment in the query
	values := url.Values{}
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = unescape(name)
		values[name] = append(values[name], unescape(value))
	}
	return values
}

// unescape decodes a name or value of a query.
func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return validText(s)
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			out = append(out, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return validText(string(out))
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

// validText returns s with U+FFFD in place of what is not UTF-8: one for each maximal part of a character (Unicode,
// section 3.9), as browsers and Node.js do it.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			size = brokenPart(s)
		}
		out.WriteRune(r)
		s = s[size:]
	}
	return out.String()
}

// brokenPart is the length of the beginning of a character that s starts with and does not finish; at least 1.
func brokenPart(s string) int {
	low, high, length := byte(0x80), byte(0xBF), 0
	switch c := s[0]; {
	case 0xC2 <= c && c <= 0xDF:
		length = 2
	case c == 0xE0:
		low, length = 0xA0, 3
	case c == 0xED: // surrogates are no characters
		high, length = 0x9F, 3
	case 0xE1 <= c && c <= 0xEF:
		length = 3
	case c == 0xF0:
		low, length = 0x90, 4
	case c == 0xF4:
		high, length = 0x8F, 4
	case 0xF1 <= c && c <= 0xF3:
		length = 4
	}
	n := 1
	for n < length && n < len(s) && low <= s[n] && s[n] <= high {
		low, high = 0x80, 0xBF
		n++
	}
	return n
}
