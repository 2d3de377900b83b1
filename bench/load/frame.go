package load

import (
	"encoding/binary"
	"errors"
)

// Opcodes of WebSocket frames, with the bit that says that a frame is the whole message.
const (
	opText  = 0x81
	opClose = 0x88
	opPing  = 0x89
	opPong  = 0x8a
)

// masked is the bit of a frame's length that says that it is masked, as all frames of clients are.
const masked = 0x80

// key masks what clients send. It is always the same: a mask protects old proxies, and there are none here.
var key = [8]byte{0x37, 0xfa, 0x21, 0x3d, 0x37, 0xfa, 0x21, 0x3d}

// appendFrame appends a client's frame.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, opcode, masked|byte(n))
	case n < 1<<16:
		dst = append(dst, opcode, masked|126, byte(n>>8), byte(n))
	default:
		dst = append(dst, opcode, masked|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	dst = append(dst, key[:4]...)
	word := binary.LittleEndian.Uint64(key[:])
	for ; len(payload) >= 8; payload = payload[8:] {
		dst = binary.LittleEndian.AppendUint64(dst, binary.LittleEndian.Uint64(payload)^word)
	}
	for i, b := range payload {
		dst = append(dst, b^key[i])
	}
	return dst
}

var errLength = errors.New("a WebSocket frame is masked or longer than 1 GiB")

// cutFrame cuts the first frame of a server off data. size is how long it was, with its header, and 0 while data does
// not hold the whole of it.
func cutFrame(data []byte) (opcode byte, payload []byte, size int, err error) {
	if len(data) < 2 {
		return 0, nil, 0, nil
	}
	header, n := 2, int(data[1])
	switch {
	case n < 126:
	case n == 126:
		if header = 4; len(data) < header {
			return 0, nil, 0, nil
		}
		n = int(binary.BigEndian.Uint16(data[2:]))
	case n == 127:
		if header = 10; len(data) < header {
			return 0, nil, 0, nil
		}
		long := binary.BigEndian.Uint64(data[2:])
		if long > 1<<30 {
			return 0, nil, 0, errLength
		}
		n = int(long)
	default:
		return 0, nil, 0, errLength
	}
	if size = header + n; len(data) < size {
		return 0, nil, 0, nil
	}
	return data[0], data[header:size], size, nil
}
