package msg

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"partyline/wire/jsontext"
)

// Grant is what a socket is and may do (docs/subjects.md, Grants). It comes from a service's admission, a token, or
// the verb grant. What it was parsed from must not change while it is used.
type Grant struct {
	Rooms   []string        `json:"rooms,omitempty"`  // which the socket enters; before its client is connected, in an admission
	User    string          `json:"user,omitempty"`   // whose socket it is, "" for no user; fits into a header
	Join    []string        `json:"join,omitzero"`    // patterns of rooms that the client may enter; nil: what the namespace allows
	Leave   []string        `json:"leave,omitzero"`   // and leave
	Emit    []string        `json:"emit,omitzero"`    // patterns of events that it may emit
	Data    json.RawMessage `json:"data,omitempty"`   // kept with the socket: any JSON value, nil for none; part of the body
	Expires int64           `json:"expires,omitzero"` // seconds since 1970; 0: never
}

// Members are the members that an object has, null or not.
type Members uint8

// The members of a grant.
const (
	HasRooms Members = 1 << iota
	HasUser
	HasJoin
	HasLeave
	HasEmit
	HasData
	HasExpires
)

// Replace sets the members of another grant that it has, but for data.
func (g *Grant) Replace(by *Grant, has Members) {
	if has&HasRooms != 0 {
		g.Rooms = by.Rooms
	}
	if has&HasUser != 0 {
		g.User = by.User
	}
	if has&HasJoin != 0 {
		g.Join = by.Join
	}
	if has&HasLeave != 0 {
		g.Leave = by.Leave
	}
	if has&HasEmit != 0 {
		g.Emit = by.Emit
	}
	if has&HasExpires != 0 {
		g.Expires = by.Expires
	}
}

// Inherit takes over what another grant says the client may do, and until when, where g does not say it.
func (g *Grant) Inherit(from *Grant) {
	if g.Join == nil {
		g.Join = from.Join
	}
	if g.Leave == nil {
		g.Leave = from.Leave
	}
	if g.Emit == nil {
		g.Emit = from.Emit
	}
	g.Expires = cmp.Or(g.Expires, from.Expires)
}

// maxPatterns bounds the patterns of one member: each event of the client may be compared with all.
const maxPatterns = 100

// Body returns the admission as the answer that ParseAdmission reads.
func (g Grant) Body() []byte { return encode([]any{g}) }

// JSON returns the grant as ParseGrant reads it.
func (g Grant) JSON() []byte { return encode(g) }

// ParseAdmission reads the answer [{"rooms":[…],"user":"…","data":…}] to a connect request: a grant, or none. [] is
// [{}]. Any other form is an error: ErrNotArray, ErrNotJSON, or one that says which member is wrong. An empty body is
// an error too, because it is no decision. It says which members the object has.
func ParseAdmission(body []byte) (Grant, Members, error) { return parseGrant(body, errAdmission) }

// ParseChange reads the body of the verb grant, [{…}], and says which members it has.
func ParseChange(body []byte) (Grant, Members, error) { return parseGrant(body, errChange) }

func parseGrant(body []byte, otherwise error) (Grant, Members, error) {
	object, err := single(body, fmt.Errorf("%w: it must be an array of at most one object", otherwise))
	if err != nil || object == nil {
		return Grant{}, 0, err
	}
	if object[0] != '{' {
		return Grant{}, 0, fmt.Errorf("%w: it must be an array of at most one object", otherwise)
	}
	g, has, err := grantOf(object)
	if err != nil {
		return Grant{}, 0, fmt.Errorf("%w: %w", otherwise, err)
	}
	return g, has, nil
}

// ParseGrant reads a grant, one JSON object. All members are optional; null is the same as leaving one out, except for
// data. Other members are ignored, and the last of repeated ones counts. A user must fit into a header: no control
// characters, no spaces around it.
func ParseGrant(object []byte) (Grant, error) {
	if err := CheckObject(object); err != nil {
		return Grant{}, err
	}
	g, _, err := grantOf(bytes.TrimSpace(object))
	if err != nil {
		return Grant{}, err
	}
	return g, nil
}

func grantOf(object []byte) (g Grant, has Members, err error) {
	for members := jsontext.Inside(object); ; {
		key, more := members.Next()
		if !more {
			return g, has, nil
		}
		value, _ := members.Next()
		name, member := memberOf(key)
		if has |= member; member == 0 {
			continue
		}
		if err := g.set(member, value); err != nil {
			return g, has, fmt.Errorf("%q%w", name, err)
		}
	}
}

// memberOf returns which member a key names; 0: none of a grant.
func memberOf(key []byte) (string, Members) {
	for i, name := range [...]string{"rooms", "user", "join", "leave", "emit", "data", "expires"} {
		if jsontext.KeyIs(key, name) {
			return name, 1 << i
		}
	}
	return "", 0
}

// set replaces one member. The error goes on behind its name.
func (g *Grant) set(member Members, value []byte) (err error) {
	switch member {
	case HasRooms:
		g.Rooms, err = names(value)
		if len(g.Rooms) == 0 {
			g.Rooms = nil
		}
	case HasUser:
		g.User, err = user(value)
	case HasJoin:
		g.Join, err = patterns(value)
	case HasLeave:
		g.Leave, err = patterns(value)
	case HasEmit:
		g.Emit, err = patterns(value)
	case HasExpires:
		g.Expires, err = seconds(value)
	case HasData:
		g.Data, err = value, CheckData(value)
	}
	return err
}

func user(value []byte) (string, error) {
	if value[0] == 'n' {
		return "", nil
	}
	if !jsontext.IsString(value) {
		return "", errors.New(" is not a string")
	}
	text, whole := jsontext.Text(value)
	if !whole {
		return "", fmt.Errorf(": %w", errLoneSurrogate)
	}
	if !FitsHeader(text) {
		return "", errors.New(" has control characters, or spaces around it, and does not fit into a header")
	}
	return text, nil
}

// names reads an array of strings; nil for null.
func names(value []byte) ([]string, error) {
	if value[0] == 'n' {
		return nil, nil
	}
	if value[0] != '[' {
		return nil, errors.New(" is not an array of strings")
	}
	list, err := roomNames(jsontext.Inside(value))
	if err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	return append([]string{}, list...), nil
}

func patterns(value []byte) ([]string, error) {
	list, err := names(value)
	if len(list) > maxPatterns {
		return nil, fmt.Errorf(" has more than %d patterns", maxPatterns)
	}
	for i, pattern := range list {
		if len(pattern) == 0 || len(pattern) > maxPatternBytes {
			return nil, fmt.Errorf(": element %d is empty or longer than %d bytes", i, maxPatternBytes)
		}
	}
	return list, err
}

// maxPatternBytes is how long the name of a room or event may be.
const maxPatternBytes = 512

func seconds(value []byte) (int64, error) {
	if value[0] == 'n' {
		return 0, nil
	}
	at, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !(at > 0 && at <= maxExpires) {
		return 0, errors.New(" is no time in seconds since 1970")
	}
	return max(1, int64(at)), nil
}

// maxExpires is the last second of the year 9999.
const maxExpires = 253402300799

// FitsHeader reports whether a NATS header carries s unchanged: a line end would begin another header, and NATS
// removes spaces around a value.
func FitsHeader(s string) bool {
	return strings.Trim(s, " ") == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7F })
}

// Refusal is a service's answer to a connect request that keeps the socket out. Both go to the client in
// CONNECT_ERROR.
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
		r.Message, _ = jsontext.Text(message)
	}
	if !hasMessage || string(data) != "null" {
		r.Data = data
	}
	return r, nil
}
