package msg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Events that edges send to services. Clients cannot emit them: the names are reserved.
const (
	EventConnect       = "connect"       // a socket asks to connect, looks for a new owner, or (to its owner) has changed
	EventDisconnect    = "disconnect"    // a socket has ended, or has another owner
	EventDisconnecting = "disconnecting" // the end marker: the edge sends nothing more to an instance that leaves
)

// Values of Sio-Error that programs compare.
const (
	ErrorNotMine  = "not mine"  // a group that owns no sockets of this namespace
	ErrorAgain    = "again"     // an instance that is leaving: ask another one
	ErrorNotOwner = "not owner" // an instance that does not own the socket of an event, or took the edge for dead
)

// Reasons with which an edge ends the ownership of a socket that has not ended.
const (
	ReasonOwnerChanged = "owner changed" // another instance owns the socket, or will
)

// notice returns the body of an event that an edge sends to services: [event,{…}].
func notice(event string, about any) []byte { return encode([]any{event, about}) }

// ParseNotice decodes the second element of the body of such an event into about, as encoding/json does.
func ParseNotice(body []byte, about any) error {
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil {
		return err
	}
	if len(elements) != 2 {
		return fmt.Errorf("%w: it has %d elements", errNotice, len(elements))
	}
	return json.Unmarshal(elements[1], about)
}

// EdgeNotice is about an edge: the end marker, and what an edge publishes to find out whether NATS permits it.
type EdgeNotice struct {
	Edge string `json:"edge"`
}

// Body returns the notice as the body of an event.
func (n EdgeNotice) Body(event string) []byte { return notice(event, n) }

// Assignment reads the value of Sio-Assignment; 0 is returned if it is no number.
func Assignment(header string) uint64 {
	n, _ := strconv.ParseUint(header, 10, 64)
	return n
}

// Ended is the notice that a socket has ended, or that an instance does not own it any more.
type Ended struct {
	Reason     string   `json:"reason"`               // the reference's text, or one of the Reason… constants
	Rooms      []string `json:"rooms"`                // in which the socket was
	Assignment uint64   `json:"assignment,omitempty"` // with ReasonOwnerChanged: the notice ends this assignment and earlier ones; 0: all
}

// Body returns the notice as the body of a disconnect event.
func (n Ended) Body() []byte {
	n.Rooms = orNone(n.Rooms)
	return notice(EventDisconnect, n)
}

// encode returns JSON of a value that always marshals: strings, numbers, and valid JSON in a json.RawMessage.
func encode(v any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// MaxRewind is how many events of a room a socket gets at most that enters it.
const MaxRewind = 1000

var errRewind = fmt.Errorf("%s must be a number from 0 to %d", HeaderRewind, MaxRewind)

// Rewind parses HeaderRewind. The error is for the service.
func Rewind(header string) (int, error) {
	n, err := strconv.Atoi(header)
	if err != nil || n < 0 || n > MaxRewind {
		return 0, errRewind
	}
	return n, nil
}
