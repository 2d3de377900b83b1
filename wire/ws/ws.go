// Package ws writes the WebSocket frames that a server sends (RFC 6455, section 5.2), and reads them back: final, and
// never masked.
package ws

import "encoding/binary"

// The first bytes of frames.
const (
	Text   = 0x81
	Binary = 0x82
	Close  = 0x88
	Pong   = 0x8A
)

// HeadSize is the most that a head takes, in bytes.
const HeadSize = 10

// AppendHead appends the head of a frame with n bytes of content.
func AppendHead(dst []byte, first byte, n int) []byte {
	switch {
	case n < 126:
		return append(dst, first, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
}

// Append appends a whole frame. That of a control frame may have 125 bytes of content.
func Append[T ~string | ~[]byte](dst []byte, first byte, content T) []byte {
	return append(AppendHead(dst, first, len(content)), content...)
}

// Next returns the content of the first of some whole frames, and the frames behind it. All are parts of frames.
func Next(frames []byte) (content, rest []byte) {
	head, size := 2, int(frames[1])
	switch size {
	case 126:
		head, size = 4, int(binary.BigEndian.Uint16(frames[2:]))
	case 127:
		head, size = 10, int(binary.BigEndian.Uint64(frames[2:]))
	}
	return frames[head : head+size], frames[head+size:]
}
