// Package bearer finds the tokens that clients show, and takes them out of what services, logs and records get to see.
package bearer

import (
	"net/url"
	"slices"
	"strings"

	"partyline/wire/jsontext"
	"partyline/wire/msg"
)

// Places are where a client may show a token, the first that has one counts: Auth, Authorization, and the names of a
// cookie or of a member of the query, behind Cookie or Query.
type Places []string

// The places.
const (
	Auth          = "auth"          // the member "token" of what the client gives as auth
	Authorization = "authorization" // the header, with the scheme Bearer
	Cookie        = "cookie:"       // a cookie
	Query         = "query:"        // a member of the query of the session's first request
)

// IsPlace reports whether s names a place.
func IsPlace(s string) bool {
	_, isCookie := strings.CutPrefix(s, Cookie)
	_, isQuery := strings.CutPrefix(s, Query)
	return s == Auth || s == Authorization || (isCookie || isQuery) && !strings.HasSuffix(s, ":") && !slices.Contains(taken, s)
}

// taken are members of the query that Engine.IO uses itself.
var taken = []string{Query + "EIO", Query + "transport", Query + "sid", Query + "t", Query + "b64", Query + "j"}

// FromAuth takes the token out of what a client gave as auth, a JSON object or nil. rest is auth without it, or auth
// itself.
func (p Places) FromAuth(auth []byte) (token string, rest []byte) {
	for _, place := range p {
		if place != Auth || auth == nil {
			continue
		}
		rest, values := jsontext.Take(auth, "token")
		if token, _ = jsontext.Text(values[0]); jsontext.IsString(values[0]) {
			return token, rest
		}
	}
	return "", auth
}

// FromRequest takes the tokens out of the session's first request, and returns the first of them, or "". The maps of r
// change.
func (p Places) FromRequest(r *msg.Request) (token string) {
	for _, place := range p {
		found := ""
		if name, ok := strings.CutPrefix(place, Cookie); ok {
			found = takeCookie(r.Headers, name)
		} else if name, ok := strings.CutPrefix(place, Query); ok {
			found = takeQuery(r, name)
		} else if place == Authorization {
			found = takeHeader(r.Headers)
		}
		if token == "" {
			token = found
		}
		if strings.Count(found, ".") != 2 { // it has not the form of a token
			continue
		}
		for name, value := range r.Headers { // proxies add headers with the whole URL
			r.Headers[name] = strings.ReplaceAll(value, found, "")
		}
	}
	return token
}

func takeHeader(headers map[string]string) string {
	scheme, token, _ := strings.Cut(headers[Authorization], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	delete(headers, Authorization)
	return strings.TrimSpace(token)
}

func takeCookie(headers map[string]string, name string) (token string) {
	var others []string
	for pair := range strings.SplitSeq(headers["cookie"], ";") {
		pair = strings.TrimSpace(pair)
		if key, value, _ := strings.Cut(pair, "="); strings.TrimSpace(key) != name {
			others = append(others, pair)
		} else if token == "" {
			token = strings.Trim(value, `"`)
		}
	}
	if headers["cookie"] = strings.Join(others, "; "); headers["cookie"] == "" {
		delete(headers, "cookie")
	}
	return token
}

func takeQuery(r *msg.Request, name string) string {
	token := r.Query[name]
	delete(r.Query, name)
	path, query, hasQuery := strings.Cut(r.URL, "?")
	if !hasQuery {
		return token
	}
	var others []string
	for pair := range strings.SplitSeq(query, "&") {
		key, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(key); err != nil || decoded != name {
			others = append(others, pair)
		}
	}
	r.URL = path + "?" + strings.Join(others, "&")
	return token
}
