package msgpack

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"partyline/wire/sio"
)

// appended returns what Append makes of the data of an event, after its head.
func appended(t *testing.T, text string, attachments ...[]byte) string {
	t.Helper()
	p := sio.Packet{Type: sio.Event, Namespace: []byte("/"), Data: []byte(text)}
	b, err := Append(nil, p, attachments, noLimit)
	if err != nil {
		t.Fatalf("%.100s: %v", text, err)
	}
	rest, ok := bytes.CutPrefix(b, raw(0x83, "\xa4type", 2, "\xa3nsp\xa1/\xa4data"))
	if !ok {
		t.Fatalf("%.100s: the head is %q", text, b)
	}
	return string(rest)
}

func TestAppendedValues(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	list := func(n int) string { return strings.TrimSuffix(strings.Repeat("0,", n), ",") }
	members := func(n int) string {
		var s []byte
		for i := range n {
			s = fmt.Appendf(s, `,"%05d":0`, i)
		}
		return "{" + string(s[1:]) + "}"
	}
	for _, c := range []struct {
		text string
		want []byte
	}{
		{`[]`, raw(0x90)},
		{" [ 1 ,\t{ \"a\" : [ ] } ] \r\n", raw(0x92, 1, 0x81, "\xa1a", 0x90)},
		{`[null,true,false]`, raw(0x93, 0xc0, 0xc3, 0xc2)},
		{`[0,127,128,255,256,65535,65536,4294967295]`,
			raw(0x98, 0, 0x7f, 0xcc, 0x80, 0xcc, 0xff, 0xcd, 1, 0, 0xcd, 0xff, 0xff, 0xce, 0, 1, 0, 0, 0xce, "\xff\xff\xff\xff")},
		{`[4294967296,18446744073709551615]`, raw(0x92, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 0xcf, "\xff\xff\xff\xff\xff\xff\xff\xff")},
		{`[-1,-32,-33,-128,-129,-32768,-32769,-2147483648]`,
			raw(0x98, 0xff, 0xe0, 0xd0, 0xdf, 0xd0, 0x80, 0xd1, 0xff, 0x7f, 0xd1, 0x80, 0, 0xd2, 0xff, 0xff, 0x7f, 0xff, 0xd2, 0x80, 0, 0, 0)},
		{`[-2147483649]`, raw(0x91, 0xd3, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff)},
		{`[0.1,1e2,1e400,-0]`, raw(0x94, 0xcb, 0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a, 0xcb, 0x40, 0x59, 0, 0, 0, 0, 0, 0,
			0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0, 0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0)},
		{`[18446744073709551616]`, raw(0x91, 0xcb, 0x43, 0xf0, 0, 0, 0, 0, 0, 0)},
		{`["",":,[{}]"]`, raw(0x92, 0xa0, "\xa6:,[{}]")},
		{`["\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83d\u0041\udead"]`, raw(0x91, 0xb5, "\"\\/\b\f\n\r\té😀\uFFFDA\uFFFD")},
		{`{"\u0061":"\u0062"}`, raw(0x81, "\xa1a\xa1b")},
		{`["` + long(31) + `"]`, raw(0x91, 0xbf, long(31))},
		{`["` + long(32) + `"]`, raw(0x91, 0xd9, 32, long(32))},
		{`["` + long(256) + `"]`, raw(0x91, 0xda, 1, 0, long(256))},
		{`["` + long(65536) + `"]`, raw(0x91, 0xdb, 0, 1, 0, 0, long(65536))},
		{"[" + list(15) + "]", raw(0x9f, make([]byte, 15))},
		{"[" + list(16) + "]", raw(0xdc, 0, 16, make([]byte, 16))},
		{"[" + list(65536) + "]", raw(0xdd, 0, 1, 0, 0, make([]byte, 65536))},
		{`{"a":1,"a":2}`, raw(0x82, "\xa1a", 1, "\xa1a", 2)},
		{`[{"_placeholder":true,"num":0}]`, raw(0x91, 0x82, "\xac_placeholder", 0xc3, "\xa3num", 0)}, // no attachment
	} {
		if got := appended(t, c.text); got != string(c.want) {
			t.Errorf("%.100s: %x, want %x", c.text, got, c.want)
		}
	}
	for _, n := range []int{16, 65536} {
		if got := appended(t, members(n)); n == 16 && !strings.HasPrefix(got, "\xde\x00\x10\xa500000\x00") ||
			n == 65536 && !strings.HasPrefix(got, "\xdf\x00\x01\x00\x00\xa500000\x00") {
			t.Errorf("%d members begin with %x", n, got[:10])
		}
	}
}

func TestAppendedPlaceholders(t *testing.T) {
	a, b := []byte("a"), []byte("b")
	for _, c := range []struct {
		text string
		want []byte
	}{
		{`[{"_placeholder":true,"num":1},[{"num":0,"_placeholder":true}]]`, raw(0x92, 0xc4, 1, "b", 0x91, 0xc4, 1, "a")},
		{`[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`, raw(0x92, 0xc4, 1, "a", 0xc4, 1, "a")},
		{` [ { "\u005fplaceholder" : true , "n\u0075m" : 1.0e0 } ] `, raw(0x91, 0xc4, 1, "b")},
		{`[{"_placeholder":true,"num":0,"more":[{"_placeholder":true,"num":1},{}]},7]`, raw(0x92, 0xc4, 1, "a", 7)},
		{`[{"_placeholder":false,"_placeholder":true,"num":"x","num":1}]`, raw(0x91, 0xc4, 1, "b")},
		{`[{"_placeholder":true,"_placeholder":false,"num":9}]`, raw(0x91, 0x83, "\xac_placeholder", 0xc3, "\xac_placeholder", 0xc2, "\xa3num", 9)},
		{`[{"_placeholder":"true","num":9}]`, raw(0x91, 0x82, "\xac_placeholder", "\xa4true", "\xa3num", 9)},
		{`["nobody wants them"]`, raw(0x91, 0xb1, "nobody wants them")},
	} {
		if got := appended(t, c.text, a, b); got != string(c.want) {
			t.Errorf("%s: %x, want %x", c.text, got, c.want)
		}
	}
	for _, size := range []int{255, 256, 65536} {
		got := appended(t, `[{"_placeholder":true,"num":0}]`, make([]byte, size))
		head := map[int]string{255: "\x91\xc4\xff", 256: "\x91\xc5\x01\x00", 65536: "\x91\xc6\x00\x01\x00\x00"}[size]
		if got != head+string(make([]byte, size)) {
			t.Errorf("%d bytes begin with %x", size, got[:6])
		}
	}
}

func TestAppendedHeads(t *testing.T) {
	for _, c := range []struct {
		packet string // as a JSON client's
		want   string // in hex
	}{
		{`0/chat,{"sid":"x"}`, "83a474797065" + "00" + "a36e7370" + "a52f63686174" + "a464617461" + "81a3736964a178"},
		{`1/chat,`, "82a474797065" + "01" + "a36e7370" + "a52f63686174"},
		{`3/,12[]`, "84a474797065" + "03" + "a36e7370" + "a12f" + "a26964" + "0c" + "a464617461" + "90"},
		{`61-12[]`, "84a474797065" + "03" + "a36e7370" + "a12f" + "a26964" + "0c" + "a464617461" + "90"},
		{`51-["x"]`, "83a474797065" + "02" + "a36e7370" + "a12f" + "a464617461" + "91a178"},
		{`29007199254740991[]`, "84a474797065" + "02" + "a36e7370" + "a12f" + "a26964" + "cf001fffffffffffff" + "a464617461" + "90"},
		{`4{"message":"no"}`, "83a474797065" + "04" + "a36e7370" + "a12f" + "a464617461" + "81a76d657373616765a26e6f"},
	} {
		p, err := sio.Parse([]byte(c.packet))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Append([]byte("kept"), p, nil, noLimit)
		if err != nil || hex.EncodeToString(bytes.TrimPrefix(got, []byte("kept"))) != c.want {
			t.Errorf("%s: %x, %v; want %s", c.packet, got, err, c.want)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	twice := `[` + strings.Repeat(`{"_placeholder":true,"num":0},`, 1000) + `0]`
	for _, c := range []struct {
		meaning, text string
		attachments   [][]byte
		want          error
	}{
		{"a long text", `["` + strings.Repeat("x", 10_000) + `"]`, nil, ErrTooLarge},
		{"one attachment for many placeholders", twice, [][]byte{make([]byte, 1000)}, ErrTooLarge},
		{"a placeholder out of range", `[{"_placeholder":true,"num":1}]`, [][]byte{nil}, errAttachments},
		{"a placeholder between", `[{"_placeholder":true,"num":0.5}]`, [][]byte{nil}, errAttachments},
		{"a placeholder without a number", `[{"_placeholder":true}]`, [][]byte{nil}, errAttachments},
		{"an end without a beginning", `]`, nil, errNotJSON},
		{"a beginning without an end", `[`, nil, errNotJSON},
	} {
		p := sio.Packet{Type: sio.Event, Namespace: []byte("/"), Data: []byte(c.text)}
		if got, err := Append([]byte("kept"), p, c.attachments, 9000); !errors.Is(err, c.want) || string(got) != "kept" {
			t.Errorf("%s: %.50q, %v; want %v", c.meaning, got, err, c.want)
		}
	}
}

// Many levels and many brackets take linear time, and no stack.
func TestAppendDeep(t *testing.T) {
	deep := strings.Repeat(`[{"a":`, 250_000) + "0" + strings.Repeat("}]", 250_000)
	if got, want := appended(t, deep), strings.Repeat("\x91\x81\xa1a", 250_000)+"\x00"; got != want {
		t.Errorf("it became %.50x", got)
	}
}

func FuzzAppend(f *testing.F) {
	for _, v := range values {
		f.Add([]byte(v.want), []byte(nil))
	}
	for _, text := range []string{
		`{"_placeholder":true,"num":0}`, `[{"_placeholder":true,"num":0,"a":[{}]},1]`, `"\ud83d\ude00\ud800"`, ` [ 1e2 , { "a" : -0 } ] `,
		`]`, `[}`, `{"a"`, `{"_placeholder":true,"num":-1}`, `"\`, `{"a" :`, "",
	} {
		f.Add([]byte(text), []byte("abc"))
	}
	f.Fuzz(func(t *testing.T, value, attachment []byte) {
		text := append(append([]byte(`["x",`), value...), ']')
		p := sio.Packet{Type: sio.Event, Namespace: []byte("/"), Data: text}
		const limit = 100_000
		if b, err := Append(nil, p, [][]byte{attachment}, limit); err == nil && len(b) > limit {
			t.Fatalf("%d bytes", len(b))
		}
		b, err := Append(nil, p, nil, limit)
		if !utf8.Valid(text) || !json.Valid(text) {
			return // any result, without a panic
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		back, attachments, err := Parse(nil, b, 10*limit)
		if err != nil || len(attachments) > 0 {
			t.Fatalf("%s became %q, which is no packet: %v", text, b, err)
		}
		var want, got any
		if json.Unmarshal(text, &want) != nil {
			return // numbers above the largest
		}
		if err := json.Unmarshal(back.Data, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s became %s, %v", text, back.Data, err)
		}
	})
}
