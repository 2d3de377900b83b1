package msgpack

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"partyline/wire/sio"
)

const noLimit = 1 << 20

// raw makes a message from pieces: byte values, strings unchanged, and lists of those.
func raw(parts ...any) []byte {
	var b []byte
	for _, part := range parts {
		switch v := part.(type) {
		case int:
			b = append(b, byte(v))
		case string:
			b = append(b, v...)
		case []byte:
			b = append(b, v...)
		}
	}
	return b
}

// event is an event to / whose data is one array of the name "x" and the value in that form.
func event(value ...any) []byte {
	return raw(0x83, "\xa4type", 2, "\xa3nsp\xa1/", "\xa4data", 0x92, "\xa1x", raw(value...))
}

// values are all forms of values, with what JSON.stringify makes of the result of notepack.io.
var values = []struct {
	meaning string
	form    []byte
	want    string // after ["x", and before ]
}{
	{"nil", raw(0xc0), "null"},
	{"false", raw(0xc2), "false"},
	{"true", raw(0xc3), "true"},
	{"undefined in an array", raw(0xd4, 0, 0), "null"},
	{"undefined with any content", raw(0xd4, 0, 9), "null"},
	{"undefined in an object", raw(0x83, "\xa1a", 1, "\xa1b", 0xd4, 0, 0, "\xa1c", 3), `{"a":1,"c":3}`},
	{"undefined first in an object", raw(0x82, "\xa1b", 0xd4, 0, 0, "\xa1c", 3), `{"c":3}`},
	{"nothing but undefined", raw(0x81, "\xa1b", 0xd4, 0, 0), `{}`},
	{"positive fixint", raw(0x7f), "127"},
	{"negative fixint", raw(0xe0), "-32"},
	{"-1", raw(0xff), "-1"},
	{"uint 8", raw(0xcc, 0xff), "255"},
	{"uint 16", raw(0xcd, 1, 0), "256"},
	{"uint 32", raw(0xce, 0xff, 0xff, 0xff, 0xff), "4294967295"},
	{"uint 64, the last exact in JavaScript", raw(0xcf, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "9007199254740991"},
	{"uint 64, all digits", raw(0xcf, "\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615"},
	{"int 8", raw(0xd0, 0x80), "-128"},
	{"int 16", raw(0xd1, 0x80, 0), "-32768"},
	{"int 32", raw(0xd2, 0x80, 0, 0, 0), "-2147483648"},
	{"int 64", raw(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), "-9223372036854775808"},
	{"float 32", raw(0xca, 0x3d, 0xcc, 0xcc, 0xcd), "0.10000000149011612"},
	{"float 64", raw(0xcb, 0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a), "0.1"},
	{"a whole float", raw(0xcb, 0x40, 0x14, 0, 0, 0, 0, 0, 0), "5"},
	{"-0", raw(0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0), "0"},
	{"1e21", raw(0xcb, 0x44, 0x4b, 0x1a, 0xe4, 0xd6, 0xe2, 0xef, 0x50), "1e+21"},
	{"1e20", raw(0xcb, 0x44, 0x15, 0xaf, 0x1d, 0x78, 0xb5, 0x8c, 0x40), "100000000000000000000"},
	{"5e-324", raw(0xcb, 0, 0, 0, 0, 0, 0, 0, 1), "5e-324"},
	{"1e-7", raw(0xcb, 0x3e, 0x7a, 0xd7, 0xf2, 0x9a, 0xbc, 0xaf, 0x48), "1e-7"},
	{"NaN", raw(0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0), "null"},
	{"Infinity", raw(0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0), "null"},
	{"-Infinity as float 32", raw(0xca, 0xff, 0x80, 0, 0), "null"},
	{"fixstr", raw("\xa3abc"), `"abc"`},
	{"the empty string", raw(0xa0), `""`},
	{"str 8", raw(0xd9, 2, "ab"), `"ab"`},
	{"str 16", raw(0xda, 0, 2, "ab"), `"ab"`},
	{"str 32", raw(0xdb, 0, 0, 0, 2, "ab"), `"ab"`},
	{"what JSON escapes", raw("\xab\"\\/\b\f\n\r\t\x00\x1f\x7f"), `"\"\\/\b\f\n\r\t\u0000\u001f` + "\x7f\""},
	{"other scripts", raw("\xaa\u2028<é😀"), "\"\u2028<é😀\""},
	{"array 16", raw(0xdc, 0, 1, 1), "[1]"},
	{"array 32", raw(0xdd, 0, 0, 0, 1, 1), "[1]"},
	{"map 16", raw(0xde, 0, 1, "\xa1a", 1), `{"a":1}`},
	{"map 32", raw(0xdf, 0, 0, 0, 1, "\xa1a", 1), `{"a":1}`},
	{"nested", raw(0x92, 0x81, "\xa1a", 0x91, 0x90, 0x81, "\xa0", 0x80), `[{"a":[[]]},{"":{}}]`},
	{"a member twice", raw(0x82, "\xa1a", 1, "\xa1a", 2), `{"a":1,"a":2}`},
	{"a prototype", raw(0x81, "\xa9__proto__", 0x80), `{"__proto__":{}}`},
	{"keys that are no strings", raw(0x88, 1, 0, 0xe0, 0, 0xc0, 0, 0xc3, 0, 0xc2, 0, 0xd4, 0, 0, 0, 0xca, 0x7f, 0xc0, 0, 0, 0, 0xca, 0xff, 0x80, 0, 0, 0),
		`{"1":0,"-32":0,"null":0,"true":0,"false":0,"undefined":0,"NaN":0,"-Infinity":0}`},
	{"the first date", raw(0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0), `"1970-01-01T00:00:00.000Z"`},
	{"a date before it", raw(0xd7, 0, "\xff\xff\xff\xff\xff\xff\xff\xff"), `"1969-12-31T23:59:59.999Z"`},
	{"the last date", raw(0xd7, 0, 0x00, 0x1e, 0xb2, 0x08, 0xc2, 0xdc, 0x00, 0x00), `"+275760-09-13T00:00:00.000Z"`},
	{"a date before our time", raw(0xd7, 0, 0xff, 0xff, 0xc7, 0x58, 0x2d, 0x10, 0x94, 0x00), `"-000004-01-01T00:00:00.000Z"`},
	{"a date behind the last", raw(0xd7, 0, 0x00, 0x1e, 0xb2, 0x08, 0xc2, 0xdc, 0x00, 0x01), "null"},
	{"timestamp 32", raw(0xd6, 0xff, 0, 0, 0, 1), `"1970-01-01T00:00:01.000Z"`},
	{"timestamp 64", raw(0xd7, 0xff, 0x77, 0x35, 0x94, 0x00, 0, 0, 0, 1), `"1970-01-01T00:00:01.500Z"`},
	{"timestamp 96", raw(0xc7, 12, 0xff, 0x1d, 0xcd, 0x65, 0x00, "\xff\xff\xff\xff\xff\xff\xff\xff"), `"1969-12-31T23:59:59.500Z"`},
	{"timestamp 96 out of range", raw(0xc7, 12, 0xff, 0, 0, 0, 0, 0x7f, "\xff\xff\xff\xff\xff\xff\xff"), "null"},
}

func TestValues(t *testing.T) {
	for _, v := range values {
		p, attachments, err := Parse(nil, event(v.form), noLimit)
		if want := `["x",` + v.want + `]`; err != nil || string(p.Data) != want || len(attachments) != 0 || p.Type != sio.Event {
			t.Errorf("%s: %s, %q, %v; want %s", v.meaning, p.Data, attachments, err, want)
		}
	}
}

func TestBinaryValues(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for _, v := range []struct {
		meaning     string
		form        []byte
		want        string
		attachments []string
	}{
		{"bin 8", raw(0xc4, 2, "ab"), `{"_placeholder":true,"num":0}`, []string{"ab"}},
		{"bin 16", raw(0xc5, 0, 2, "ab"), `{"_placeholder":true,"num":0}`, []string{"ab"}},
		{"bin 32", raw(0xc6, 0, 1, 0x11, 0x70, long), `{"_placeholder":true,"num":0}`, []string{long}},
		{"none", raw(0xc4, 0), `{"_placeholder":true,"num":0}`, []string{""}},
		{"ArrayBuffer, ext 8", raw(0xc7, 2, 0, "ab"), `{"_placeholder":true,"num":0}`, []string{"ab"}},
		{"ArrayBuffer, ext 16", raw(0xc8, 0, 2, 0, "ab"), `{"_placeholder":true,"num":0}`, []string{"ab"}},
		{"ArrayBuffer, ext 32", raw(0xc9, 0, 0, 0, 2, 0, "ab"), `{"_placeholder":true,"num":0}`, []string{"ab"}},
		{"another extension", raw(0xd5, 0xfe, "ab"), `[-2,{"_placeholder":true,"num":0}]`, []string{"ab"}},
		{"an extension of 16", raw(0xd8, 0, "0123456789abcdef"), `[0,{"_placeholder":true,"num":0}]`, []string{"0123456789abcdef"}},
		{"a timestamp of no length that there is", raw(0xc7, 3, 0xff, "abc"), `[-1,{"_placeholder":true,"num":0}]`, []string{"abc"}},
		{"several", raw(0x82, "\xa1a", 0x91, 0xc4, 1, "a", "\xa1b", 0xc4, 1, "b"),
			`{"a":[{"_placeholder":true,"num":0}],"b":{"_placeholder":true,"num":1}}`, []string{"a", "b"}},
	} {
		p, attachments, err := Parse(nil, event(v.form), noLimit)
		want := `["x",` + v.want + `]`
		if err != nil || string(p.Data) != want || p.Type != sio.BinaryEvent || p.Attachments != len(v.attachments) {
			t.Errorf("%s: %c%d %s, %v; want %s", v.meaning, p.Type, p.Attachments, p.Data, err, want)
		}
		if !equal(attachments, v.attachments) {
			t.Errorf("%s: the attachments are %q", v.meaning, attachments)
		}
	}
}

func equal(got [][]byte, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if string(got[i]) != want[i] {
			return false
		}
	}
	return true
}

// Written by notepack.io 2.2 as the official client makes them.
func TestPacketsOfTheReference(t *testing.T) {
	for _, c := range []struct{ hex, want string }{
		{"83a47479706500a464617461d40000a36e7370a12f", `0`},
		{"85a47479706502a4646174619fa161d7000000000000000000d700ffffffffffffffffd700001eb208c2dc0000d4000082a175d40000a17801" +
			"cb7ff8000000000000cb7ff000000000000000cb3ff8000000000000cf0020000000000000d3ffe0000000000000cf1000000000000000" +
			"c40101c702000102a76f7074696f6e7381a8636f6d7072657373c3a36e7370a52f63686174a2696407",
			`52-/chat,7["a","1970-01-01T00:00:00.000Z","1969-12-31T23:59:59.999Z","+275760-09-13T00:00:00.000Z",null,{"x":1},` +
				`null,null,0,1.5,9007199254740992,-9007199254740992,1152921504606846976,` +
				`{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`},
	} {
		message, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := Parse(nil, message, noLimit)
		if got := append(sio.AppendHead(nil, p.Type, p.Attachments, string(p.Namespace), p.HasID, p.ID), p.Data...); err != nil || string(got) != c.want {
			t.Errorf("%s, %v; want %s", got, err, c.want)
		}
	}
}

func TestPackets(t *testing.T) {
	const typ, nsp, id, data = "\xa4type", "\xa3nsp", "\xa2id", "\xa4data"
	for _, c := range []struct {
		meaning string
		message []byte
		want    string // as a JSON client's packet
	}{
		{"connect", raw(0x82, typ, 0, nsp, "\xa1/"), "0"},
		{"connect with auth", raw(0x83, typ, 0, nsp, "\xa2/a", data, 0x81, "\xa1t", 1), `0/a,{"t":1}`},
		{"connect with binary auth", raw(0x83, typ, 0, nsp, "\xa1/", data, 0x81, "\xa1t", 0xc4, 2, 0, 255), `0{"t":{"type":"Buffer","data":[0,255]}}`},
		{"disconnect", raw(0x83, typ, 1, nsp, "\xa1/", data, 0xd4, 0, 0), "1"},
		{"an id that is undefined", raw(0x84, typ, 2, nsp, "\xa1/", data, 0x90, id, 0xd4, 0, 0), "2[]"},
		{"an id as a float", raw(0x84, typ, 2, nsp, "\xa1/", data, 0x90, id, 0xcb, 0x40, 0x14, 0, 0, 0, 0, 0, 0), "25[]"},
		{"the largest id", raw(0x84, typ, 2, nsp, "\xa1/", data, 0x90, id, 0xcf, 0, 0x1f, "\xff\xff\xff\xff\xff\xff"), "29007199254740991[]"},
		{"a type as a float", raw(0x83, typ, 0xca, 0x40, 0, 0, 0, nsp, "\xa1/", data, 0x90), "2[]"},
		{"an ack", raw(0x84, typ, 3, nsp, "\xa1/", data, 0x91, 1, id, 0), "30[1]"},
		{"a binary ack", raw(0x84, typ, 3, nsp, "\xa1/", data, 0x91, 0xc4, 0, id, 0), `61-0[{"_placeholder":true,"num":0}]`},
		{"a connect error", raw(0x83, typ, 4, nsp, "\xa1/", data, "\xa1a"), `4"a"`},
		{"members of other names", raw(0x86, "\xa1x", 0x81, 1, 2, 7, 0xc4, 1, 0, typ, 2, nsp, "\xa1/", data, 0x90, "\xa0", 0xc0), "2[]"},
		{"members that come twice", raw(0x85, data, "\xa1a", data, 0x90, typ, 9, nsp, "\xa1/", typ, 2), "2[]"},
		{"a map 32", raw(0xdf, 0, 0, 0, 2, typ, 0, nsp, "\xa1/"), "0"},
	} {
		p, _, err := Parse([]byte("kept")[:4:4], c.message, noLimit)
		if got := append(sio.AppendHead(nil, p.Type, p.Attachments, string(p.Namespace), p.HasID, p.ID), p.Data...); err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.meaning, got, err, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	const typ, nsp, id, data = "\xa4type", "\xa3nsp", "\xa2id", "\xa4data"
	head := raw(0x83, typ, 2, nsp, "\xa1/", data)
	withID := func(value ...any) []byte {
		return raw(0x84, typ, 2, nsp, "\xa1/", data, 0x90, id, raw(value...))
	}
	tenDeep := bytes.Repeat([]byte{0x91}, maxDepth)
	for _, c := range []struct {
		meaning string
		message []byte
		want    error
	}{
		{"nothing", nil, errTruncated},
		{"no map", raw(0x90), errPacket},
		{"nil", raw(0xc0), errPacket},
		{"text of a JSON client", raw(`2["x"]`), errPacket},
		{"an empty map", raw(0x80), errType},
		{"a type below", raw(0x82, typ, 0xff, nsp, "\xa1/"), errType},
		{"a type above", raw(0x82, typ, 5, nsp, "\xa1/"), errType},
		{"a type between", raw(0x82, typ, 0xca, 0x3f, 0, 0, 0, nsp, "\xa1/"), errType},
		{"a type that is text", raw(0x82, typ, "\xa10", nsp, "\xa1/"), errType},
		{"an infinite type", raw(0x82, typ, 0xca, 0x7f, 0x80, 0, 0, nsp, "\xa1/"), errType},
		{"no namespace", raw(0x82, typ, 0, data, 0x80), errNamespace},
		{"a namespace that is binary", raw(0x82, typ, 0, nsp, 0xc4, 1, "/"), errNamespace},
		{"a namespace that is not UTF-8", raw(0x82, typ, 0, nsp, "\xa2/\xff"), errNotUTF8},
		{"connect with an array", raw(0x83, typ, 0, nsp, "\xa1/", data, 0x90), errPayload},
		{"connect with nil", raw(0x83, typ, 0, nsp, "\xa1/", data, 0xc0), errPayload},
		{"connect with bytes", raw(0x83, typ, 0, nsp, "\xa1/", data, 0xc4, 0), errPayload},
		{"disconnect with data", raw(0x83, typ, 1, nsp, "\xa1/", data, 0x80), errPayload},
		{"an event without data", raw(0x82, typ, 2, nsp, "\xa1/"), errPayload},
		{"an event whose data is undefined", raw(0x83, typ, 2, nsp, "\xa1/", data, 0xd4, 0, 0), errPayload},
		{"an event that is an object", raw(0x83, typ, 2, nsp, "\xa1/", data, 0x80), errPayload},
		{"an ack without data", raw(0x83, typ, 3, nsp, "\xa1/", id, 1), errPayload},
		{"a connect error without data", raw(0x82, typ, 4, nsp, "\xa1/"), errPayload},
		{"a connect error that is a number", raw(0x83, typ, 4, nsp, "\xa1/", data, 1), errPayload},
		{"a negative id", withID(0xff), errID},
		{"an id that is nil", withID(0xc0), errID},
		{"an id that is text", withID("\xa11"), errID},
		{"an id between", withID(0xca, 0x3f, 0, 0, 0), errID},
		{"an id that is not exact in JavaScript", withID(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0), errID},
		{"an id of 64 bits", withID(0xcf, "\xff\xff\xff\xff\xff\xff\xff\xff"), errID},
		{"bytes behind it", raw(event(1), 0xc0), errTrailing},
		{"one more byte", raw(0x82, typ, 0, nsp, "\xa1/", 0), errTrailing},
		{"the byte that is never used", event(0xc1), errForm},
		{"the byte that is never used, in an ignored member", raw(0x83, typ, 0, nsp, "\xa1/", "\xa1x", 0xc1), errForm},
		{"an array as a key", event(0x81, 0x90, 1), errForm},
		{"bytes as a key", event(0x81, 0xc4, 1, "a", 1), errForm},
		{"a date as a key", event(0x81, 0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), errForm},
		{"a map as a packet's key", raw(0x83, 0x80, 1, typ, 0, nsp, "\xa1/"), errForm},
		{"a string that is not UTF-8", event("\xa1\xff"), errNotUTF8},
		{"half a surrogate pair", event("\xa3\xed\xa0\x80"), errNotUTF8},
		{"a key that is not UTF-8", event(0x81, "\xa1\xff", 1), errNotUTF8},
		{"an immense array", raw(head, 0xdd, 0xff, 0xff, 0xff, 0xff), errTruncated},
		{"an immense map", raw(head, 0xdf, 0xff, 0xff, 0xff, 0xff), errTruncated},
		{"an immense packet", raw(0xdf, 0xff, 0xff, 0xff, 0xff, typ, 0), errTruncated},
		{"an immense string", raw(head, 0xdb, 0xff, 0xff, 0xff, 0xff, "a"), errTruncated},
		{"immense bytes", raw(head, 0xc6, 0xff, 0xff, 0xff, 0xff, "a"), errTruncated},
		{"an immense extension", raw(head, 0xc9, 0xff, 0xff, 0xff, 0xff, 0, "a"), errTruncated},
		{"immense arrays in one another", raw(head, bytes.Repeat(raw(0xdd, 0, 0, 0, 9), 2)), errTruncated},
		{"one level too many", event(tenDeep[1:], 0x90), errDepth},
		{"bytes one level too deep", event(tenDeep[1:], 0xc4, 0), errDepth},
		{"levels without end", event(bytes.Repeat([]byte{0x91}, 500_000), 0xc0), errDepth},
		{"maps without end", event(bytes.Repeat(raw(0x81, 0xa0), 300_000), 0xc0), errDepth},
		{"eleven attachments", event(0x9b, bytes.Repeat(raw(0xc4, 0), 11)), errAttachments},
		{"too large", event(0xc5, 0x80, 0, make([]byte, 0x8000)), ErrTooLarge},
		{"too large as JSON", event(0xdc, 0x50, 0, bytes.Repeat([]byte{0xc0}, 0x5000)), ErrTooLarge},
		{"too large a string", event(0xda, 0x50, 0, make([]byte, 0x5000)), ErrTooLarge},
	} {
		limit := noLimit
		if c.want == ErrTooLarge {
			limit = 0x8000
		}
		if p, _, err := Parse(nil, c.message, limit); !errors.Is(err, c.want) {
			t.Errorf("%s: %.100q, %v; want %v", c.meaning, p.Data, err, c.want)
		}
	}
	if _, _, err := Parse(nil, event(tenDeep[2:], 0x90), noLimit); err != nil {
		t.Errorf("as deep as may be: %v", err)
	}
	if _, _, err := Parse(nil, event(0x9a, bytes.Repeat(raw(0xc4, 0), 10)), noLimit); err != nil {
		t.Errorf("ten attachments: %v", err)
	}
}

// No prefix of a packet is a packet.
func TestTruncated(t *testing.T) {
	for _, v := range values {
		whole := event(v.form)
		for n := range len(whole) {
			if _, _, err := Parse(nil, whole[:n], noLimit); err == nil {
				t.Errorf("%s: the first %d of %d bytes are a packet", v.meaning, n, len(whole))
			}
		}
	}
}

func TestAllocParse(t *testing.T) {
	message := event(0x82, "\xa1a", 0x93, 1, 0xcb, 0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a, 0xc0, "\xa1b", "\xa3abc")
	scratch := make([]byte, 0, 200)
	if allocs := testing.AllocsPerRun(100, func() { _, _, _ = Parse(scratch, message, noLimit) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range values {
		f.Add(event(v.form))
	}
	f.Add(event(0xc7, 2, 0, "ab"))
	f.Add(event(0x81, "\xacplaceholder", 0xc4, 1, "a"))
	f.Add(raw(0x83, "\xa4type", 0, "\xa3nsp\xa1/", "\xa4data", 0x81, "\xa1a", 0xc4, 1, 7))
	f.Add(raw(0x84, "\xa4type", 3, "\xa3nsp\xa1/", "\xa4data", 0x90, "\xa2id", 7))
	f.Fuzz(func(t *testing.T, message []byte) {
		const limit = 5000
		p, attachments, err := Parse(nil, message, limit)
		if err != nil {
			return
		}
		size := len(p.Data)
		for _, a := range attachments {
			size += len(a)
		}
		if size > limit || len(attachments) != p.Attachments || len(attachments) > sio.MaxAttachments {
			t.Fatalf("%d bytes, %d attachments", size, len(attachments))
		}
		if p.Data != nil && !json.Valid(p.Data) {
			t.Fatalf("not JSON: %q", p.Data)
		}
		// What Append makes of it is equal, unless the client has written placeholders itself.
		back, err := Append(nil, p, attachments, noLimit)
		if bytes.Count(p.Data, []byte("laceholder")) > len(attachments) {
			return
		}
		if err != nil {
			t.Fatalf("%s does not go back: %v", p.Data, err)
		}
		again, same, err := Parse(nil, back, limit)
		if err != nil || !bytes.Equal(again.Data, p.Data) || again.Type != p.Type || again.ID != p.ID || again.HasID != p.HasID ||
			!bytes.Equal(again.Namespace, p.Namespace) || len(same) != len(attachments) {
			t.Fatalf("%c%s became %c%s, %v", p.Type, p.Data, again.Type, again.Data, err)
		}
		for i := range same {
			if !bytes.Equal(same[i], attachments[i]) {
				t.Fatalf("attachment %d became %q", i, same[i])
			}
		}
	})
}
