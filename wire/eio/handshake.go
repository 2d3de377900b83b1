package eio

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Handshake is the content of the open packet, the first that a server sends (protocol, section "Handshake").
type Handshake struct {
	// SID names the session in every later request. It is a secret.
	SID string
	// Upgrades lists the transports that the client may change to: "websocket" or none.
	Upgrades []string
	// PingInterval and PingTimeout are sent in whole milliseconds, rounded down.
	PingInterval, PingTimeout time.Duration
	// MaxPayload is how many bytes the client may put in one polling request.
	MaxPayload int
}

// AppendOpen appends the open packet as a text frame to dst and returns it. It allocates: a session has one handshake.
func AppendOpen(dst []byte, h Handshake) []byte {
	open := struct { // its fields in the order of the reference
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int      `json:"maxPayload"`
	}{h.SID, h.Upgrades, h.PingInterval.Milliseconds(), h.PingTimeout.Milliseconds(), h.MaxPayload}
	if open.Upgrades == nil {
		open.Upgrades = []string{} // null breaks clients
	}
	data, _ := json.Marshal(open) // strings and integers always marshal
	return append(append(dst, byte(Open)), data...)
}

// Refusal is the code with which a server refuses a request. Codes, messages and statuses are those of the reference
// (engine.io 6, server.ts: errors, errorMessages, abortRequest), since clients and their operators compare them.
type Refusal uint8

// The refusals of the reference.
const (
	UnknownTransport    Refusal = 0 // the transport parameter is missing, unknown or not enabled
	UnknownSession      Refusal = 1 // the server has no session with this sid
	BadHandshakeMethod  Refusal = 2 // a handshake that is not a GET
	BadRequest          Refusal = 3 // anything else that is malformed, or a transport that does not fit the session
	Forbidden           Refusal = 4 // the origin or the application does not allow it
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

// Message returns the reference's text for r, and that of BadRequest for a code that the protocol does not have.
func (r Refusal) Message() string {
	if int(r) >= len(refusalMessages) {
		r = BadRequest
	}
	return refusalMessages[r]
}

// Status returns the HTTP status for r: 403 for Forbidden, 400 for all others.
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
	dst = append(dst, r.Message()...) // no message needs escaping
	return append(dst, `"}`...)
}
