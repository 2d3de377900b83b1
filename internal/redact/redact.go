// Package redact hides credentials in text that people read: log lines, faults, the printed configuration, pages.
package redact

import (
	"net/url"
	"slices"
	"strings"
)

// hidden stands where a secret was.
const hidden = "hidden"

// schemes are those that are shown in front of what is hidden. Another word before "://" could be part of a password.
var schemes = []string{"nats", "tls", "ws", "wss", "http", "https"}

// URLs returns a list of URLs, separated by commas, without passwords, tokens, queries and fragments. It works on the text,
// because a URL that does not parse must not show its password either, and what NATS takes needs no scheme. The result has
// as many commas as list. A text that is no URL passes unchanged, unless it could be a part of one with a password.
func URLs(list string) string {
	parts := strings.Split(list, ",")
	shown := make([]string, len(parts))
	split := false // whether what follows could be the rest of a password with a comma in it
	for i, part := range slices.Backward(parts) {
		scheme, rest := cutScheme(part)
		if split && !strings.Contains(rest, "@") {
			shown[i] = scheme + hidden
		} else {
			// A name behind a part without @ could be the rest of a password, too.
			shown[i] = scheme + one(rest, scheme == "" && i > 0 && !strings.Contains(parts[i-1], "@"))
		}
		split = scheme == "" && (split || strings.Contains(rest, "@"))
	}
	return strings.Join(shown, ",")
}

// cutScheme splits the blanks and the scheme in front of a URL off.
func cutScheme(s string) (scheme, rest string) {
	before, after, found := strings.Cut(s, "://")
	if !found || !slices.Contains(schemes, strings.ToLower(strings.TrimSpace(before))) {
		return "", s
	}
	return before + "://", after
}

// one hides the secrets in a URL without its scheme, and the user if hideUser is true.
func one(s string, hideUser bool) string {
	shown := ""
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		user, password, _ := strings.Cut(s[:at], ":")
		if password == "" || hideUser { // alone it is a token
			shown = hidden + "@"
		} else {
			shown = user + ":" + hidden + "@"
		}
		s = s[at+1:]
	}
	if end := strings.IndexAny(s, "?#"); end >= 0 {
		return shown + hostPort(s[:end]) + s[end:end+1] + hidden
	}
	return shown + hostPort(s)
}

// hostPort hides what stands in the place of a port and is no number: a password whose @ is missing.
func hostPort(s string) string {
	host, path := s, ""
	if slash := strings.IndexByte(s, '/'); slash >= 0 {
		host, path = s[:slash], s[slash:]
	}
	from := 0
	if strings.HasPrefix(host, "[") {
		from = strings.IndexByte(host, ']') + 1
	}
	colon := strings.IndexByte(host[from:], ':')
	if colon < 0 {
		return s
	}
	colon += from
	if port := strings.TrimSpace(host[colon+1:]); strings.ContainsFunc(port, func(c rune) bool { return c < '0' || c > '9' }) {
		return host[:colon+1] + hidden
	}
	return host + path
}

// Text returns a text, such as another library's error, without the credentials of a list of URLs, wherever it repeats
// them.
func Text(text, list string) string {
	if list == "" {
		return text
	}
	text = strings.ReplaceAll(text, list, URLs(list))
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		if part != "" {
			text = strings.ReplaceAll(text, part, URLs(part))
		}
		_, rest := cutScheme(part)
		at := strings.LastIndexByte(rest, '@')
		if at < 0 {
			continue
		}
		user, secret, _ := strings.Cut(rest[:at], ":")
		if secret == "" {
			secret = user
		}
		for _, form := range []string{secret, unescaped(secret)} {
			if len(form) >= shortest {
				text = strings.ReplaceAll(text, form, hidden)
			}
		}
	}
	return text
}

// shortest is the length from which a secret by itself is looked for in a text: a shorter one is part of many words.
const shortest = 4

func unescaped(s string) string {
	plain, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return plain
}
