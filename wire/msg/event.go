package msg

import (
	"fmt"
	"strconv"

	"partyline/wire/jsontext"
	"partyline/wire/sio"
)

// EventName checks the whole body of an event and appends the event's name to dst: the first element of the array, as
// JSON decoding gives it; of a number, its JSON text. What it accepts is what the reference parser hands to a listener
// (socket.io-parser, isPayloadValid): the official client closes its connection on everything else.
//
// The errors are ErrNotUTF8, ErrNotJSON, ErrNotArray, ErrNoName, ErrReserved and ErrLoneSurrogate; with an error, dst
// comes back as it was. The result does not point into body. EventName does not allocate if dst has room.
func EventName(dst, body []byte) (name []byte, err error) {
	elements, err := array(body)
	if err != nil {
		return dst, err
	}
	first, _ := elements.Next()
	switch {
	case jsontext.IsNumber(first):
		return append(dst, first...), nil
	case !jsontext.IsString(first):
		return dst, ErrNoName
	}
	name, err = appendDecoded(dst, first)
	if err != nil {
		return dst, err
	}
	if isReserved(name[len(dst):]) {
		return dst, ErrReserved
	}
	return name, nil
}

// FirstArgument appends the first argument of an event, the second element of its array, to dst if that is a string:
// the room or socket that a client names in join, leave or a relayed event. ok is false, and dst comes back as it was,
// if there is none, it is no string, or it contains half a surrogate pair. body must have passed EventName. The
// result does not point into body.
func FirstArgument(dst, body []byte) (arg []byte, ok bool) {
	elements := jsontext.Inside(body)
	elements.Next()
	second, _ := elements.Next()
	if !jsontext.IsString(second) {
		return dst, false
	}
	arg, err := appendDecoded(dst, second)
	return arg, err == nil
}

// MaxAttachments is the most attachments that an event or ack may have.
const MaxAttachments = sio.MaxAttachments

// PackAttachments returns a body with attachments behind its text, and its Sio-Attachments header: their lengths in bytes,
// in the order of the placeholders, as in "3,2".
func PackAttachments(text []byte, attachments [][]byte) (body []byte, header string) {
	size := len(text)
	for _, a := range attachments {
		size += len(a)
	}
	body = append(make([]byte, 0, size), text...)
	var first [64]byte
	lengths := first[:0]
	for i, a := range attachments {
		if i > 0 {
			lengths = append(lengths, ',')
		}
		lengths = strconv.AppendInt(lengths, int64(len(a)), 10)
		body = append(body, a...)
	}
	return body, string(lengths)
}

// SplitAttachments splits a body by the value of its Sio-Attachments header into the JSON text and the attachments
// behind it, which it appends to dst. All of them point into body. An empty header means no attachments.
//
// The header must be at most MaxAttachments decimal numbers separated by single commas, without signs, spaces and
// leading zeros, whose sum leaves at least one byte of text; the text itself is not looked at. All errors wrap
// ErrAttachments; with an error, dst comes back as it was and text is nil.
func SplitAttachments(dst [][]byte, header string, body []byte) (text []byte, attachments [][]byte, err error) {
	var lengths [MaxAttachments]int
	count, total := 0, 0
	for rest := header; rest != ""; {
		if count == MaxAttachments {
			return nil, dst, fmt.Errorf("%w: more than %d", ErrAttachments, MaxAttachments)
		}
		n, size := leadingLength(rest, len(body))
		if size == 0 || size < len(rest) && (rest[size] != ',' || size+1 == len(rest)) {
			return nil, dst, fmt.Errorf("%w: %s %.64q is not a list of lengths such as 3,2", ErrAttachments,
				HeaderAttachments, header)
		}
		lengths[count] = n
		count++
		total = min(total+n, len(body))
		rest = rest[min(size+1, len(rest)):]
	}
	if total >= len(body) {
		return nil, dst, fmt.Errorf("%w: lengths %.64q leave no text of a body of %d bytes", ErrAttachments, header, len(body))
	}
	start := len(body) - total
	text, attachments = body[:start:start], dst
	for _, n := range lengths[:count] {
		attachments = append(attachments, body[start:start+n:start+n])
		start += n
	}
	return text, attachments, nil
}

// leadingLength reads the canonical decimal number that s begins with, and how many bytes it has, 0 if there is none.
// Whatever exceeds limit is limit.
func leadingLength(s string, limit int) (n, size int) {
	for size < len(s) && '0' <= s[size] && s[size] <= '9' {
		n = min(n, limit)*10 + int(s[size]-'0')
		size++
	}
	if size > 1 && s[0] == '0' {
		return 0, 0
	}
	return min(n, limit), size
}

// CheckPlaceholders checks that every placeholder in text, an object whose member _placeholder is true, at whatever depth, has
// as its member num an integer from 0 up to the number of attachments: the official client closes its connection on others
// (socket.io-parser, reconstructPacket). Placeholders may share an attachment, and an attachment may have none.
//
// text must be valid JSON, which may be 10,000 levels deep. The time is linear in its length. The error wraps ErrAttachments.
func CheckPlaceholders(text []byte, attachments int) error {
	var first [64]sio.Placeholder
	open := first[:0]
	for i := 0; i < len(text); {
		end := jsontext.SkipToken(text, i)
		switch text[i] {
		case '[', '{':
			open = append(open, sio.Placeholder{})
		case ']', '}':
			if len(open) == 0 {
				return ErrNotJSON
			}
			if index, isPlaceholder := open[len(open)-1].Attachment(); isPlaceholder && index < 0 {
				return fmt.Errorf("%w: a placeholder's num is not one of %d attachments", ErrAttachments, attachments)
			}
			open = open[:len(open)-1]
		case '"':
			if value := jsontext.MemberValue(text, end); value != nil && len(open) > 0 {
				open[len(open)-1].Member(text[i:end], value, attachments)
			}
		}
		i = end
	}
	return nil
}
