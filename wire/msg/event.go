package msg

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"partyline/wire/jsontext"
	"partyline/wire/sio"
)

// EventName checks the whole body of an event and appends the event's name to dst: the first element of the array,
// decoded if it is a string, or the JSON text of a number. It accepts the events that the reference parser accepts
// (socket.io-parser, isPayloadValid): the official client closes its connection on all others.
//
// It is an error if the body is not UTF-8 or JSON (ErrNotJSON), no array (ErrNotArray), or the name is missing,
// reserved or has half a surrogate pair. dst comes back unchanged then. The result does not point into body.
// EventName does not allocate if dst has room.
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
		return dst, errNoName
	}
	name, err = appendDecoded(dst, first)
	if err != nil {
		return dst, err
	}
	if IsReserved(name[len(dst):]) {
		return dst, errReserved
	}
	return name, nil
}

// FirstArgument appends the first argument of an event, the second element of its array, to dst: the room or socket
// that a client names in join, leave or a relayed event. ok is false, and dst comes back unchanged, if the argument
// is missing, is not a string, or has half a surrogate pair. body must have passed EventName. The result does not
// point into body.
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

// PackAttachments returns a body with attachments behind its text, and its Sio-Attachments header: their lengths in
// bytes, in the order of the placeholders, as in "3,2".
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

// SplitAttachments splits a body by its Sio-Attachments header into the JSON text and the attachments behind it,
// which it appends to dst. All of them point into body. An empty header means no attachments.
//
// The header must be at most MaxAttachments decimal numbers separated by single commas, without signs, spaces and
// leading zeros. Their sum must leave at least one byte of text, which is not checked. With an error, dst comes back
// unchanged and text is nil.
func SplitAttachments(dst [][]byte, header string, body []byte) (text []byte, attachments [][]byte, err error) {
	var lengths [MaxAttachments]int
	count, total := 0, 0
	for rest, more := header, header != ""; more; count++ {
		if count == MaxAttachments {
			return nil, dst, fmt.Errorf("%w: more than %d", errAttachments, MaxAttachments)
		}
		var length string
		length, rest, more = strings.Cut(rest, ",")
		n, err := strconv.Atoi(length)
		if err != nil || length[0] < '1' && length != "0" { // a sign or a leading zero
			return nil, dst, fmt.Errorf("%w: %s %.64q is not a list of lengths such as 3,2", errAttachments, HeaderAttachments, header)
		}
		lengths[count] = n
		total = min(total+min(n, len(body)), len(body))
	}
	if total >= len(body) {
		return nil, dst, fmt.Errorf("%w: lengths %.64q leave no text of a body of %d bytes", errAttachments, header, len(body))
	}
	start := len(body) - total
	text, attachments = body[:start:start], dst
	for _, n := range lengths[:count] {
		attachments = append(attachments, body[start:start+n:start+n])
		start += n
	}
	return text, attachments, nil
}

// CheckPlaceholders checks that every placeholder in text, an object whose member _placeholder is true, at whatever
// depth, has as its member num an integer from 0 up to the number of attachments: the official client closes its
// connection on others (socket.io-parser, reconstructPacket). Placeholders may share an attachment, and an attachment
// may have none.
//
// text must be valid JSON, which may be 10,000 levels deep. The time is linear in its length.
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
				return fmt.Errorf("%w: a placeholder's num is not one of %d attachments", errAttachments, attachments)
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

// Content takes the body of an event or of an ack apart and checks what would break a client's decoder. The name of an
// event replaces what is in name. text is a part of the body.
func Content(name []byte, header map[string][]string, body []byte, isEvent bool) (_, text []byte, attachments [][]byte, err error) {
	text = body
	if lengths := header[HeaderAttachments]; len(lengths) > 0 {
		// The frame keeps the list of attachments, so it is a new one.
		if text, attachments, err = SplitAttachments(nil, lengths[0], body); err != nil {
			return name, nil, nil, err
		}
	}
	// Clients would read white space in front of the array as an ack id (socket.io-parser: Number(" ") is 0).
	text = bytes.TrimLeft(text, " \t\r\n")
	if isEvent {
		name, err = EventName(name[:0], text)
	} else {
		err = CheckArray(text)
	}
	if err == nil && len(attachments) > 0 {
		err = CheckPlaceholders(text, len(attachments))
	}
	return name, text, attachments, err
}
