package msg

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The functions of this file walk JSON that encoding/json has found valid. On anything else they find nonsense, but
// stay inside the slice.

// values walks what stands in an array or an object: the elements, or each member's key and then its value. It points
// into the text. The zero values is empty.
type values struct {
	text []byte // from the next value on, or a comma or colon in front of it
}

// inside returns the values of the array or object that text is.
func inside(text []byte) values {
	return values{text[min(skipSpace(text, 0)+1, len(text)):]}
}

// next returns the text of the next value, without white space around it, or false after the last.
func (v *values) next() (value []byte, ok bool) {
	i := skipSpace(v.text, 0)
	if i < len(v.text) && (v.text[i] == ',' || v.text[i] == ':') {
		i = skipSpace(v.text, i+1)
	}
	if i >= len(v.text) || v.text[i] == ']' || v.text[i] == '}' {
		v.text = nil
		return nil, false
	}
	end := skipValue(v.text, i)
	value, v.text = v.text[i:end:end], v.text[end:]
	return value, true
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// skipSpace returns where the JSON white space at i ends.
func skipSpace(text []byte, i int) int {
	for i < len(text) && isSpace(text[i]) {
		i++
	}
	return i
}

// skipValue returns where the value at i ends. It counts brackets instead of recursing.
func skipValue(text []byte, i int) int {
	depth := 0
	for i < len(text) {
		switch text[i] {
		case '"':
			i = skipString(text, i)
		case '[', '{':
			depth++
			i++
		case ']', '}':
			depth--
			i++
		case ',', ':', ' ', '\n', '\t', '\r':
			i++
		default:
			i = skipLiteral(text, i)
		}
		if depth <= 0 {
			return i
		}
	}
	return i
}

// skipString returns where the string whose opening quote is at i ends, behind its closing quote.
func skipString(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// skipLiteral returns where the number, true, false or null at i ends.
func skipLiteral(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case ',', ':', ']', '}', '[', '{', '"', ' ', '\n', '\t', '\r':
			return i
		}
	}
	return i
}

func isString(value []byte) bool { return len(value) >= 2 && value[0] == '"' }

func isNumber(value []byte) bool {
	return len(value) > 0 && (value[0] == '-' || '0' <= value[0] && value[0] <= '9')
}

// appendDecoded appends the characters of a JSON string, quotes included in it, to dst. With an error, dst comes back
// as it was.
func appendDecoded(dst, quoted []byte) ([]byte, error) {
	out, s := dst, quoted[1:len(quoted)-1]
	for len(s) > 0 {
		plain := 0
		for plain < len(s) && s[plain] != '\\' {
			plain++
		}
		out, s = append(out, s[:plain]...), s[plain:]
		if len(s) == 0 {
			break
		}
		if len(s) < 2 {
			return dst, ErrNotJSON
		}
		if s[1] != 'u' {
			out, s = append(out, unescaped(s[1])), s[2:]
			continue
		}
		char, size := decodeUnicode(s)
		if size == 0 {
			return dst, ErrLoneSurrogate
		}
		out, s = utf8.AppendRune(out, char), s[size:]
	}
	return out, nil
}

// unescaped returns the character that a backslash and c stand for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // a quote, a slash or a backslash
}

// decodeUnicode decodes the \uXXXX that s begins with, or two of them that are a surrogate pair. The size is 0 if it is
// half a pair.
func decodeUnicode(s []byte) (char rune, size int) {
	char = unicodeEscape(s)
	if !utf16.IsSurrogate(char) {
		return char, min(6, len(s))
	}
	if len(s) < 12 {
		return 0, 0
	}
	if char = utf16.DecodeRune(char, unicodeEscape(s[6:])); char == utf8.RuneError {
		return 0, 0
	}
	return char, 12
}

// unicodeEscape returns the number that the \uXXXX at the start of s stands for, or -1 if there is none.
func unicodeEscape(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	var n rune
	for _, c := range s[2:6] {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			n = n<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return n
}

// AppendString appends s as a JSON string, for the small bodies that an edge makes itself. It escapes what JSON
// demands and nothing else, as JSON.stringify does. Bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, '\\', 'b')
		case c == '\f':
			dst = append(dst, '\\', 'f')
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(dst, '"')
}
