package msg

import (
	"fmt"

	"partyline/wire/jsontext"
)

// Rooms reads the body of join and leave: the names of at least one room, not yet checked against the limits of
// subjects. The error says which element is wrong.
func Rooms(body []byte) ([]string, error) {
	elements, err := array(body)
	if err != nil {
		return nil, err
	}
	rooms, err := roomNames(elements)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRooms, err)
	}
	if len(rooms) == 0 {
		return nil, fmt.Errorf("%w: it is empty", errRooms)
	}
	return rooms, nil
}

// roomNames reads strings. Its errors count elements from 0.
func roomNames(elements jsontext.Values) ([]string, error) {
	var rooms []string
	var name []byte
	for {
		element, more := elements.Next()
		if !more {
			return rooms, nil
		}
		if !jsontext.IsString(element) {
			return nil, fmt.Errorf("element %d is not a string", len(rooms))
		}
		var err error
		if name, err = appendDecoded(name[:0], element); err != nil {
			return nil, fmt.Errorf("element %d: %w", len(rooms), err)
		}
		rooms = append(rooms, string(name))
	}
}

// Ending is what a disconnect ends.
type Ending uint8

const (
	EndSocket      Ending = iota // the socket
	EndSession                   // all sockets of its session, and the transport
	CloseTransport               // the transport alone, without DISCONNECT: the client reconnects
)

// Disconnect reads the body of disconnect: empty, [] and [false] end the socket, [true] its session, and ["close"]
// closes the session's transport. Everything else is an error.
func Disconnect(body []byte) (Ending, error) {
	element, err := optional(body, errDisconnect)
	if err != nil {
		return EndSocket, err
	}
	switch string(element) {
	case "", "false":
		return EndSocket, nil
	case "true":
		return EndSession, nil
	case `"close"`:
		return CloseTransport, nil
	}
	return EndSocket, errDisconnect
}

// InstanceBody returns the body of pause and resume.
func InstanceBody(name string) []byte { return encode([]string{name}) }

// Instance reads the body of pause and resume: an array of one string, the name of the instance, not yet checked.
func Instance(body []byte) (string, error) {
	element, err := single(body, errInstance)
	if err != nil {
		return "", err
	}
	name, ok := jsontext.Text(element)
	if !ok {
		return "", errInstance
	}
	return name, nil
}
