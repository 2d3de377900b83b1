package jsontext

import (
	"encoding/binary"
	"encoding/json"
	"strings"
)

// deepest is how deep Valid looks itself.
const deepest = 1024

// levels are the arrays and objects around a place in a text.
type levels struct {
	depth   int
	objects [deepest / 64]uint64 // a bit for each level: it is an object
}

func (l *levels) enter(open byte) {
	at, bit := l.depth/64, uint64(1)<<(l.depth%64)
	if l.objects[at] &^= bit; open == '{' {
		l.objects[at] |= bit
	}
	l.depth++
}

// isObject reports whether the innermost level is an object.
func (l *levels) isObject() bool {
	return l.objects[(l.depth-1)/64]>>((l.depth-1)%64)&1 == 1
}

// Valid reports what encoding/json.Valid does, several times as fast for long strings: the largest packet of a client
// must not keep a processor for 10 ms.
func Valid(text []byte) bool {
	var around levels
	i := SkipSpace(text, 0)
	for i < len(text) { // a value begins
		switch c := text[i]; c {
		case '{', '[':
			if around.depth == deepest {
				return json.Valid(text)
			}
			around.enter(c)
			if i = SkipSpace(text, i+1); i == len(text) {
				return false
			}
			if text[i] != c+2 { // ] and } are two characters behind [ and {
				if c == '{' {
					i = skipKey(text, i)
				}
				continue
			}
		case '"':
			i = skipString(text, i)
		default:
			i = skipScalar(text, i)
		}
		for hasEnded := true; hasEnded; { // a value has, or everything in a level has
			switch i = SkipSpace(text, i); {
			case around.depth == 0:
				return i == len(text)
			case i >= len(text):
				return false
			case text[i] == ',':
				hasEnded = false
				if i = SkipSpace(text, i+1); around.isObject() {
					i = skipKey(text, i)
				}
			case text[i] == '}' && around.isObject() || text[i] == ']' && !around.isObject():
				around.depth--
				i++
			default:
				return false
			}
		}
	}
	return false
}

// skipKey returns where the value of the key at i begins. Like the functions below, it returns len(text)+1 if the text
// is not valid.
func skipKey(text []byte, i int) int {
	if i >= len(text) || text[i] != '"' {
		return len(text) + 1
	}
	if i = SkipSpace(text, skipString(text, i)); i >= len(text) || text[i] != ':' {
		return len(text) + 1
	}
	return SkipSpace(text, i+1)
}

// skipString returns the end of the string at i.
func skipString(text []byte, i int) int {
	for i++; i < len(text); i++ {
		for i+8 <= len(text) && isPlain(binary.LittleEndian.Uint64(text[i:])) {
			i += 8
		}
		switch {
		case i == len(text) || text[i] < ' ':
			return len(text) + 1
		case text[i] == '"':
			return i + 1
		case text[i] == '\\' && i+1 < len(text):
			if i++; text[i] == 'u' && codeUnit(text[i-1:]) >= 0 {
				i += 4
			} else if strings.IndexByte(letters+"/", text[i]) < 0 {
				return len(text) + 1
			}
		}
	}
	return len(text) + 1
}

// isPlain reports whether none of eight characters of a string is its end, an escape or a control character.
func isPlain(eight uint64) bool {
	const ones = 0x0101010101010101
	quotes, escapes := eight^'"'*ones, eight^'\\'*ones
	return ((eight-' '*ones)&^eight|(quotes-ones)&^quotes|(escapes-ones)&^escapes)&(0x80*ones) == 0
}

// skipScalar returns the end of the number, true, false or null at i.
func skipScalar(text []byte, i int) int {
	switch text[i] {
	case 't':
		return skipWord(text, i, "true")
	case 'f':
		return skipWord(text, i, "false")
	case 'n':
		return skipWord(text, i, "null")
	case '-':
		i++
	}
	first := i
	if i = skipDigits(text, i); i == first || text[first] == '0' && i > first+1 {
		return len(text) + 1
	}
	if i < len(text) && text[i] == '.' {
		first = i + 1
		if i = skipDigits(text, first); i == first {
			return len(text) + 1
		}
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		first = i
		if i = skipDigits(text, first); i == first {
			return len(text) + 1
		}
	}
	return i
}

func skipWord(text []byte, i int, word string) int {
	if len(text)-i < len(word) || string(text[i:i+len(word)]) != word {
		return len(text) + 1
	}
	return i + len(word)
}

func skipDigits(text []byte, i int) int {
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	return i
}
