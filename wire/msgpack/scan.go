package msgpack

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// The functions of this file walk JSON text that is valid. On anything else they find nonsense, but stay inside it.

// skip is where the token at i ends: a string, a number, a word, or a single character.
func (w *writer) skip(i int) int {
	switch w.text[i] {
	case '[', '{', ']', '}', ',', ':', ' ', '\t', '\n', '\r':
		return i + 1
	case '"':
		for i++; i < len(w.text); i++ {
			switch w.text[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
		return len(w.text)
	}
	for i++; i < len(w.text); i++ {
		switch w.text[i] {
		case '[', '{', ']', '}', ',', ':', ' ', '\t', '\n', '\r', '"':
			return i
		}
	}
	return i
}

// skipTo is where the value behind a separator begins, the end of the text if the next token at i is not that separator.
func skipTo(text []byte, i int, separator byte) int {
	i = skipSpace(text, i)
	if i == len(text) || text[i] != separator {
		return len(text)
	}
	return skipSpace(text, i+1)
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// inner is a JSON string without its quotes.
func inner(quoted []byte) []byte {
	if len(quoted) < 2 {
		return nil
	}
	return quoted[1 : len(quoted)-1]
}

func hasEscape(s []byte) bool { return bytes.IndexByte(s, '\\') >= 0 }

// keyIs says whether a key, a JSON string with its quotes, stands for name, which is ASCII.
func keyIs(key []byte, name string) bool {
	s := inner(key)
	if len(s) == len(name) {
		return string(s) == name
	}
	const longest = 6 // bytes that JSON may spend on an ASCII character: \u0061
	if len(s) < len(name) || len(s) > longest*len(name) {
		return false
	}
	var decoded [longest * 16]byte
	return string(appendUnescaped(decoded[:0], s)) == name
}

// appendUnescaped writes what a JSON string without its quotes stands for, as UTF-8. Half a surrogate pair, which UTF-8
// cannot say, becomes U+FFFD.
func appendUnescaped(dst, s []byte) []byte {
	for {
		at := bytes.IndexByte(s, '\\')
		if at < 0 || at+1 >= len(s) {
			return append(dst, s...)
		}
		dst = append(dst, s[:at]...)
		c := s[at+1]
		if c != 'u' {
			dst, s = append(dst, unescaped(c)), s[at+2:]
			continue
		}
		char := codeUnit(s[at:])
		s = s[min(at+6, len(s)):]
		if utf16.IsSurrogate(char) {
			pair := utf16.DecodeRune(char, codeUnit(s))
			if pair != utf8.RuneError {
				s = s[6:]
			}
			char = pair
		}
		dst = utf8.AppendRune(dst, char)
	}
}

// unescaped is the character that a backslash and c stand for.
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

// codeUnit is the number of the \uXXXX that s begins with, -1 if there is none.
func codeUnit(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	var n rune
	for _, c := range s[2:6] {
		switch {
		case isDigit(c):
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
