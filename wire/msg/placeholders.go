package msg

import (
	"fmt"
	"math"
	"strconv"
)

// One byte an open array or object is all that CheckPlaceholders remembers: text may be 10,000 levels deep.
const (
	markPlaceholder = 1 << iota // the last member _placeholder so far is true
	markInRange                 // the last member num so far is the index of an attachment
)

// CheckPlaceholders tells whether every placeholder in text, an object whose member _placeholder is true, at whatever
// depth, has as its member num an integer from 0 up to the number of attachments: the official client closes its
// connection on others (socket.io-parser, reconstructPacket). Of a repeated member the last counts, as in JSON.parse.
// Placeholders may share an attachment, and an attachment may have none.
//
// text must be valid JSON. The time is linear in its length, and nothing recurses. The error wraps ErrAttachments.
func CheckPlaceholders(text []byte, attachments int) error {
	var first [64]byte
	open := first[:0]
	for i := 0; i < len(text); {
		switch text[i] {
		case '[', '{':
			open = append(open, 0)
			i++
		case ']', '}':
			if len(open) == 0 {
				return ErrNotJSON
			}
			if open[len(open)-1] == markPlaceholder {
				return fmt.Errorf("%w: a placeholder's num is not one of %d attachments", ErrAttachments, attachments)
			}
			open = open[:len(open)-1]
			i++
		case '"':
			end := skipString(text, i)
			key := text[i:end]
			i = skipSpace(text, end)
			if i < len(text) && text[i] == ':' && len(open) > 0 {
				i = skipSpace(text, i+1)
				mark(&open[len(open)-1], key, text[i:], attachments)
			}
		default:
			i++
		}
	}
	return nil
}

// mark notes a member of an object; value begins with the member's value.
func mark(object *byte, key, value []byte, attachments int) {
	var bit byte
	var holds bool
	switch {
	case keyIs(key, "_placeholder"):
		bit, holds = markPlaceholder, len(value) > 0 && value[0] == 't'
	case keyIs(key, "num"):
		bit, holds = markInRange, isNumber(value) && isIndex(value[:skipLiteral(value, 0)], attachments)
	default:
		return
	}
	*object &^= bit
	if holds {
		*object |= bit
	}
}

// isIndex tells whether a JSON number is an integer from 0 up to n, however it is written: 1.0 and 1e0 are 1.
func isIndex(number []byte, n int) bool {
	if len(number) == 1 {
		return int(number[0]-'0') < n
	}
	f, err := strconv.ParseFloat(string(number), 64)
	return err == nil && f >= 0 && f < float64(n) && f == math.Trunc(f)
}

// keyIs tells whether a member's key, a JSON string with its quotes, decodes to name, which is ASCII.
func keyIs(key []byte, name string) bool {
	if len(key) == len(name)+2 {
		return string(key[1:len(key)-1]) == name
	}
	const longest = 6 // bytes that JSON may spend on an ASCII character: \u0061
	if len(key) < len(name)+2 || len(key) > longest*len(name)+2 {
		return false
	}
	var decoded [longest * 16]byte
	got, err := appendDecoded(decoded[:0], key)
	return err == nil && string(got) == name
}
