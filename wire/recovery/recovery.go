// Package recovery reads and writes what a client that comes back shows, and what edges store about it
// (docs/subjects.md, Recovery): the offset, a place in the log; the pid, a secret that opens a session's record; and
// the record itself.
//
// The package is pure. Functions that take a JSON text keep its bytes.
package recovery

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"partyline/wire/jsontext"
)

// Offset is a place in the log: the event with this sequence, and all before it. Sequences count from 1; 0 is the
// place in front of the first event. An offset counts only in the epoch that it names.
type Offset struct {
	Epoch string // see Epoch
	Seq   uint64
}

const (
	epochBytes = 5
	epochs     = 36 * 36 * 36 * 36 * 36
	seqBase    = 36
	hashBytes  = 22
)

// Epoch returns the name of a log that was created at a time: 5 characters 0-9a-z. A log that is made again gets
// another name, so offsets of the old one are void, not wrong. Two logs created within a minute of each other never
// have the same name; others do once in 60 million.
func Epoch(created time.Time) string {
	name := strconv.FormatUint(epochs+uint64(created.UnixMicro())%epochs, seqBase)
	return name[1:] // without the 1 that keeps leading zeros
}

// Append appends the offset as clients have it: <epoch>:<sequence in base 36>. It does not allocate if dst has room.
func (o Offset) Append(dst []byte) []byte {
	return strconv.AppendUint(append(append(dst, o.Epoch...), ':'), o.Seq, seqBase)
}

// ParseOffset is the inverse of Append. It returns false for any other spelling.
func ParseOffset(s string) (Offset, bool) {
	if len(s) < epochBytes+2 || s[epochBytes] != ':' || !isEpoch(s[:epochBytes]) {
		return Offset{}, false
	}
	digits := s[epochBytes+1:]
	seq, err := strconv.ParseUint(digits, seqBase, 64)
	if err != nil || strconv.FormatUint(seq, seqBase) != digits {
		return Offset{}, false
	}
	return Offset{s[:epochBytes], seq}, true
}

func isEpoch(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(s) == epochBytes
}

// AppendOffset appends an event, which is a checked JSON array, with the offset as its last argument. It does not
// allocate if dst has room.
func AppendOffset(dst, event []byte, o Offset) []byte {
	dst = append(append(dst, inside(event)...), `,"`...)
	return append(o.Append(dst), `"]`...)
}

// EndsWithString reports whether the last element of an event, which is a checked JSON array, is a string. The
// official client takes such an element for its offset, also if it is the event's name.
func EndsWithString(event []byte) bool {
	open := inside(event)
	return open[len(open)-1] == '"'
}

// inside returns an event without its closing bracket, and without the white space in front of that and behind it.
func inside(event []byte) []byte {
	end := trimmed(event, len(event))
	return event[:trimmed(event, end-1)]
}

// trimmed returns the end of text[:end] without white space.
func trimmed(text []byte, end int) int {
	for end > 1 && jsontext.SkipSpace(text[:end], end-1) == end {
		end--
	}
	return end
}

// NewPID draws the secret with which a client can come back, of an edge's sockets: <edge>.<22 characters base64url>.
// Whoever has it can take the session: it goes to the client alone, never to NATS or a log.
func NewPID(edge string) string {
	var secret [16]byte
	_, _ = rand.Read(secret[:]) // never fails
	return edge + "." + base64.RawURLEncoding.EncodeToString(secret[:])
}

var pidForm = regexp.MustCompile(`^[0-9a-z]{8}\.[0-9A-Za-z_-]{22}$`)

// IsPID reports whether s has the form of a pid.
func IsPID(s string) bool { return pidForm.MatchString(s) }

// Hash returns the name under which the record of a pid is stored: 22 characters base64url of its SHA-256. It does
// not lead back to the pid.
func Hash(pid string) string {
	sum := sha256.Sum256([]byte(pid))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:hashBytes]
}

var errAuth = errors.New("auth is not a JSON object")

// TakeFromAuth splits what a client gave as auth, a JSON object or nil, into its own members and the pid and offset
// that the official client adds. Both are removed, however often and in whatever spelling they are there. As in
// JavaScript the last of a name counts; a value that is no string counts as none. rest is auth itself if it had
// neither; otherwise it has the other members byte for byte, without white space between them. The error says that
// auth is no object in valid UTF-8.
func TakeFromAuth(auth []byte) (rest []byte, pid, offset string, err error) {
	if auth == nil {
		return nil, "", "", nil
	}
	if start := jsontext.SkipSpace(auth, 0); !utf8.Valid(auth) || !jsontext.Valid(auth) || auth[start] != '{' {
		return nil, "", "", errAuth
	}
	rest, taken := jsontext.Take(auth, "pid", "offset")
	pid, _ = jsontext.Text(taken[0])
	offset, _ = jsontext.Text(taken[1])
	return rest, pid, offset, nil
}
