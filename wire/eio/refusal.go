package eio

import (
	"net/http"
	"strconv"
)

// Refusal is the code with which a server turns a request away before or instead of handing it to a session. Codes,
// messages and statuses are those of the reference (engine.io 6, server.ts: errors, errorMessages, abortRequest), since
// clients and their operators compare them.
type Refusal uint8

// The refusals of the reference.
const (
	UnknownTransport    Refusal = 0 // the transport parameter is missing, unknown or not enabled
	UnknownSession      Refusal = 1 // the sid names no session that lives here
	BadHandshakeMethod  Refusal = 2 // a handshake that is not a GET
	BadRequest          Refusal = 3 // anything else that is malformed, or a transport that does not fit the session
	Forbidden           Refusal = 4 // the origin or the application's rule says no
	UnsupportedProtocol Refusal = 5 // an EIO parameter other than 4
)

var refusalMessages = [...]string{
	UnknownTransport:    "Transport unknown",
	UnknownSession:      "Session ID unknown",
	BadHandshakeMethod:  "Bad handshake method",
	BadRequest:          "Bad request",
	Forbidden:           "Forbidden",
	UnsupportedProtocol: "Unsupported protocol version",
}

// Message returns the reference's words for r; those of BadRequest for a code that the protocol does not have.
func (r Refusal) Message() string {
	if int(r) >= len(refusalMessages) {
		r = BadRequest
	}
	return refusalMessages[r]
}

// Error is Message, so that a Refusal can be returned as an error.
func (r Refusal) Error() string { return r.Message() }

// Status returns the HTTP status that goes with r: 403 for Forbidden, 400 for all others.
func (r Refusal) Status() int {
	if r == Forbidden {
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}

// AppendRefusal appends the JSON body of a refused polling request to dst and returns it. Its content type is
// application/json.
func AppendRefusal(dst []byte, r Refusal) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendUint(dst, uint64(r), 10)
	dst = append(dst, `,"message":"`...)
	dst = append(dst, r.Message()...) // none of the messages needs escaping
	return append(dst, `"}`...)
}
