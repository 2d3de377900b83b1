package engine

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/text/encoding/unicode"

	"partyline/wire/eio"
)

// isUpgrade reports whether a request asks for a WebSocket. A server without WebSockets takes an upgrade for a plain
// request, as Node does.
func (s *Server) isUpgrade(r *http.Request) bool {
	return websocket.IsWebSocketUpgrade(r) && slices.Contains(s.set.Transports, transportNames[kindWebSocket])
}

// Refuse answers a request that was rejected in front of the server, as the server answers bad ones, and counts it
// with them.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, why eio.Refusal) {
	s.WriteCORS(w, r)
	s.refuse(w, why, s.isUpgrade(r))
}

// refuse answers a request that breaks the rules: JSON for plain HTTP, and for an upgrade a plain 400 with the message
// (engine.io, server.ts: abortRequest, abortUpgrade).
func (s *Server) refuse(w http.ResponseWriter, why eio.Refusal, isUpgrade bool) {
	s.stats.refused[why].Inc()
	if isUpgrade {
		refuseUpgrade(w, why.Message())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(why.Status())
	_, _ = w.Write(eio.AppendRefusal(nil, why))
}

// refuseUpgrade answers an upgrade with 400. CORS does not apply to it.
func refuseUpgrade(w http.ResponseWriter, message string) {
	clear(w.Header())
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Length", strconv.Itoa(len(message)))
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(message))
}

// withoutSessionID returns the header without the cookie that may carry the id of the browser's other session: an id
// lets its holder read and write the session, so it stays in the engine.
func (s *Server) withoutSessionID(h http.Header) http.Header {
	if s.set.Cookie == "" || h.Get("Cookie") == "" {
		return h
	}
	h = h.Clone()
	kept := slices.DeleteFunc(strings.Split(strings.Join(h["Cookie"], "; "), ";"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return strings.TrimSpace(name) == s.set.Cookie
	})
	if h.Del("Cookie"); len(kept) > 0 {
		h.Set("Cookie", strings.TrimSpace(strings.Join(kept, ";")))
	}
	return h
}

// randomPart returns the part of an id that cannot be guessed: 20 base64url characters, 120 random bits.
func randomPart() string {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// last returns the value that counts when a query names a key twice, as in the reference.
func last(q url.Values, key string) string {
	if v := q[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// parseQuery reads the query of a request line as the reference server does, with the URLSearchParams of the URL
// standard: only "&" separates, "+" is a blank, an invalid escape stays as it is, and what is not UTF-8 becomes
// U+FFFD. (url.ParseQuery drops such pairs, and those with a semicolon.)
func parseQuery(raw string) url.Values {
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

// subprotocol chooses the first of the WebSocket subprotocols that a request offers, as the reference does (ws,
// subprotocol.js and websocket-server.js): without a choice a browser closes the connection. It returns "" if the
// request offers none, and false if the header breaks RFC 6455, section 4.1.
func subprotocol(h http.Header) (chosen string, ok bool) {
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
