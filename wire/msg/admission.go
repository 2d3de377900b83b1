package msg

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"partyline/wire/jsontext"
)

// Admission is a service's answer to a connect request that lets the socket in.
type Admission struct {
	Rooms []string        `json:"rooms,omitempty"` // which the socket enters before its client is connected
	User  string          `json:"user,omitempty"`  // whose socket it is, "" for no user; fits into a header
	Data  json.RawMessage `json:"data,omitempty"`  // kept with the socket: any JSON value, nil for none; part of the body
}

// Body returns the admission as the answer that ParseAdmission reads.
func (a Admission) Body() []byte { return encode([]any{a}) }

// ParseAdmission reads the answer [{"rooms":[…],"user":"…","data":…}]. All members are optional; null is the same as
// leaving one out, except for data. Other members are ignored, and the last of repeated ones counts. [] and [{}] admit without
// rooms, user or data. A user must fit into a header: no control characters, no spaces around it. Any other form is
// an error: ErrNotArray, ErrNotJSON, or one that says which member is wrong. An empty body is an error too, because
// it is no decision.
func ParseAdmission(body []byte) (Admission, error) {
	var none, a Admission
	object, err := single(body, errAdmissionForm)
	if err != nil || object == nil {
		return none, err
	}
	if object[0] != '{' {
		return none, errAdmissionForm
	}
	for members := jsontext.Inside(object); ; {
		key, more := members.Next()
		if !more {
			return a, nil
		}
		value, _ := members.Next()
		if err := a.set(key, value); err != nil {
			return none, fmt.Errorf("%w: %w", errAdmission, err)
		}
	}
}

var errAdmissionForm = fmt.Errorf("%w: it must be an array of at most one object", errAdmission)

// set replaces one member.
func (a *Admission) set(key, value []byte) (err error) {
	isNull := value[0] == 'n'
	switch {
	case jsontext.KeyIs(key, "rooms"):
		if a.Rooms = nil; isNull {
			return nil
		}
		if value[0] != '[' {
			return errors.New(`"rooms" is not an array of strings`)
		}
		if a.Rooms, err = roomNames(jsontext.Inside(value)); err != nil {
			return fmt.Errorf(`"rooms": %w`, err)
		}
	case jsontext.KeyIs(key, "user"):
		if a.User = ""; isNull {
			return nil
		}
		if !jsontext.IsString(value) {
			return errors.New(`"user" is not a string`)
		}
		user, err := appendDecoded(nil, value)
		if err != nil {
			return fmt.Errorf(`"user": %w`, err)
		}
		if a.User = string(user); !FitsHeader(a.User) {
			return errors.New(`"user" has control characters, or spaces around it, and does not fit into a header`)
		}
	case jsontext.KeyIs(key, "data"):
		a.Data = value
		return CheckData(value)
	}
	return nil
}

// FitsHeader reports whether a NATS header carries s unchanged: a line end would begin another header, and NATS
// removes spaces around a value.
func FitsHeader(s string) bool {
	return strings.Trim(s, " ") == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7F })
}

// Refusal is a service's answer to a connect request that keeps the socket out. Both go to the client in CONNECT_ERROR.
type Refusal struct {
	Message string
	Data    json.RawMessage // nil for none; part of the body
}

// ParseRefusal reads a refusal: an empty body, [], [data], or [data,"message"], in which null is no data. Without a
// message in the body it is header, the value of Sio-Error; with an error, too. Half a surrogate pair becomes U+FFFD.
func ParseRefusal(header string, body []byte) (Refusal, error) {
	r := Refusal{Message: header}
	if isBlank(body) {
		return r, nil
	}
	elements, err := array(body)
	if err != nil {
		return r, err
	}
	data, _ := elements.Next()
	message, hasMessage := elements.Next()
	if _, more := elements.Next(); more || hasMessage && !jsontext.IsString(message) {
		return r, errRefusal
	}
	if hasMessage {
		text, _ := jsontext.AppendDecoded(nil, message)
		r.Message = string(text)
	}
	if !hasMessage || string(data) != "null" {
		r.Data = data
	}
	return r, nil
}
