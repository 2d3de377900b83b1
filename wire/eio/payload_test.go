package eio

import (
	"bytes"
	"errors"
	"testing"
)

// payloads are bodies of polling requests and responses. want is what can be read before the error.
var payloads = []struct {
	raw     string
	meaning string
	want    []Packet
	err     error
}{
	{"2", "one packet", []Packet{{Type: Ping}}, nil},
	{"4hello\x1e2\x1e4world", "three packets",
		[]Packet{{Type: Message, Data: []byte("hello")}, {Type: Ping}, {Type: Message, Data: []byte("world")}}, nil},
	{"451-[\"a\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==", "an event and its attachment",
		[]Packet{
			{Type: Message, Data: []byte(`51-["a",{"_placeholder":true,"num":0}]`)},
			{Type: Message, Binary: true, Data: []byte{1, 2, 3, 4}},
		}, nil},
	{"b\x1eb", "two empty binary messages", []Packet{{Type: Message, Binary: true}, {Type: Message, Binary: true}}, nil},

	{"", "nothing", nil, errPacket},
	{"\x1e", "separator alone", nil, errPacket},
	{"\x1e2", "empty first packet", nil, errPacket},
	{"2\x1e", "empty last packet", []Packet{{Type: Ping}}, errPacket},
	{"2\x1e\x1e2", "empty packet inside", []Packet{{Type: Ping}}, errPacket},
	{"2\x1ex\x1e2", "unknown type inside", []Packet{{Type: Ping}}, errPacket},
	{"4a\x1eb!\x1e4b", "broken base64 inside", []Packet{{Type: Message, Data: []byte("a")}}, errPacket},
	{"6:4hello", "a payload of protocol 3", []Packet{{Type: Noop, Data: []byte(":4hello")}}, nil},
}

// readAll reads a payload the way a transport does.
func readAll(payload []byte) (packets []Packet, err error) {
	var p Packet
	for more := true; more; more = payload != nil {
		if p, payload, err = Next(payload); err != nil {
			return packets, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

func TestNext(t *testing.T) {
	for _, c := range payloads {
		got, err := readAll([]byte(c.raw))
		if !errors.Is(err, c.err) || !equalAll(got, c.want) {
			t.Errorf("%s: %q reads as %+v, %v; want %+v, %v", c.meaning, c.raw, got, err, c.want, c.err)
		}
	}
	if _, _, err := Next(nil); err != errPacket {
		t.Errorf("Next(nil): %v", err)
	}
}

func TestNextHasNoRestAfterAnError(t *testing.T) {
	if _, rest, err := Next([]byte("x\x1e2")); err == nil || rest != nil {
		t.Errorf("rest %q, error %v", rest, err)
	}
}

// appendPayload appends packets to dst as one polling payload, as a client does.
func appendPayload(dst []byte, packets ...Packet) []byte {
	for i, p := range packets {
		if i > 0 {
			dst = append(dst, Separator)
		}
		dst = Append(dst, p)
	}
	return dst
}

func TestAppendPayload(t *testing.T) {
	for _, c := range payloads {
		if c.err != nil {
			continue
		}
		if got := string(appendPayload([]byte("kept "), c.want...)); got != "kept "+c.raw {
			t.Errorf("%s: %q, want %q behind what was there", c.meaning, got, c.raw)
		}
	}
	if got := appendPayload(nil); len(got) != 0 {
		t.Errorf("no packets: %q", got)
	}
}

func FuzzNext(f *testing.F) {
	for _, c := range payloads {
		f.Add([]byte(c.raw))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		packets, err := readAll(bytes.Clone(payload))
		separators := bytes.Count(payload, []byte{Separator})
		if err == nil && len(packets) != separators+1 || len(packets) > separators+1 {
			t.Fatalf("%d packets in %q, error %v", len(packets), payload, err)
		}
		if len(packets) == 0 {
			return
		}
		text := appendPayload(nil, packets...)
		again, err := readAll(bytes.Clone(text))
		if err != nil || !equalAll(again, packets) {
			t.Fatalf("%q comes back as %q, read as %+v, %v", payload, text, again, err)
		}
		if twice := appendPayload(nil, again...); !bytes.Equal(twice, text) {
			t.Fatalf("%q comes back as %q, then as %q", payload, text, twice)
		}
	})
}

func TestPayloadAllocatesNothing(t *testing.T) {
	packets := []Packet{{Type: Ping}, {Type: Message, Data: []byte(`2["a"]`)}, {Type: Message, Binary: true, Data: []byte{1, 2}}}
	dst := make([]byte, 0, 256)
	allocs := testing.AllocsPerRun(100, func() {
		dst = appendPayload(dst[:0], packets...)
		rest, err := dst, error(nil)
		for rest != nil {
			if _, rest, err = Next(rest); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkNext(b *testing.B) {
	payload := bytes.Repeat([]byte("42[\"message\",\"hello\"]\x1e"), 100)
	payload = payload[:len(payload)-1]
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		rest, err := payload, error(nil)
		for rest != nil {
			if _, rest, err = Next(rest); err != nil {
				b.Fatal(err)
			}
		}
	}
}
