package msg

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// Request is what all sockets of a session share in their handshakes: the session's public name, and what the opening
// HTTP request says of the client.
type Request struct {
	Session string            `json:"session"`
	Query   map[string]string `json:"query"`
	Headers map[string]string `json:"headers"`
	Address string            `json:"address"`
	URL     string            `json:"url"`
	Secure  bool              `json:"secure"`
	XDomain bool              `json:"xdomain"`
}

// JSON returns the request as AppendHandshake needs it. The slice has no spare capacity: it is kept as long as the
// session.
func (r Request) JSON() []byte { return slices.Clip(slices.Clone(encode(r))) }

// AppendHandshake appends a socket's handshake (Socket.IO server API, socket.handshake), a JSON object. auth is what
// the client gave, nil for nothing; transport is the session's now; request is the session's Request.JSON.
func AppendHandshake(dst []byte, id string, auth []byte, issued time.Time, transport string, request []byte) []byte {
	dst = slices.Grow(dst, len(request)+len(auth)+200)
	dst = AppendString(append(dst, `{"sid":`...), id)
	dst = append(append(dst, `,"auth":`...), orEmpty(auth)...)
	dst = strconv.AppendInt(append(dst, `,"issued":`...), issued.UnixMilli(), 10)
	// As JavaScript prints a Date.
	dst = issued.UTC().AppendFormat(append(dst, `,"time":"`...), "Mon Jan 02 2006 15:04:05 GMT-0700")
	dst = append(dst, ` (Coordinated Universal Time)","transport":"`...)
	dst = append(append(dst, transport...), `",`...)
	return append(dst, request[1:]...)
}

// orEmpty returns JSON, an empty object for nil.
func orEmpty(value []byte) []byte {
	if value == nil {
		return []byte("{}")
	}
	return value
}

// orNone returns a list that marshals as an array, an empty one for nil.
func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// ConnectHead is the beginning of the body of a connect request or notice. The handshake follows it.
const ConnectHead = `["` + EventConnect + `",`

// Connect completes the body of a connect request or notice, ["connect",handshake]: body is ConnectHead and the handshake,
// and must not be used any more. With handover, the socket was admitted before, and gets a new owner.
func Connect(body []byte, handover *State) []byte {
	if handover == nil {
		return append(body, ']')
	}
	state := *handover
	state.Data, state.Rooms = orEmpty(state.Data), orNone(state.Rooms)
	body = append(append(body[:len(body)-1], `,"handover":`...), encode(state)...)
	if state.Edge != "" {
		body = AppendString(append(body, `,"edge":`...), state.Edge)
	}
	if state.Recovered {
		body = append(body, `,"recovered":true`...)
	}
	if state.Decides {
		body = append(body, `,"decides":true`...)
	}
	return append(body, `}]`...)
}

// Recovered is what a recovered socket had when its connection broke, and has again: the member "recovered" of the
// handshake in a connect request or notice that is no takeover.
type Recovered struct {
	Rooms []string        `json:"rooms"` // by name
	User  string          `json:"user,omitempty"`
	Data  json.RawMessage `json:"data"`
}

// ConnectRecovered is Connect for a recovered socket that no instance owns.
func ConnectRecovered(body []byte, r Recovered) []byte {
	r.Data, r.Rooms = orEmpty(r.Data), orNone(r.Rooms)
	return append(append(append(body[:len(body)-1], `,"recovered":`...), encode(r)...), `}]`...)
}

// State is what the owner of a socket must know of it: the object of own.<instance>.connect, and the handover member
// of the handshake in a connect request, which has From in place of ID.
type State struct {
	ID    string          `json:"sid,omitempty"`
	From  string          `json:"from,omitempty"` // the instance that owned it
	Rev   uint64          `json:"rev"`            // counts changes of rooms, user and data, from 0 at the admission
	Rooms []string        `json:"rooms"`
	User  string          `json:"user,omitempty"`
	Data  json.RawMessage `json:"data"`

	Transport string `json:"transport,omitempty"` // the session's; in a connect request the handshake has it

	// Connect writes these beside the handover member.
	Edge      string `json:"-"` // the edge that holds the socket, if the socket's id names another one
	Recovered bool   `json:"-"` // the client has just come back, and waits for its CONNECT
	Decides   bool   `json:"-"` // with Recovered: the owner decides again whether the socket may connect (skip_admission: false)
}

// Body returns the state as the body of a connect event for the owner.
func (s State) Body() []byte {
	s.Data, s.Rooms = orEmpty(s.Data), orNone(s.Rooms)
	return notice(EventConnect, s)
}
