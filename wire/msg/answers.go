package msg

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits of questions and their answers.
const (
	// maxDataBytes bounds the data of a socket, as JSON.
	maxDataBytes = 64 << 10
	// MaxPartBytes bounds a message of an answer in parts, unless a single element is larger.
	MaxPartBytes = 256 << 10
	// DefaultAskTimeout and MaxAskTimeout are for how long an edge waits for the acks of an ask.
	DefaultAskTimeout = 30 * time.Second
	MaxAskTimeout     = 10 * time.Minute
)

// Question checks the body of fetch and rooms, which have no arguments: empty or [].
func Question(body []byte) error {
	element, err := optional(body, errNotBlank)
	if err == nil && element != nil {
		return errNotBlank
	}
	return err
}

// Data reads the body of data. It returns nil, to get, if the body is empty or [], and the JSON of [value], to set,
// which points into the body.
func Data(body []byte) (json.RawMessage, error) {
	value, err := optional(body, errData)
	if err != nil || value == nil {
		return nil, err
	}
	return value, CheckData(value)
}

// CheckData returns an error if a socket's data, any JSON, is too large.
func CheckData(data []byte) error {
	if len(data) > maxDataBytes {
		return fmt.Errorf("data of %d bytes; %w", len(data), errDataTooLarge)
	}
	return nil
}

// AskTimeout reads the value of Sio-Timeout: milliseconds up to MaxAskTimeout, DefaultAskTimeout if it is empty. 0 is
// no time-out: the edge waits until the socket has gone.
func AskTimeout(header string) (time.Duration, error) {
	if header == "" {
		return DefaultAskTimeout, nil
	}
	n, err := strconv.ParseUint(header, 10, 32)
	d := time.Duration(n) * time.Millisecond
	if err != nil || d > MaxAskTimeout {
		return 0, errTimeout
	}
	return d, nil
}

// partHeader is the value of Sio-Part: which message of an answer this is, counted from 1, and whether it is the last.
func partHeader(number int, last bool) string {
	if last {
		return strconv.Itoa(number) + " last"
	}
	return strconv.Itoa(number)
}

// IsLastPart reports whether an answer ends with the message that has this Sio-Part header, "" for none.
func IsLastPart(header string) bool { return header == "" || strings.HasSuffix(header, " last") }

// Answer is the answer of one edge, or a part of it: [{"edge":E,"sockets":n}, …].
type Answer struct {
	Edge    string            `json:"edge"`
	Sockets int               `json:"sockets"`          // to how many sockets of the edge it applies
	Rev     *uint64           `json:"rev,omitempty"`    // State.Rev of an owned socket now; nil for all others
	Logged  bool              `json:"logged,omitempty"` // of rooms: the namespace has a log
	Rest    []json.RawMessage `json:"-"`                // further elements, which point into the body
}

// Body returns the answer, without Rest.
func (a Answer) Body() []byte { return encode([]any{a}) }

// ParseAnswer reads an answer to join, leave, disconnect, fetch, data or rooms.
func ParseAnswer(body []byte) (Answer, error) {
	var a Answer
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil {
		return a, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if len(elements) == 0 {
		return a, fmt.Errorf("%w: it is empty", errAnswer)
	}
	if err := json.Unmarshal(elements[0], &a); err != nil {
		return a, fmt.Errorf("%w: %w", errAnswer, err)
	}
	a.Rest = elements[1:]
	return a, nil
}

// Parts writes an Answer with further elements, in as many messages as it needs: each begins with the answer itself.
// For rooms, the elements are members of one object.
type Parts struct {
	head, tail string
	limit      int
	body       []byte // the part that is being written, without tail; nil before its first element
	number     int    // of finished parts
}

// NewParts begins an answer whose messages have at most limit bytes, unless a single element is larger.
func NewParts(a Answer, rooms bool, limit int) *Parts {
	p := &Parts{tail: "]", limit: limit}
	p.head = strings.TrimSuffix(string(a.Body()), "]")
	if rooms {
		p.head, p.tail = p.head+",{", "}]"
	}
	return p
}

// Room returns how many bytes an element may have if a message is to have at most n.
func (p *Parts) Room(n int) int { return n - len(p.head) - len(",") - len(p.tail) }

// Add adds an element. It returns false if that does not fit: the part must be finished first, and the element added
// again.
func (p *Parts) Add(element []byte) bool {
	if p.body != nil && len(p.body)+1+len(element)+len(p.tail) > p.limit {
		return false
	}
	if p.body == nil {
		p.body = []byte(p.head)
	}
	if last := p.body[len(p.body)-1]; p.tail == "]" || last != '{' {
		p.body = append(p.body, ',')
	}
	p.body = append(p.body, element...)
	return true
}

// Finish returns the current part, which belongs to the caller, and its Sio-Part header, "" for the only part.
func (p *Parts) Finish(last bool) (body []byte, header string) {
	if body = p.body; body == nil {
		body = []byte(p.head)
	}
	p.body = nil
	p.number++
	if !last || p.number > 1 {
		header = partHeader(p.number, last)
	}
	return append(body, p.tail...), header
}

// FetchedSocket is what an edge answers of a socket: an element of the answer to fetch, and with ID and Data alone of
// data.
type FetchedSocket struct {
	ID         string          `json:"id"`
	Namespace  string          `json:"namespace"`
	Rooms      []string        `json:"rooms"`
	User       string          `json:"user,omitempty"`
	Data       json.RawMessage `json:"data"`
	Handshake  json.RawMessage `json:"handshake"`
	Incomplete bool            `json:"incomplete,omitempty"` // too large for NATS, see Element
}

// Element returns the element for an answer to fetch of at most limit bytes. What a client can make too large is left
// out: the handshake, and then the rooms. Data and Handshake pass byte for byte.
func (f FetchedSocket) Element(limit int) []byte {
	element := f.append(nil)
	if f.Incomplete = len(element) > limit; f.Incomplete {
		f.Handshake = []byte("{}")
		element = f.append(element[:0])
	}
	if len(element) > limit {
		f.Rooms = nil
		element = f.append(element[:0])
	}
	return element
}

func (f *FetchedSocket) append(dst []byte) []byte {
	dst = AppendString(append(dst, `{"id":`...), f.ID)
	dst = AppendString(append(dst, `,"namespace":`...), f.Namespace)
	dst = append(dst, `,"rooms":[`...)
	for i, room := range f.Rooms {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, room)
	}
	dst = append(dst, ']')
	if f.User != "" {
		dst = AppendString(append(dst, `,"user":`...), f.User)
	}
	dst = append(append(dst, `,"data":`...), orEmpty(f.Data)...)
	dst = append(append(dst, `,"handshake":`...), f.Handshake...)
	if f.Incomplete {
		dst = append(dst, `,"incomplete":true`...)
	}
	return append(dst, '}')
}

// DataElement returns the element for an answer to data.
func (f FetchedSocket) DataElement() []byte {
	element := AppendString([]byte(`{"id":`), f.ID)
	return append(append(append(element, `,"data":`...), orEmpty(f.Data)...), '}')
}

// RoomElement returns the element for an answer to rooms: how many sockets of the edge are in a room.
func RoomElement(room string, sockets int) []byte {
	return strconv.AppendInt(append(AppendString(nil, room), ':'), int64(sockets), 10)
}
