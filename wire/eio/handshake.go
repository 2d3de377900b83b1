package eio

import (
	"encoding/json"
	"errors"
	"math"
	"time"
)

// ErrHandshake is returned by ParseOpen for data that is not a handshake: broken JSON, no sid, or a number that is
// negative, fractional or out of range.
var ErrHandshake = errors.New("eio: not a handshake")

// Handshake is the content of the open packet, the first that a server sends (protocol, section "Handshake").
type Handshake struct {
	// SID names the session in every later request. It is a secret.
	SID string
	// Upgrades lists the transports that the client may change to: "websocket" or none.
	Upgrades []string
	// PingInterval and PingTimeout travel in whole milliseconds; what is finer is cut off.
	PingInterval, PingTimeout time.Duration
	// MaxPayload is the number of bytes that the client may put in one polling request.
	MaxPayload int
}

// openData is a Handshake on the wire, its fields in the order of the reference.
type openData struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"`
	PingTimeout  int64    `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

// AppendOpen appends the open packet as a text frame to dst and returns it. It allocates: a session has one handshake.
func AppendOpen(dst []byte, h Handshake) []byte {
	upgrades := h.Upgrades
	if upgrades == nil {
		upgrades = []string{} // null breaks clients
	}
	// Strings and integers always marshal.
	data, _ := json.Marshal(openData{h.SID, upgrades, h.PingInterval.Milliseconds(), h.PingTimeout.Milliseconds(), h.MaxPayload})
	return append(append(dst, byte(Open)), data...)
}

// ParseOpen reads the Data of an open packet, for clients and tests. Unknown fields are ignored. The only error is
// ErrHandshake; the result shares nothing with data.
func ParseOpen(data []byte) (Handshake, error) {
	var d openData
	if err := json.Unmarshal(data, &d); err != nil {
		return Handshake{}, ErrHandshake
	}
	const longest = math.MaxInt64 / int64(time.Millisecond)
	if d.SID == "" || d.MaxPayload < 0 ||
		d.PingInterval < 0 || d.PingInterval > longest || d.PingTimeout < 0 || d.PingTimeout > longest {
		return Handshake{}, ErrHandshake
	}
	return Handshake{
		SID:          d.SID,
		Upgrades:     d.Upgrades,
		PingInterval: time.Duration(d.PingInterval) * time.Millisecond,
		PingTimeout:  time.Duration(d.PingTimeout) * time.Millisecond,
		MaxPayload:   d.MaxPayload,
	}, nil
}
