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
	Rooms []string        `json:"rooms,omitempty"` // rooms that the socket enters before its client learns that it is connected
	User  string          `json:"user,omitempty"`  // who the socket belongs to, "" for no user; it fits into a header as it is
	Data  json.RawMessage `json:"data,omitempty"`  // a JSON object of at most MaxDataBytes to keep with the socket, nil for none; it points into the body
}

// Body returns the admission as the answer that ParseAdmission reads.
func (a Admission) Body() []byte { return encode([]any{a}) }

// ParseAdmission reads the answer [{"rooms":[…],"user":"…","data":{…}}]. All members are optional, null is as good as
// leaving one out, members of other names are ignored, of a repeated one the last counts; [] and [{}] admit with
// nothing. A user must be able to stand in a header: no control characters, no spaces around it. What has another form
// is an error, ErrNotUTF8, ErrNotJSON or ErrNotArray, or one that wraps ErrAdmission and says which member is wrong. So
// is an empty body: to admit is a decision, and nothing is none.
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
			return none, fmt.Errorf("%w: %w", ErrAdmission, err)
		}
	}
}

// errAdmissionForm is returned for an array that is no admission.
var errAdmissionForm = fmt.Errorf("%w: it must be an array of at most one object", ErrAdmission)

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
		if a.User = string(user); !fitsHeader(a.User) {
			return errors.New(`"user" has control characters, or spaces around it, and does not fit into a header`)
		}
	case jsontext.KeyIs(key, "data"):
		if a.Data = nil; isNull {
			return nil
		}
		if value[0] != '{' {
			return errors.New(`"data" is not an object`)
		}
		a.Data = value
		return CheckData(value)
	}
	return nil
}

// fitsHeader reports whether a NATS header carries s unchanged: one with line ends would begin another header, and
// spaces around a value are lost on the way.
func fitsHeader(s string) bool {
	return strings.Trim(s, " ") == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7F })
}

// RefusalData reads the body of a refusal (which its Sio-Error header makes one): the data of [data], which goes to
// the client in CONNECT_ERROR, or nil if the body is empty or []. The data points into body. The errors are ErrNotUTF8,
// ErrNotJSON, ErrNotArray, and ErrRefusal for more than one element.
func RefusalData(body []byte) (json.RawMessage, error) { return optional(body, ErrRefusal) }
