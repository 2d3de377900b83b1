package msg

import (
	"bytes"
	"fmt"
)

// Rooms reads the body of join and leave: the names of at least one room, not yet checked against the limits of
// subjects. The errors are ErrNotUTF8, ErrNotJSON, ErrNotArray, and one that wraps ErrRooms (and ErrLoneSurrogate if that
// is the reason) and says where.
func Rooms(body []byte) ([]string, error) {
	elements, err := array(body)
	if err != nil {
		return nil, err
	}
	rooms, err := roomNames(elements)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRooms, err)
	}
	if len(rooms) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrRooms)
	}
	return rooms, nil
}

// roomNames reads strings. Its errors count elements from 0.
func roomNames(elements values) ([]string, error) {
	var rooms []string
	var name []byte
	for {
		element, more := elements.next()
		if !more {
			return rooms, nil
		}
		if !isString(element) {
			return nil, fmt.Errorf("element %d is not a string", len(rooms))
		}
		var err error
		if name, err = appendDecoded(name[:0], element); err != nil {
			return nil, fmt.Errorf("element %d: %w", len(rooms), err)
		}
		rooms = append(rooms, string(name))
	}
}

// Disconnect reads the body of disconnect: empty, [] and [false] end the socket, [true] closes its session too.
// Everything else is an error: ErrNotUTF8, ErrNotJSON, ErrNotArray or ErrDisconnect.
func Disconnect(body []byte) (closeSession bool, err error) {
	if isBlank(body) {
		return false, nil
	}
	elements, err := array(body)
	if err != nil {
		return false, err
	}
	first, given := elements.next()
	_, more := elements.next()
	if given && (more || !isTrue(first) && !bytes.Equal(first, []byte("false"))) {
		return false, ErrDisconnect
	}
	return isTrue(first), nil
}
