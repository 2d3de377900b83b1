package msg

import (
	"fmt"
	"strconv"
)

// MaxAttachments is the most attachments that an event or ack may have: the reference parser's limit, beyond which it
// closes the connection.
const MaxAttachments = 10

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
