package eio

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
)

// frames are text frames as they come over the wire.
var frames = []struct {
	raw     string
	meaning string
	want    Packet
	err     error
}{
	{`0{"sid":"x"}`, "open", Packet{Type: Open, Data: []byte(`{"sid":"x"}`)}, nil},
	{"1", "close", Packet{Type: Close}, nil},
	{"2", "ping", Packet{Type: Ping}, nil},
	{"2probe", "ping of an upgrade", Packet{Type: Ping, Data: []byte("probe")}, nil},
	{"3", "pong", Packet{Type: Pong}, nil},
	{"3probe", "pong of an upgrade", Packet{Type: Pong, Data: []byte("probe")}, nil},
	{"4", "message without content", Packet{Type: Message}, nil},
	{`42["message","hello"]`, "message with an event", Packet{Type: Message, Data: []byte(`2["message","hello"]`)}, nil},
	{"4안녕 😀", "message outside ASCII", Packet{Type: Message, Data: []byte("안녕 😀")}, nil},
	{"4\xff\x00", "bytes that are not UTF-8 pass, another layer looks", Packet{Type: Message, Data: []byte("\xff\x00")}, nil},
	{"5", "upgrade", Packet{Type: Upgrade}, nil},
	{"6", "noop", Packet{Type: Noop}, nil},
	{"b", "empty binary message", Packet{Type: Message, Binary: true}, nil},
	{"bAQIDBA==", "binary, two padding characters", Packet{Type: Message, Binary: true, Data: []byte{1, 2, 3, 4}}, nil},
	{"bAQIDBAU=", "binary, one padding character", Packet{Type: Message, Binary: true, Data: []byte{1, 2, 3, 4, 5}}, nil},
	{"bAQID", "binary, nothing to pad", Packet{Type: Message, Binary: true, Data: []byte{1, 2, 3}}, nil},
	{"bAQIDBA", "binary, not padded, one byte left", Packet{Type: Message, Binary: true, Data: []byte{1, 2, 3, 4}}, nil},
	{"bAQIDBAU", "binary, not padded, two bytes left", Packet{Type: Message, Binary: true, Data: []byte{1, 2, 3, 4, 5}}, nil},
	{"b+/+/", "binary, standard alphabet", Packet{Type: Message, Binary: true, Data: []byte{0xfb, 0xff, 0xbf}}, nil},
	{"b-_-_", "binary, URL alphabet", Packet{Type: Message, Binary: true, Data: []byte{0xfb, 0xff, 0xbf}}, nil},
	{"bAR==", "binary, unused bits set", Packet{Type: Message, Binary: true, Data: []byte{1}}, nil},

	{"", "nothing at all", Packet{}, errPacket},
	{"7", "the type behind the last", Packet{}, errPacket},
	{"/", "the byte ahead of the first type", Packet{}, errPacket},
	{"hello", "no type", Packet{}, errPacket},
	{"\x004", "binary type byte", Packet{}, errPacket},
	{"B", "capital B", Packet{}, errPacket},
	{"b4AQID", "the binary mark of protocol 3", Packet{}, errPacket},
	{"bA", "six bits of base64", Packet{}, errPacket},
	{"b=", "padding alone", Packet{}, errPacket},
	{"b====", "a quantum of padding", Packet{}, errPacket},
	{"bA===", "too much padding", Packet{}, errPacket},
	{"bAQ=", "too little padding", Packet{}, errPacket},
	{"bAQIDBA==AQID", "padding inside", Packet{}, errPacket},
	{"bAQ D", "space in base64", Packet{}, errPacket},
	{"bAQID\r\n", "line end in base64", Packet{}, errPacket},
	{"b!!!!", "not base64", Packet{}, errPacket},
	{"bAQIDA!", "not base64 in the last two", Packet{}, errPacket},
	{"bAQIDAA!", "not base64 in the last three", Packet{}, errPacket},
}

func TestParse(t *testing.T) {
	for _, c := range frames {
		p, err := Parse([]byte(c.raw))
		if !errors.Is(err, c.err) || !equal(p, c.want) {
			t.Errorf("%s: Parse(%q) = %+v, %v; want %+v, %v", c.meaning, c.raw, p, err, c.want, c.err)
		}
	}
}

// Append appends the text form of p to dst and returns it: the type and the data, or 'b' and padded base64 for a
// binary message. On a WebSocket a binary message is the Data alone, in a binary frame.
func Append(dst []byte, p Packet) []byte {
	if p.Binary {
		return base64.StdEncoding.AppendEncode(append(dst, binaryMark), p.Data)
	}
	return append(append(dst, byte(p.Type)), p.Data...)
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		p    Packet
		want string
	}{
		{Packet{Type: Ping}, "2"},
		{Packet{Type: Pong, Data: []byte("probe")}, "3probe"},
		{Packet{Type: Message, Data: []byte(`2["a"]`)}, `42["a"]`},
		{Packet{Type: Message, Binary: true}, "b"},
		{Packet{Type: Message, Binary: true, Data: []byte{0xfb, 0xff, 0xbf, 1}}, "b+/+/AQ=="},
	} {
		if got := string(Append([]byte("kept "), c.p)); got != "kept "+c.want {
			t.Errorf("Append(%+v) = %q, want %q behind what was there", c.p, got, c.want)
		}
	}
}

func TestDataEndsWithItsPacket(t *testing.T) {
	payload := []byte("4one\x1ebAQID\x1e4two")
	p, rest, err := Next(payload)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(p.Data, "overwritten"...)
	p, rest, err = Next(rest)
	if err != nil || !bytes.Equal(p.Data, []byte{1, 2, 3}) {
		t.Fatalf("second packet: %+v, %v", p, err)
	}
	_ = append(p.Data, "overwritten"...)
	if p, _, err = Next(rest); err != nil || string(p.Data) != "two" {
		t.Fatalf("third packet: %+v, %v", p, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range frames {
		f.Add([]byte(c.raw))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		p, err := Parse(bytes.Clone(frame))
		if len(frame) > 0 && frame[0] == binaryMark {
			want, wantErr := decodeWithStandardLibrary(string(frame[1:]))
			if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(p.Data, want) {
				t.Fatalf("Parse(%q) = %x, %v; encoding/base64 says %x, %v", frame, p.Data, err, want, wantErr)
			}
		}
		if err != nil {
			if err != errPacket || !equal(p, Packet{}) {
				t.Fatalf("Parse(%q) = %+v, %v", frame, p, err)
			}
			return
		}
		text := Append(nil, p)
		if !p.Binary && !bytes.Equal(text, frame) {
			t.Fatalf("%q comes back as %q", frame, text)
		}
		again, err := Parse(bytes.Clone(text))
		if err != nil || !equal(again, p) {
			t.Fatalf("%q comes back as %q, read as %+v, %v", frame, text, again, err)
		}
		if twice := Append(nil, again); !bytes.Equal(twice, text) {
			t.Fatalf("%q comes back as %q, then as %q", frame, text, twice)
		}
	})
}

// decodeWithStandardLibrary is the oracle: what encoding/base64 decodes from text in either alphabet, padded or not.
func decodeWithStandardLibrary(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which encoding/base64 skips
		return nil, errPacket
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	if strings.HasSuffix(text, "=") {
		return base64.StdEncoding.DecodeString(text)
	}
	return base64.RawStdEncoding.DecodeString(text)
}

func FuzzAppend(f *testing.F) {
	f.Add(byte('4'), false, []byte(`2["a"]`))
	f.Add(byte('4'), true, []byte{0, 1, 2, 0xff})
	f.Fuzz(func(t *testing.T, kind byte, binary bool, data []byte) {
		p := Packet{Type: Open + Type(kind%7), Binary: binary, Data: data}
		if binary {
			p.Type = Message
		}
		got, err := Parse(Append(nil, p))
		if err != nil || !equal(got, p) {
			t.Fatalf("%+v comes back as %+v, %v", p, got, err)
		}
	})
}

func TestPacketAllocatesNothing(t *testing.T) {
	text := []byte(`42["message","hello"]`)
	coded := Append(nil, Packet{Type: Message, Binary: true, Data: make([]byte, 1000)})
	scratch, dst := make([]byte, len(coded)), make([]byte, 0, 4096)
	allocs := testing.AllocsPerRun(100, func() {
		p, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		dst = Append(dst[:0], p)
		copy(scratch, coded) // Parse decodes in place
		if p, err = Parse(scratch); err != nil {
			t.Fatal(err)
		}
		dst = Append(dst[:0], p)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func equal(a, b Packet) bool {
	return a.Type == b.Type && a.Binary == b.Binary && bytes.Equal(a.Data, b.Data)
}

func equalAll(a, b []Packet) bool { return slices.EqualFunc(a, b, equal) }

func BenchmarkParse(b *testing.B) {
	frame := []byte(`42["message","hello"]`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseBase64(b *testing.B) {
	coded := Append(nil, Packet{Type: Message, Binary: true, Data: make([]byte, 16<<10)})
	frame := make([]byte, len(coded))
	b.ReportAllocs()
	b.SetBytes(int64(len(coded)))
	for b.Loop() {
		copy(frame, coded)
		if _, err := Parse(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	p := Packet{Type: Message, Data: []byte(`2["message","hello"]`)}
	dst := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		dst = Append(dst[:0], p)
	}
}
