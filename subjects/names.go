package subjects

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Limits of a name. A longer subject is lawful in NATS, and dear: each token of a subscription is a level of the
// server's tree (250 tokens took 97 kB a subscription).
const (
	MaxNameBytes  = 512 // of the name as people write it, before escaping; of a namespace with its slash
	MaxNameTokens = 16  // of the tail that an event's or a room's name makes
)

// maxTailBytes is a name of MaxNameBytes in which every byte is escaped.
const maxTailBytes = 3 * MaxNameBytes

var (
	// ErrNameTooLong is returned for a name of more than MaxNameBytes bytes.
	ErrNameTooLong = errors.New("name longer than 512 bytes")
	// ErrTooManyTokens is returned for an event or a room whose tail has more than MaxNameTokens tokens.
	ErrTooManyTokens = errors.New("name of more than 16 tokens (parts between dots)")
	// ErrNotUTF8 is returned for a name that is not valid UTF-8.
	ErrNotUTF8 = errors.New("name is not valid UTF-8")
	// ErrNamespace is returned for a namespace that does not begin with a slash.
	ErrNamespace = errors.New(`subjects: namespace does not begin with "/"`)
	// ErrSpelling is returned for a token or tail that is not the spelling of a name: a bad or needless escape, small
	// hexadecimal digits, or a character that must be escaped.
	ErrSpelling = errors.New("not the spelling of a name in a subject")
)

// AppendEvent appends the tail that stands for an event's name in <p>.<ns>.on.<tail>, and returns the extended slice.
// Dots stay, so that wildcards work on the parts of a name. Escaped as %XX, in capitals, are the bytes 00 to 20 and 7F,
// "%", "*", ">", a dot that is first, last or behind a dot, and the first letter of the first token if that token is
// exactly all, room, socket or $ready. The empty name is a lone "%". The errors are ErrNameTooLong, ErrTooManyTokens and
// ErrNotUTF8; with an error, dst comes back as it was. name must not overlap the free space behind dst.
func AppendEvent[T ~string | ~[]byte](dst []byte, name T) ([]byte, error) {
	return appendTail(dst, name, true)
}

// AppendRoom appends the tail that stands for a room's name in <p>.<ns>.<verb>.room.<tail>. It is AppendEvent without
// the rule about all, room and socket.
func AppendRoom[T ~string | ~[]byte](dst []byte, name T) ([]byte, error) {
	return appendTail(dst, name, false)
}

// AppendNamespace appends the token that stands for a namespace: "_" for "/", else the name without its leading slash,
// escaped as in AppendEvent, and besides with every dot escaped, a leading "$", and the name "/_". The errors are
// ErrNamespace, ErrNameTooLong and ErrNotUTF8; with an error, dst comes back as it was.
func AppendNamespace[T ~string | ~[]byte](dst []byte, name T) ([]byte, error) {
	if len(name) == 0 || name[0] != '/' {
		return dst, ErrNamespace
	}
	if len(name) > MaxNameBytes {
		return dst, ErrNameTooLong
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
		return dst, ErrNotUTF8
	}
	return out, nil
}

func appendTail[T ~string | ~[]byte](dst []byte, name T, event bool) ([]byte, error) {
	if len(name) > MaxNameBytes {
		return dst, ErrNameTooLong
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
		return dst, ErrNotUTF8
	}
	if tokens > MaxNameTokens {
		return dst, ErrTooManyTokens
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

// beginsWith tells whether the first token of a tail is a word.
func beginsWith[T ~string | ~[]byte](tail T, word string) bool {
	n := len(word)
	return len(tail) >= n && string(tail[:n]) == word && (len(tail) == n || tail[n] == '.')
}

// isUnsafe tells of the bytes that are escaped in every name: those that NATS's protocol or wildcards give a meaning,
// other control characters, and the escape itself.
func isUnsafe(c byte) bool {
	return c <= ' ' || c == '%' || c == '*' || c == '>' || c == 0x7F
}

func appendEscaped(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}

// Event returns the name of the event whose tail this is: the inverse of AppendEvent. Every other spelling is
// refused, with ErrSpelling or an error of AppendEvent. A tail without escapes comes back itself, without a copy.
func Event(tail string) (string, error) { return tailName(tail, true) }

// Room returns the name of the room whose tail this is: the inverse of AppendRoom, as Event is of AppendEvent.
func Room(tail string) (string, error) { return tailName(tail, false) }

// tailName decodes a tail and spells the name again: whatever spells differently was not canonical.
func tailName(tail string, event bool) (string, error) {
	if tail == "%" {
		return "", nil
	}
	name, err := unescape("", tail)
	if err != nil {
		return "", err
	}
	var again [maxTailBytes]byte
	spelled, err := appendTail(again[:0], name, event)
	if err != nil {
		return "", err
	}
	if string(spelled) != tail {
		return "", ErrSpelling
	}
	return name, nil
}

// Namespace returns the namespace whose token this is, with its leading slash: the inverse of AppendNamespace. Every
// other spelling is refused, with ErrSpelling or an error of AppendNamespace.
func Namespace(token string) (string, error) {
	if token == "_" {
		return "/", nil
	}
	name, err := unescape("/", token)
	if err != nil {
		return "", err
	}
	var again [maxTailBytes]byte
	spelled, err := AppendNamespace(again[:0], name)
	if err != nil {
		return "", err
	}
	if string(spelled) != token {
		return "", ErrSpelling
	}
	return name, nil
}

// unescape returns before and tail with its escapes decoded, whichever digits they use.
func unescape(before, tail string) (string, error) {
	if len(tail) > maxTailBytes {
		return "", ErrNameTooLong
	}
	if strings.IndexByte(tail, '%') < 0 {
		return before + tail, nil
	}
	name := make([]byte, 0, len(before)+len(tail))
	name = append(name, before...)
	for i := 0; i < len(tail); i++ {
		if tail[i] != '%' {
			name = append(name, tail[i])
			continue
		}
		if i+2 >= len(tail) {
			return "", ErrSpelling
		}
		high, low := hexDigit(tail[i+1]), hexDigit(tail[i+2])
		if high < 0 || low < 0 {
			return "", ErrSpelling
		}
		name = append(name, byte(high<<4|low))
		i += 2
	}
	return string(name), nil
}

// hexDigit returns the value of a hexadecimal digit in capitals, -1 for anything else.
func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	default:
		return -1
	}
}

// Matches reports whether a name matches a pattern of the configuration or of an announcement: * is any run of characters,
// nothing else is special. The time is linear in practice, and at worst the product of the lengths.
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
