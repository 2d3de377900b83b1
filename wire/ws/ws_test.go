package ws

import (
	"bytes"
	"testing"
)

func TestFrames(t *testing.T) {
	for _, c := range []struct {
		size int
		head []byte
	}{
		{0, []byte{Text, 0}},
		{125, []byte{Text, 125}},
		{126, []byte{Text, 126, 0, 126}},
		{65535, []byte{Text, 126, 255, 255}},
		{65536, []byte{Text, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
	} {
		content := bytes.Repeat([]byte("x"), c.size)
		frame := Append([]byte("before"), Text, content)[len("before"):]
		if !bytes.Equal(frame, append(c.head, content...)) || len(c.head) > HeadSize {
			t.Errorf("%d bytes have the head %x", c.size, frame[:min(len(frame), HeadSize)])
		}
		behind := Append(nil, Close, "\x03\xef")
		got, rest := Next(append(frame, behind...))
		if !bytes.Equal(got, content) || !bytes.Equal(rest, behind) {
			t.Errorf("%d bytes are read back as %d, and %x follows", c.size, len(got), rest)
		}
	}
}
