package subjects

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Limits of a name. NATS allows longer subjects, but they are expensive: each token of a subscription is a level of
// the server's tree (250 tokens took 97 kB a subscription).
// AdminUI is the namespace of the Admin UI. What gateways do for others leaves it out.
const AdminUI = "/admin"

const (
	maxNameBytes  = 512              // before escaping; of a namespace with its slash
	maxNameTokens = 16               // of the tail of an event or a room
	maxTailBytes  = 3 * maxNameBytes // if every byte is escaped
)

var (
	errNameTooLong   = errors.New("name longer than 512 bytes")
	errTooManyTokens = errors.New("name of more than 16 tokens (parts between dots)")
	errNotUTF8       = errors.New("name is not valid UTF-8")
	errNamespace     = errors.New(`subjects: namespace does not begin with "/"`)
	errSocketRoom    = errors.New("a room cannot have the form of a socket id")
	// errSpelling is for a bad or needless escape, small hexadecimal digits, or a character that must be escaped.
	errSpelling = errors.New("not the spelling of a name in a subject")
)

// AppendEvent appends the tail that stands for an event's name in <p>.<ns>.on.<tail>, and returns the extended slice.
// Dots stay, so that wildcards work on the parts of a name. Escaped as %XX, in capitals, are the bytes 00 to 20 and
// 7F, "%", "*", ">", a dot that is first, last or behind a dot, and the first letter of the first token if that token
// is exactly all, room, socket or $ready. The empty name is a lone "%". A name that is too long, has too many tokens
// or is not UTF-8 is an error; dst comes back unchanged then. name must not overlap the free space behind dst.
func AppendEvent[T ~string | ~[]byte](dst []byte, name T) ([]byte, error) {
	return appendTail(dst, name, true)
}

// AppendRoom appends the tail that stands for a room's name in <p>.<ns>.<verb>.room.<tail>. It is AppendEvent without
// the rule about all, room and socket.
func AppendRoom[T ~string | ~[]byte](dst []byte, name T) ([]byte, error) {
	return appendTail(dst, name, false)
}

// RoomToken returns a room's name as in subjects. The error says, for clients and services, why there can be no such
// room.
func RoomToken(name string) (string, error) {
	if IsSocketID(name) {
		return "", errSocketRoom
	}
	token, err := AppendRoom(nil, name)
	if err != nil {
		return "", fmt.Errorf("room name: %w", err)
	}
	return string(token), nil
}

// RoomTokens returns the names of rooms as in subjects, each once.
func RoomTokens(names []string) ([]string, error) {
	tokens := make([]string, 0, len(names))
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		token, err := RoomToken(name)
		if err != nil {
			return nil, err
		}
		if !seen[token] {
			seen[token] = true
			tokens = append(tokens, token)
		}
	}
	return tokens, nil
}

// AppendNamespace appends the token that stands for a namespace: "_" for "/", else the name without its leading
// slash, escaped as in AppendEvent. Every dot, a leading "$", and the name "/_" are also escaped. The errors are
// those of AppendEvent, and one for a name without a leading slash.
func AppendNamespace[T ~string | ~[]byte](dst []byte, name T) ([]byte, error) {
	if len(name) == 0 || name[0] != '/' {
		return dst, errNamespace
	}
	if len(name) > maxNameBytes {
		return dst, errNameTooLong
	}
	if len(name) == 1 {
		return append(dst, '_'), nil
	}
	out := dst
	for i := 1; i < len(name); i++ {
		c := name[i]
		leading := i == 1 && (c == '$' || c == '_' && len(name) == 2)
		if leading || c == '.' || isUnsafe(c) {
			out = appendEscaped(out, c)
		} else {
			out = append(out, c)
		}
	}
	if !utf8.Valid(out[len(dst):]) {
		return dst, errNotUTF8
	}
	return out, nil
}

func appendTail[T ~string | ~[]byte](dst []byte, name T, event bool) ([]byte, error) {
	if len(name) > maxNameBytes {
		return dst, errNameTooLong
	}
	if len(name) == 0 {
		return append(dst, '%'), nil
	}
	out, tokens := dst, 1
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.' && i > 0 && i < len(name)-1 && name[i-1] != '.':
			out = append(out, c)
			tokens++
		case c == '.' || isUnsafe(c):
			out = appendEscaped(out, c)
		default:
			out = append(out, c)
		}
	}
	// Escaping swaps ASCII for ASCII, so the tail is valid UTF-8 if and only if the name is.
	if !utf8.Valid(out[len(dst):]) {
		return dst, errNotUTF8
	}
	if tokens > maxNameTokens {
		return dst, errTooManyTokens
	}
	if event {
		out = escapeReserved(out, len(dst))
	}
	return out, nil
}

// escapeReserved escapes the first letter of the tail in out[start:] if its first token is a target's word, or Ready.
func escapeReserved(out []byte, start int) []byte {
	if tail := out[start:]; targetWord(tail) == "" && !beginsWith(tail, Ready) {
		return out
	}
	first := out[start]
	out = append(out, 0, 0)
	copy(out[start+3:], out[start+1:len(out)-2])
	appendEscaped(out[:start], first)
	return out
}

// targetWord returns the first token of a tail if it is all, room or socket, else "".
func targetWord[T ~string | ~[]byte](tail T) string {
	for _, word := range [...]string{wordAll, wordRoom, wordSocket} {
		if beginsWith(tail, word) {
			return word
		}
	}
	return ""
}

// beginsWith reports whether the first token of a tail is a word.
func beginsWith[T ~string | ~[]byte](tail T, word string) bool {
	n := len(word)
	return len(tail) >= n && string(tail[:n]) == word && (len(tail) == n || tail[n] == '.')
}

// isUnsafe reports whether a byte is escaped in every name: those with a meaning in NATS's protocol or wildcards,
// other control characters, and the escape itself.
func isUnsafe(c byte) bool {
	return c <= ' ' || c == '%' || c == '*' || c == '>' || c == 0x7F
}

func appendEscaped(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}

// Event returns the name of the event with this tail: the inverse of AppendEvent. Any other spelling is an error. A
// tail without escapes is returned without a copy.
func Event(tail string) (string, error) { return tailName(tail, true) }

// Room returns the name of the room with this tail: the inverse of AppendRoom, as Event is of AppendEvent.
func Room(tail string) (string, error) { return tailName(tail, false) }

// RoomNames returns the names of rooms with these tails, which AppendRoom has made.
func RoomNames(tails []string) []string {
	names := make([]string, len(tails))
	for i, tail := range tails {
		names[i], _ = Room(tail)
	}
	return names
}

// tailName decodes a tail and encodes the name again: if the result differs, the tail was not canonical.
func tailName(tail string, event bool) (string, error) {
	if tail == "%" {
		return "", nil
	}
	name, err := unescape(tail)
	if err != nil {
		return "", err
	}
	var again [maxTailBytes]byte
	spelled, err := appendTail(again[:0], name, event)
	if err != nil {
		return "", err
	}
	if string(spelled) != tail {
		return "", errSpelling
	}
	return name, nil
}

// Namespace returns the namespace with this token, with its leading slash: the inverse of AppendNamespace. Any other
// spelling is an error.
func Namespace(token string) (string, error) {
	if token == "_" {
		return "/", nil
	}
	name, err := unescape(token)
	if err != nil {
		return "", err
	}
	name = "/" + name
	var again [maxTailBytes]byte
	spelled, err := AppendNamespace(again[:0], name)
	if err != nil {
		return "", err
	}
	if string(spelled) != token {
		return "", errSpelling
	}
	return name, nil
}

// unescape decodes the escapes of a tail.
func unescape(tail string) (string, error) {
	if len(tail) > maxTailBytes {
		return "", errNameTooLong
	}
	name, err := url.PathUnescape(tail)
	if err != nil {
		return "", errSpelling
	}
	return name, nil
}

// Matches reports whether a name matches a pattern of the configuration or of an announcement: * is any run of
// characters, nothing else is special. The time is linear in practice, and at worst the product of the lengths.
func Matches[T ~string | ~[]byte](pattern string, name T) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// ComparePatterns puts the more specific pattern first: one with fewer stars, then the longer one.
func ComparePatterns(a, b string) int {
	return cmp.Or(cmp.Compare(strings.Count(a, "*"), strings.Count(b, "*")), cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
}

// BestPattern returns the most specific of some patterns that match a name.
func BestPattern(patterns []string, name string) (best string, found bool) {
	for _, pattern := range patterns {
		if Matches(pattern, name) && (!found || ComparePatterns(pattern, best) < 0) {
			best, found = pattern, true
		}
	}
	return best, found
}
