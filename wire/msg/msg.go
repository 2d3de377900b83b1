// Package msg reads and writes the bodies and headers of the messages between edges and services (docs/subjects.md).
//
// A body is the data array of a Socket.IO packet as JSON, the same in both directions, and passes through an edge byte
// for byte: this package checks what would break a client or a service and reads out the little that an edge acts on.
// Up: EventName gives the name that becomes the subject, PackAttachments adds binary data. Down:
// SplitAttachments, EventName and CheckPlaceholders before a frame is made of a body; Rooms, Disconnect, Instance, Question,
// Data, ParseAdmission and RefusalData for the other verbs.
//
// The package is pure. JSON is judged by encoding/json, at most 10,000 levels deep, with white space around it allowed;
// bodies must be valid UTF-8, which encoding/json does not ask for. The bytes of a body are never changed; where a
// result points into one, its function says so.
package msg

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"partyline/wire/jsontext"
)

// The headers of the contract. Names are case-sensitive, exactly these.
const (
	HeaderExcept      = "Sio-Except"      // repeatable: a room or socket id to leave out, written as in subjects
	HeaderRooms       = "Sio-Rooms"       // repeatable: a room or socket id to address, written as in subjects
	HeaderAttachments = "Sio-Attachments" // byte lengths of the attachments behind the JSON text: "3,2"
	HeaderVolatile    = "Sio-Volatile"    // may be dropped for a client that has other packets waiting
	HeaderCompress    = "Sio-Compress"    // whether the frame is worth compressing
	HeaderUser        = "Sio-User"        // the user of the socket whose event this is
	HeaderSocket      = "Sio-Socket"      // the socket whose ack this is
	HeaderExpect      = "Sio-Expect"      // how many answers an edge will pass on
	HeaderError       = "Sio-Error"       // why a request failed, as a message for people
	HeaderTimeout     = "Sio-Timeout"     // how long an edge waits for the acks of an ask, or for a decision about a connect, in milliseconds
	HeaderPart        = "Sio-Part"        // which part of an answer in several messages this is: "2", "3 last"
	HeaderGroup       = "Sio-Group"       // in a connect reply: the group of instances that handles the socket's events
	HeaderOwner       = "Sio-Owner"       // in a connect reply: the instance that handles all of the socket's events
	HeaderClaim       = "Sio-Claim"       // in a reply to a connect or takeover: the number of the claim that it makes
	HeaderSignature   = "Sio-Signature"   // of an edge's announcement
	HeaderPending     = "Sio-Pending"     // in a connect reply: the instance that is still deciding
	HeaderFrom        = "Sio-From"        // the instance that an event for services, or an answer to one, comes from
)

// The errors of this package, alone or wrapped, as their functions say. All mean that the body (or header) must be dropped or refused.
var (
	// ErrNotUTF8 is returned for a body that is not valid UTF-8.
	ErrNotUTF8 = errors.New("body is not valid UTF-8")
	// ErrNotJSON is returned for a body that is not valid JSON, such as an empty one.
	ErrNotJSON = errors.New("body is not valid JSON")
	// ErrNotArray is returned for a body that is JSON, but no array.
	ErrNotArray = errors.New("body is not a JSON array")
	// ErrNotObject is returned for a payload that is JSON, but no object.
	ErrNotObject = errors.New("payload is not a JSON object")
	// ErrNoName is returned for the body of an event that does not begin with its name, a string or a number.
	ErrNoName = errors.New("first element is not an event name (a string or a number)")
	// ErrReserved is returned for an event with a name that Socket.IO keeps for itself.
	ErrReserved = errors.New("event name is reserved (connect, connect_error, disconnect, disconnecting, newListener, removeListener)")
	// ErrLoneSurrogate is returned for a name with an escape such as \ud800 that stands for half a character.
	ErrLoneSurrogate = errors.New(`name contains half a surrogate pair (such as "\ud800")`)
	// ErrRooms is wrapped by the errors for the body of a join or leave that is not an array of at least one string.
	ErrRooms = errors.New("body is not an array of one or more room names")
	// ErrDisconnect is returned for the body of a disconnect that is none of empty, [], [true], [false] and ["close"].
	ErrDisconnect = errors.New(`body of a disconnect must be empty, [], [true], [false] or ["close"]`)
	// ErrInstance is returned for the body of a pause or resume that is not an array of the name of one instance.
	ErrInstance = errors.New("body of a pause or resume must be an array of one element, the instance's name")
	// ErrAdmission is wrapped by what ParseAdmission returns for an array that is no admission.
	ErrAdmission = errors.New("bad answer to a connect request")
	// ErrRefusal is returned for the body of a refusal that is none of empty, [] and [data].
	ErrRefusal = errors.New("body of a refusal must be empty, [] or [data]")
	// ErrAttachments is wrapped by the errors about attachments: their header, lengths and placeholders.
	ErrAttachments = errors.New("bad attachments")
)

// CheckArray tells whether body is valid UTF-8 and a JSON array: the arguments of an ack. Its errors are ErrNotUTF8,
// ErrNotJSON and ErrNotArray. It does not allocate.
func CheckArray(body []byte) error { return check(body, '[', ErrNotArray) }

// CheckObject tells whether body is valid UTF-8 and a JSON object: the auth payload of a CONNECT packet, which the
// reference accepts in no other form. Its errors are ErrNotUTF8, ErrNotJSON and ErrNotObject. It does not allocate.
func CheckObject(body []byte) error { return check(body, '{', ErrNotObject) }

// check tells whether body is valid JSON in valid UTF-8 whose first character is open.
func check(body []byte, open byte, otherwise error) error {
	if !utf8.Valid(body) {
		return ErrNotUTF8
	}
	if !json.Valid(body) {
		return ErrNotJSON
	}
	if body[jsontext.SkipSpace(body, 0)] != open {
		return otherwise
	}
	return nil
}

// isBlank reports whether a body is empty, apart from white space, which people's tools add.
func isBlank(body []byte) bool { return jsontext.SkipSpace(body, 0) == len(body) }

// array checks that body is a JSON array in valid UTF-8 and returns its elements.
func array(body []byte) (jsontext.Values, error) {
	if err := CheckArray(body); err != nil {
		return jsontext.Values{}, err
	}
	return jsontext.Inside(body), nil
}

// single returns the element of an array that has one, nil for []. For a longer array the error is otherwise.
func single(body []byte, otherwise error) ([]byte, error) {
	elements, err := array(body)
	if err != nil {
		return nil, err
	}
	first, _ := elements.Next()
	if _, more := elements.Next(); more {
		return nil, otherwise
	}
	return first, nil
}

// optional is single for a body that may be empty.
func optional(body []byte, otherwise error) ([]byte, error) {
	if isBlank(body) {
		return nil, nil
	}
	return single(body, otherwise)
}

// appendDecoded appends the characters of a JSON string, given with its quotes. The only error is ErrLoneSurrogate; dst comes
// back unchanged then.
func appendDecoded(dst, quoted []byte) ([]byte, error) {
	out, whole := jsontext.AppendDecoded(dst, quoted)
	if !whole {
		return dst, ErrLoneSurrogate
	}
	return out, nil
}

// AppendString appends s as a JSON string, with U+FFFD for bytes that are not UTF-8.
func AppendString(dst []byte, s string) []byte {
	return jsontext.AppendString(dst, strings.ToValidUTF8(s, "\uFFFD"))
}

func isReserved(name []byte) bool {
	switch string(name) {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}
