// Package redact hides credentials in text for people: log lines, faults, the printed configuration, pages.
package redact

import (
	"net/url"
	"slices"
	"strings"
)

// hidden replaces a secret.
const hidden = "hidden"

// schemes are shown before a hidden part. Another word before "://" could be part of a password.
var schemes = []string{"nats", "tls", "ws", "wss", "http", "https"}

// URLs returns a list of URLs, separated by commas, without passwords, tokens, queries and fragments. The result has
// as many commas as list. A text that is no URL is unchanged, unless it could be part of one with a password.
//
// It works on the text, not on parsed URLs: the password of a URL that does not parse must be hidden, too, and NATS
// needs no scheme.
func URLs(list string) string {
	parts := strings.Split(list, ",")
	shown := make([]string, len(parts))
	split := false // whether the next parts could be the rest of a password with a comma in it
	for i, part := range slices.Backward(parts) {
		scheme, rest := cutScheme(part)
		if split && !strings.Contains(rest, "@") {
			shown[i] = scheme + hidden
		} else {
			// A name after a part without @ could be the rest of a password, too.
			shown[i] = scheme + one(rest, scheme == "" && i > 0 && !strings.Contains(parts[i-1], "@"))
		}
		split = scheme == "" && (split || strings.Contains(rest, "@"))
	}
	return strings.Join(shown, ",")
}

// cutScheme splits a URL after its scheme. Blanks before that belong to the scheme.
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

// hostPort hides a port that is not a number: it is a password without its @.
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
	if port := strings.TrimSpace(host[colon+1:]); strings.ContainsFunc(port,
		func(c rune) bool { return c < '0' || c > '9' }) {
		return host[:colon+1] + hidden
	}
	return host + path
}

// Text returns a text, such as the error of another library, without the credentials of a list of URLs.
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

// shortest is the least length, in bytes, of a secret that Text searches for: a shorter one is part of many words.
const shortest = 4

func unescaped(s string) string {
	plain, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return plain
}
