// Package msg reads and writes the bodies and headers of the messages between edges and services (docs/subjects.md).
//
// The body of an event is the data array of a Socket.IO packet as JSON, the same in both directions. It passes
// through an edge byte for byte: this package checks what would break a client or a service, and reads what an edge
// needs. Up: EventName returns the name that becomes the subject, PackAttachments adds binary data. Down:
// SplitAttachments, EventName and CheckPlaceholders run before a body becomes a frame. All other bodies have a type
// or two functions, to write them and to read them: event.go, verbs.go (join, leave, disconnect, pause),
// admission.go, connect.go, notice.go, answers.go, announcement.go.
//
// The package is pure. encoding/json decides what is valid JSON: at most 10,000 levels deep, with white space around
// it allowed. Bodies must be valid UTF-8, which encoding/json does not require. The bytes of a body are never
// changed. Where a result points into a body, its function says so.
package msg

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"partyline/wire/jsontext"
	"partyline/wire/sio"
)

// The headers of the contract. Names are case-sensitive, exactly these.
const (
	HeaderSequence    = "Sio-Sequence"    // edges among themselves: the sequence of a record
	HeaderExcept      = "Sio-Except"      // repeatable: a room or socket id to leave out, written as in subjects
	HeaderRooms       = "Sio-Rooms"       // repeatable: a room or socket id to address, written as in subjects
	HeaderRewind      = "Sio-Rewind"      // of a join: how many of a room's last events the sockets get
	HeaderOwnedBy     = "Sio-Owned-By"    // an instance: only the sockets that it owns
	HeaderAttachments = "Sio-Attachments" // byte lengths of the attachments behind the JSON text: "3,2"
	HeaderVolatile    = "Sio-Volatile"    // may be dropped for a client that has other packets waiting
	HeaderCompress    = "Sio-Compress"    // whether the frame is worth compressing
	HeaderUser        = "Sio-User"        // the user of the socket whose event this is
	HeaderSocket      = "Sio-Socket"      // the socket whose ack this is
	HeaderExpect      = "Sio-Expect"      // how many acks an edge will pass on
	HeaderError       = "Sio-Error"       // why a request failed, as a message for people
	HeaderTimeout     = "Sio-Timeout"     // milliseconds for the acks of an ask, or for a decision about a connect
	HeaderPart        = "Sio-Part"        // which part of an answer in several messages this is: "2", "3 last"
	HeaderGroup       = "Sio-Group"       // in a connect reply: the group of instances that handles the socket's events
	HeaderOwner       = "Sio-Owner"       // in a connect reply: the instance that handles all of the socket's events
	HeaderAssignment  = "Sio-Assignment"  // the number of an assignment of a socket to an instance
	HeaderSignature   = "Sio-Signature"   // of an edge's announcement
	HeaderClose       = "Sio-Close"       // in a refusal: the session's transport is closed instead
	HeaderPending     = "Sio-Pending"     // in a connect reply: the instance that is still deciding
	HeaderFrom        = "Sio-From"        // the instance that an event for services, or an answer to one, comes from
)

// The errors about bodies that callers compare.
var (
	ErrNotJSON  = errors.New("body is not valid JSON")   // also of an empty body
	ErrNotArray = errors.New("body is not a JSON array") // it is another kind of JSON
)

// The other errors. After any error the body (or header) must be dropped or refused.
var (
	errNotUTF8       = errors.New("body is not valid UTF-8")
	errPayload       = errors.New("invalid payload")
	errNotObject     = errors.New("payload is not a JSON object")
	errNoName        = errors.New("first element is not an event name (a string or a number)")
	errReserved      = errors.New("event name is reserved (connect, connect_error, disconnect, disconnecting, newListener, removeListener)")
	errLoneSurrogate = errors.New(`name contains half a surrogate pair (such as "\ud800")`)
	errRooms         = errors.New("body is not an array of one or more room names")
	errDisconnect    = errors.New(`body of a disconnect must be empty, [], [true], [false] or ["close"]`)
	errInstance      = errors.New("body of a pause or resume must be an array of one element, the instance's name")
	errAdmission     = errors.New("bad answer to a connect request")
	errChange        = errors.New("bad grant")
	errRefusal       = errors.New("body of a refusal must be empty, [], [data] or [data,\"message\"]")
	errAttachments   = errors.New("bad attachments")
	errNotBlank      = errors.New("body must be empty or []")
	errData          = errors.New("body of data must be empty (to get) or an array of one value (to set)")
	errDataTooLarge  = errors.New("the limit is " + strconv.Itoa(maxDataBytes))
	errTimeout       = errors.New("Sio-Timeout must be a whole number of milliseconds from 0 to 600000")
	errAnswer        = errors.New("bad answer of an edge")
	errNotice        = errors.New("body is not an array of an event and what it is about")
)

// CheckArray checks that body is valid UTF-8 and a JSON array: the arguments of an ack. The errors are ErrNotJSON,
// ErrNotArray, and one for invalid UTF-8. It does not allocate.
func CheckArray(body []byte) error { return check(body, '[', ErrNotArray) }

// CheckObject checks that body is valid UTF-8 and a JSON object: the auth payload of a CONNECT packet, which the
// reference accepts in no other form. It does not allocate.
func CheckObject(body []byte) error { return check(body, '{', errNotObject) }

// check checks that body is valid JSON in valid UTF-8 and begins with open.
func check(body []byte, open byte, otherwise error) error {
	if !utf8.Valid(body) {
		return errNotUTF8
	}
	if !jsontext.Valid(body) {
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

// optional is single for a body that may also be empty.
func optional(body []byte, otherwise error) ([]byte, error) {
	if isBlank(body) {
		return nil, nil
	}
	return single(body, otherwise)
}

// appendDecoded appends the characters of a JSON string, given with its quotes. With an error, dst comes back
// unchanged.
func appendDecoded(dst, quoted []byte) ([]byte, error) {
	out, whole := jsontext.AppendDecoded(dst, quoted)
	if !whole {
		return dst, errLoneSurrogate
	}
	return out, nil
}

// AppendString appends s as a JSON string, with U+FFFD for bytes that are not UTF-8.
func AppendString(dst []byte, s string) []byte {
	return jsontext.AppendString(dst, strings.ToValidUTF8(s, "\uFFFD"))
}

// IsReserved reports whether Socket.IO keeps an event name for itself: no client can emit it.
func IsReserved[T ~string | ~[]byte](name T) bool {
	switch string(name) {
	case EventConnect, "connect_error", EventDisconnect, EventDisconnecting, "newListener", "removeListener":
		return true
	}
	return false
}

// IsVolatile reports whether the headers of an event say that it may be dropped, and is in no replay of a log.
func IsVolatile(header map[string][]string) bool {
	v := header[HeaderVolatile]
	return len(v) > 0 && IsYes(v[0])
}

// IsAlike reports whether two events with headers are for the same sockets, and need nothing else that would be
// different.
func IsAlike(a, b map[string][]string) bool {
	for _, h := range []map[string][]string{a, b} {
		for name := range h {
			if !strings.HasPrefix(name, "Nats-") && (name != HeaderExcept || !slices.Equal(a[name], b[name])) {
				return false
			}
		}
	}
	return true
}

// CheckPayload judges a packet's data by its type (reference: socket.io-parser, isPayloadValid). Without data, nil, any
// packet is valid. It does not check an Event, whose name must be read anyway.
func CheckPayload(kind sio.Type, data []byte) error {
	if data == nil {
		return nil
	}
	switch kind {
	case sio.Connect:
		return CheckObject(data)
	case sio.BinaryEvent:
		_, err := EventName(nil, data)
		return err
	case sio.Ack, sio.BinaryAck:
		return CheckArray(data)
	case sio.Disconnect:
		return errPayload
	}
	return nil
}

// Headers of what a log repeats. A publisher may write them, too: the log's own come last.
const (
	headerLog      = "Nats-Stream"
	headerSequence = "Nats-Sequence"
	headerStored   = "Nats-Time-Stamp"
)

// LogSequence returns the place of a message in a log, a stream; 0 for one that does not come from it.
func LogSequence(h map[string][]string, log string) uint64 {
	if last(h, headerLog) != log {
		return 0
	}
	n, _ := strconv.ParseUint(last(h, headerSequence), 10, 64)
	return n
}

// LogTime returns when the log stored a message, as the log writes it; "" if it does not say so.
func LogTime(h map[string][]string) string { return last(h, headerStored) }

// last is the last value of a header, or "".
func last(h map[string][]string, name string) string {
	if all := h[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// IsYes reports whether the value of a header that switches something on does so.
func IsYes(value string) bool { return value != "false" && value != "0" }
