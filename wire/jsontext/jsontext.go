// Package jsontext walks JSON text without decoding it, and reads and writes its strings. Nothing recurses,
// and only KeyIs, Text and Take ever allocate, and Valid for texts that are very deep or have a wrong escape.
//
// All functions but Valid are for text that it has found valid. On anything else their results mean nothing, but
// they do not leave the text and do not panic.
package jsontext

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Values walks the elements of an array, or the members of an object: each key and then its value. The zero Values is
// empty.
type Values struct {
	text []byte // from the next value on, or from a comma or colon in front of it
}

// Inside returns the values of an array or object.
func Inside(text []byte) Values {
	return Values{text[min(SkipSpace(text, 0)+1, len(text)):]}
}

// Next returns the next value, a part of the text without white space around it. ok is false after the last.
func (v *Values) Next() (value []byte, ok bool) {
	i := SkipSpace(v.text, 0)
	if i < len(v.text) && (v.text[i] == ',' || v.text[i] == ':') {
		i = SkipSpace(v.text, i+1)
	}
	if i >= len(v.text) || v.text[i] == ']' || v.text[i] == '}' {
		v.text = nil
		return nil, false
	}
	end := skipValue(v.text, i)
	value, v.text = v.text[i:end:end], v.text[end:]
	return value, true
}

// SkipSpace returns the end of the white space at i.
func SkipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the end of the value at i.
func skipValue(text []byte, i int) int {
	for depth := 0; i < len(text); {
		switch text[i] {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		if i = SkipToken(text, i); depth <= 0 {
			return i
		}
	}
	return i
}

// SkipToken returns the end of the token at i: a string, a number, true, false, null, or a single other character.
func SkipToken(text []byte, i int) int {
	c := text[i]
	i++
	switch {
	case c == '"':
		for ; i < len(text); i++ {
			switch text[i] {
			case '"':
				return i + 1
			case '\\':
				i++
			}
		}
		return len(text)
	case !delimiters[c]:
		for i < len(text) && text[i] != '"' && !delimiters[text[i]] {
			i++
		}
	}
	return i
}

// MemberValue returns the text from the value of a member on whose key ends at i, nil if no colon follows: then it is
// no key.
func MemberValue(text []byte, i int) []byte {
	if i = SkipSpace(text, i); i == len(text) || text[i] != ':' {
		return nil
	}
	return text[SkipSpace(text, i+1):]
}

// delimiters are the characters that are tokens, or white space, by themselves.
var delimiters = [256]bool{
	'[': true, '{': true, ']': true, '}': true, ',': true, ':': true, ' ': true, '\t': true, '\n': true, '\r': true,
}

// IsString reports whether a value is a string.
func IsString(value []byte) bool { return len(value) >= 2 && value[0] == '"' }

// IsNumber reports whether a value is a number.
func IsNumber(value []byte) bool {
	return len(value) > 0 && (value[0] == '-' || '0' <= value[0] && value[0] <= '9')
}

// Find sets values to those of the members of an object with the given names, as far as there are any. The last one
// counts, in whatever spelling.
func Find(values [][]byte, object []byte, names ...string) {
	for members := Inside(object); ; {
		key, more := members.Next()
		if !more {
			return
		}
		value, _ := members.Next()
		for i, name := range names {
			if KeyIs(key, name) {
				values[i] = value
			}
		}
	}
}

// KeyIs reports whether a member's key, a string with its quotes, stands for name. It allocates if the key has escapes
// and name has more than 16 bytes.
func KeyIs(key []byte, name string) bool {
	if len(key) == len(name)+2 {
		return string(key[1:len(key)-1]) == name
	}
	const longest = len(`\u0061`) // bytes that JSON may spend on an ASCII character
	if len(key) < len(name)+2 || len(key) > longest*len(name)+2 {
		return false
	}
	var decoded [longest * 16]byte
	got, whole := AppendDecoded(decoded[:0], key)
	return whole && string(got) == name
}

// AppendDecoded appends the characters that a string, given with its quotes, stands for. Half a surrogate pair becomes
// U+FFFD, and whole is false then.
func AppendDecoded(dst, quoted []byte) (out []byte, whole bool) {
	if len(quoted) < 2 {
		return dst, false
	}
	out, whole = dst, true
	for s := quoted[1 : len(quoted)-1]; ; {
		at := bytes.IndexByte(s, '\\')
		if at < 0 || at+1 == len(s) {
			return append(out, s...), whole
		}
		out = append(out, s[:at]...)
		if s = s[at:]; s[1] != 'u' {
			out, s = append(out, unescaped(s[1])), s[2:]
			continue
		}
		char := codeUnit(s)
		s = s[min(len(`\u0061`), len(s)):]
		if utf16.IsSurrogate(char) {
			if char = utf16.DecodeRune(char, codeUnit(s)); char == utf8.RuneError {
				whole = false
			} else {
				s = s[len(`\udc00`):]
			}
		}
		out = utf8.AppendRune(out, char)
	}
}

// The characters that have an escape of one letter, in the same order, and those letters.
const (
	escaped = "\"\\\b\f\n\r\t"
	letters = `"\bfnrt`
)

// Text returns the characters that a string, given with its quotes, stands for, "" for another value or nil. ok reports
// whether it is a string, without half a surrogate pair, which becomes U+FFFD.
func Text(value []byte) (text string, ok bool) {
	if !IsString(value) {
		return "", false
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), true
	}
	decoded, whole := AppendDecoded(nil, value)
	return string(decoded), whole
}

// unescaped returns the character that a backslash and c stand for.
func unescaped(c byte) byte {
	if i := strings.IndexByte(letters, c); i >= 0 {
		return escaped[i]
	}
	return c // a slash
}

// codeUnit returns the number of the \uXXXX at the start of s, -1 if there is none.
func codeUnit(s []byte) rune {
	if len(s) < len(`\u0061`) || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// AppendString appends s, which is valid UTF-8, as a JSON string. It escapes what JSON demands and nothing else, as
// JSON.stringify does.
func AppendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	done := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(append(dst, s[done:i]...), '\\')
		done = i + 1
		if at := strings.IndexByte(escaped, c); at >= 0 {
			dst = append(dst, letters[at])
		} else {
			const digits = "0123456789abcdef"
			dst = append(dst, 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(append(dst, s[done:]...), '"')
}
