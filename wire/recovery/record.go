package recovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Record is what edges store about a socket that may come back. Rooms are named as in subjects; numbers without a unit
// are sequences of the log.
type Record struct {
	SID       string `json:"sid"` // the socket's id, which it keeps
	Namespace string `json:"ns"`  // with its slash
	Given
	Epoch   string            `json:"epoch"`             // of the log in which the sequences count
	Start   uint64            `json:"start"`             // the socket was admitted behind it
	Renewed bool              `json:"renewed,omitempty"` // an offset of another log has a hole behind it
	Rooms   map[string]uint64 `json:"rooms,omitempty"`
	Past    []Span            `json:"past,omitempty"` // rooms that it has left lately
	Rev     uint64            `json:"rev,omitempty"`  // changes of rooms and data since the admission

	Group      string `json:"group,omitempty"`      // the group that gets its events
	Owner      string `json:"owner,omitempty"`      // the instance that gets its events
	Assignment uint64 `json:"assignment,omitempty"` // the number of the last assignment to an instance

	Left   int64  `json:"left,omitempty"`   // when its connection ended, in milliseconds since 1970; 0: it has not
	Reason string `json:"reason,omitempty"` // why
	Ended  bool   `json:"ended,omitempty"`  // its client or a service ended it: nothing to recover
}

// Given is what services or a token gave to a socket.
type Given struct {
	User  string          `json:"user,omitempty"`
	Data  json.RawMessage `json:"data,omitempty"`  // any JSON value, byte for byte; nil for none
	Grant json.RawMessage `json:"grant,omitempty"` // what the client may do, an object; nil: what the namespace allows
}

// Span is the time that a socket was in a room: events of the room with From < sequence <= To were for it.
type Span struct {
	Room string `json:"room"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// WasIn reports whether one of the stays of a socket is in a room at the time of an event. To is 0 in those that have
// not ended.
func WasIn(stays []Span, room string, seq uint64) bool {
	return slices.ContainsFunc(stays, func(s Span) bool { return s.Room == room && seq > s.From && (s.To == 0 || seq <= s.To) })
}

const recordVersion = 1

// versioned is a record as it is stored.
type versioned struct {
	V int `json:"v"`
	Record
}

var (
	errRecord  = errors.New("bad record of a session")
	errVersion = fmt.Errorf("%w: it is not of version %d", errRecord, recordVersion)
	errEpoch   = fmt.Errorf("%w: bad epoch", errRecord)
)

// JSON returns the record as it is stored. Data must be valid JSON or nil.
func (r *Record) JSON() []byte {
	head := versioned{recordVersion, *r}
	head.Data = nil // encoding/json would rewrite it
	out, err := json.Marshal(head)
	if err != nil {
		panic(err) // cannot be: strings and numbers
	}
	if r.Data == nil {
		return out
	}
	out = append(append(out[:len(out)-1], `,"data":`...), r.Data...)
	return append(out, '}')
}

// ParseRecord is the inverse of JSON. It keeps no part of b. The error says that b is no record of this version.
func ParseRecord(b []byte) (Record, error) {
	var v versioned
	if err := json.Unmarshal(b, &v); err != nil {
		return Record{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	if v.V != recordVersion {
		return Record{}, errVersion
	}
	if !isEpoch(v.Epoch) {
		return Record{}, errEpoch
	}
	return v.Record, nil
}
