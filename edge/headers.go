package edge

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// onceOnly are the headers of which Node.js, and so the reference, keeps the first when a request repeats them
// (http.IncomingMessage, message.headers).
var onceOnly = []string{
	"Age", "Authorization", "Content-Length", "Content-Type", "Etag", "Expires", "From", "If-Modified-Since",
	"If-Unmodified-Since", "Last-Modified", "Location", "Max-Forwards", "Proxy-Authorization", "Referer", "Retry-After",
	"Server", "User-Agent",
}

// headerValue returns the value of a header in a handshake, as Node.js joins the lines of a request.
func headerValue(name string, lines []string) string {
	switch {
	case len(lines) == 0:
		return ""
	case len(lines) == 1 || slices.Contains(onceOnly, name):
		return lines[0]
	case name == "Cookie":
		return strings.Join(lines, "; ")
	}
	return strings.Join(lines, ", ")
}

// latin1 returns the text of a header's bytes, one letter of ISO 8859-1 for each, as in the reference. HTTP does not name
// an encoding (RFC 9110, section 5.5). A service decodes the values of clients that send UTF-8.
func latin1(s string) string {
	i := 0
	for i < len(s) && s[i] < utf8.RuneSelf {
		i++
	}
	if i == len(s) {
		return s
	}
	out := append(make([]byte, 0, len(s)+8), s[:i]...)
	for ; i < len(s); i++ {
		out = utf8.AppendRune(out, rune(s[i]))
	}
	return string(out)
}
