// Package redact hides credentials in text for people: log lines, faults, the printed configuration, pages.
package redact

import (
	"net/url"
	"slices"
	"strconv"
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

// hostPort hides a port that is not a number: it is a password without its @. So may be a path with a colon in it.
func hostPort(s string) string {
	host, path := s, ""
	if slash := strings.IndexByte(s, '/'); slash >= 0 {
		host, path = s[:slash], s[slash:]
	}
	if strings.Contains(path, ":") { // behind a scheme that is none
		path = "/" + hidden
	}
	from := 0
	if strings.HasPrefix(host, "[") {
		from = strings.IndexByte(host, ']') + 1
	}
	colon := strings.IndexByte(host[from:], ':')
	if colon < 0 {
		return host + path
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
		for _, secret := range secrets(part) {
			for _, form := range forms(secret) {
				if len(form) >= shortest {
					text = strings.ReplaceAll(text, form, hidden)
				}
			}
		}
	}
	return text
}

// shortest is the least length, in bytes, of a secret that Text searches for: a shorter one is part of many words.
const shortest = 4

// secrets returns the password or token of a URL, and its query or fragment.
func secrets(s string) (found []string) {
	_, rest := cutScheme(s)
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, secret, _ := strings.Cut(rest[:at], ":")
		if secret == "" {
			secret = user
		}
		found, rest = append(found, secret), rest[at+1:]
	}
	if end := strings.IndexAny(rest, "?#"); end >= 0 {
		found = append(found, rest[end+1:])
	}
	return found
}

// forms returns how a secret of a URL may stand in a text, the longest first: as it is, decoded, encoded by package
// url, and each of them in quotes.
func forms(secret string) []string {
	plain := secret
	if decoded, err := url.PathUnescape(secret); err == nil {
		plain = decoded
	}
	encoded := strings.TrimPrefix(url.UserPassword("", plain).String(), ":")
	all := []string{secret, plain, encoded}
	for _, form := range all[:3] {
		quoted := strconv.Quote(form)
		all = append(all, quoted[1:len(quoted)-1])
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}
