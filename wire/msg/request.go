package msg

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

// RequestHeaders returns the headers of an HTTP request, by their canonical names, as a handshake has them: the lines
// of each joined as Node.js joins them, by names in lower case.
func RequestHeaders(host string, header map[string][]string) map[string]string {
	all := make(map[string]string, len(header)+1)
	all["host"] = latin1(host)
	for name, lines := range header {
		separator := ", "
		if name == "Cookie" {
			separator = "; "
		}
		if len(lines) > 1 && slices.Contains(onceOnly, name) {
			lines = lines[:1]
		}
		all[strings.ToLower(name)] = latin1(strings.Join(lines, separator))
	}
	return all
}

// latin1 returns the text of a header's bytes, one letter of ISO 8859-1 for each, as in the reference. HTTP does not
// name an encoding (RFC 9110, section 5.5). A service decodes the values of clients that send UTF-8.
func latin1(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return s
	}
	letters := make([]rune, len(s))
	for i := range letters {
		letters[i] = rune(s[i])
	}
	return string(letters)
}
