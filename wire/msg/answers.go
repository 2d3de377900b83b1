package msg

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits of questions and their answers.
const (
	// MaxDataBytes is the most that a socket's data may have, as JSON.
	MaxDataBytes = 64 << 10
	// MaxPartBytes is where an answer goes on in a further message. A single element larger than it is not split.
	MaxPartBytes = 256 << 10
	// DefaultAskTimeout and MaxAskTimeout are how long an edge waits for the acks of an ask.
	DefaultAskTimeout = 30 * time.Second
	MaxAskTimeout     = 10 * time.Minute
)

var (
	// ErrNotBlank is returned for the body of a question that takes none.
	ErrNotBlank = errors.New("body must be empty or []")
	// ErrData is wrapped by the errors about the body of data.
	ErrData = errors.New("body of data must be empty (to get) or an array of one object (to set)")
	// ErrDataTooLarge is wrapped by the error for data of more than MaxDataBytes.
	ErrDataTooLarge = errors.New("the limit is " + strconv.Itoa(MaxDataBytes))
	// ErrTimeout is returned for a Sio-Timeout that is no number of milliseconds from 1 to MaxAskTimeout.
	ErrTimeout = errors.New("Sio-Timeout must be a whole number of milliseconds from 1 to 600000")
	// ErrAnswer is wrapped by the errors of ParseAnswer.
	ErrAnswer = errors.New("bad answer of an edge")
)

// Question checks the body of a verb that takes none, fetch and rooms: empty or [].
func Question(body []byte) error {
	if isBlank(body) {
		return nil
	}
	elements, err := array(body)
	if err != nil {
		return err
	}
	if _, more := elements.next(); more {
		return ErrNotBlank
	}
	return nil
}

// Data reads the body of data: nil, to get, if it is empty or []; the object of [object], to set, which points into the
// body. The errors are ErrNotUTF8, ErrNotJSON, ErrNotArray, and those that wrap ErrData and ErrDataTooLarge.
func Data(body []byte) (json.RawMessage, error) {
	if isBlank(body) {
		return nil, nil
	}
	elements, err := array(body)
	if err != nil {
		return nil, err
	}
	object, given := elements.next()
	if !given {
		return nil, nil
	}
	if _, more := elements.next(); more || object[0] != '{' {
		return nil, ErrData
	}
	return object, CheckData(object)
}

// CheckData tells whether a socket's data, a JSON object, is small enough.
func CheckData(object []byte) error {
	if len(object) > MaxDataBytes {
		return fmt.Errorf("data of %d bytes; %w", len(object), ErrDataTooLarge)
	}
	return nil
}

// AskTimeout reads the value of Sio-Timeout; an empty one is DefaultAskTimeout. The error is ErrTimeout.
func AskTimeout(header string) (time.Duration, error) {
	if header == "" {
		return DefaultAskTimeout, nil
	}
	n, err := strconv.ParseUint(header, 10, 32)
	d := time.Duration(n) * time.Millisecond
	if err != nil || d < time.Millisecond || d > MaxAskTimeout {
		return 0, ErrTimeout
	}
	return d, nil
}

// Part is the value of Sio-Part: which message of an answer this is, counted from 1, and whether it is the last.
func Part(number int, last bool) string {
	if last {
		return strconv.Itoa(number) + " last"
	}
	return strconv.Itoa(number)
}

// IsLastPart tells whether an answer with this Sio-Part header, "" for none, ends here.
func IsLastPart(header string) bool { return header == "" || strings.HasSuffix(header, " last") }

// Answer is what one edge answered, or one part of it: [{"edge":E,"sockets":n}, …].
type Answer struct {
	Edge    string            `json:"edge"`
	Sockets int               `json:"sockets"` // for how many sockets of the edge it holds
	Rev     *uint64           `json:"rev"`     // what State.Rev of an owned socket is now; nil for all others
	Rest    []json.RawMessage `json:"-"`       // the further elements, which point into the body
}

// ParseAnswer reads an answer to join, leave, disconnect, fetch, data or rooms. Its errors wrap ErrAnswer.
func ParseAnswer(body []byte) (Answer, error) {
	var a Answer
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil {
		return a, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if len(elements) == 0 {
		return a, fmt.Errorf("%w: it is empty", ErrAnswer)
	}
	if err := json.Unmarshal(elements[0], &a); err != nil {
		return a, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	a.Rest = elements[1:]
	return a, nil
}

// FetchedSocket is what an edge tells of a socket: an element of the answer to fetch, and with ID and Data alone of data.
type FetchedSocket struct {
	ID        string          `json:"id"`
	Namespace string          `json:"namespace"`
	Rooms     []string        `json:"rooms"`
	User      string          `json:"user,omitempty"`
	Data      json.RawMessage `json:"data"`
	Handshake json.RawMessage `json:"handshake"`
}

// State is what the owner of a socket must know of it: the object of own.<instance>.connect, and the takeover member of
// the handshake in own.<group>.connect, which has From in place of ID.
type State struct {
	ID    string          `json:"sid,omitempty"`
	From  string          `json:"from,omitempty"`  // the instance that owned it
	Claim uint64          `json:"claim,omitempty"` // in a takeover: the number of the claim that an answer makes
	Rev   uint64          `json:"rev"`             // counts changes of rooms, user and data, from 0 at the admission
	Rooms []string        `json:"rooms"`
	User  string          `json:"user,omitempty"`
	Data  json.RawMessage `json:"data"`
}
