package engine

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// errSubprotocol is returned by accept for an upgrade whose subprotocols are no list of names.
var errSubprotocol = errors.New("invalid Sec-WebSocket-Protocol header")

// subprotocol chooses from the WebSocket subprotocols that a request offers the first, as the reference does (ws,
// subprotocol.js and websocket-server.js): without a choice a browser closes the connection. It returns "" if the request
// offers none, and false if the header breaks RFC 6455, section 4.1.
func subprotocol(h http.Header) (chosen string, ok bool) {
	lines, offered := h["Sec-Websocket-Protocol"]
	if !offered {
		return "", true
	}
	var names []string
	for name := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name = strings.Trim(name, " \t")
		if !isToken(name) || slices.Contains(names, name) {
			return "", false
		}
		names = append(names, name)
	}
	return names[0], true
}

// isToken reports whether s is a token of HTTP (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
	})
}

// refuseSubprotocol answers an upgrade whose subprotocols are no list of names, in the words of the reference.
func refuseSubprotocol(w http.ResponseWriter) {
	const words = "Invalid Sec-WebSocket-Protocol header"
	clear(w.Header()) // as in Server.refuse
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Length", strconv.Itoa(len(words)))
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(words))
}
