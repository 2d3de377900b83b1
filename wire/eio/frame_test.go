package eio

import (
	"bytes"
	"testing"

	"partyline/wire/ws"
)

func TestJoinedFrame(t *testing.T) {
	one, two := NewMessage([]byte("a"), nil, nil, Options{}), NewMessage(nil, []byte("b"), [][]byte{{1, 2, 3}}, Options{NoCompression: true})
	f := Join([]*Frame{one, two})
	if want := append(bytes.Clone(one.WS()), two.WS()...); !bytes.Equal(f.WS(), want) {
		t.Errorf("as WebSocket frames it is %q, want %q", f.WS(), want)
	}
	var polled bytes.Buffer
	p := Payload{[]*Frame{f, NewControl(ws.Pong, "")}, true}
	p.Write(&polled)
	if got, want := polled.String(), "4a\x1e4b\x1ebAQID\x1e1"; got != want {
		t.Errorf("as a polling payload it is %q, want %q", got, want)
	}
	if size, _ := p.Size(); size != polled.Len() {
		t.Errorf("its size as a polling payload is %d, want %d", size, polled.Len())
	}
	if f.Messages() != 2 || f.Size() != one.Size()+two.Size()-FrameCost || f.plain {
		t.Errorf("it is %d messages of %d bytes, plain %v", f.Messages(), f.Size(), f.plain)
	}
	if Join([]*Frame{one}) != one {
		t.Error("one frame is joined to another")
	}
}
