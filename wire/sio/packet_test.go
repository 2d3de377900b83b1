package sio

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// packets are Socket.IO packets as they come over the wire. An empty namespace in want stands for "/".
var packets = []struct {
	raw     string
	meaning string
	want    want
	err     error
}{
	{"0", "connect to /", want{t: Connect}, nil},
	{`0{"token":"x"}`, "connect to / with auth", want{t: Connect, data: `{"token":"x"}`}, nil},
	{"0/admin,", "connect to /admin", want{t: Connect, ns: "/admin"}, nil},
	{"0/admin", "connect, the comma left out", want{t: Connect, ns: "/admin"}, nil},
	{`0/admin,{"a":1}`, "connect to /admin with auth", want{t: Connect, ns: "/admin", data: `{"a":1}`}, nil},
	{"0/admin?token=1,", "a namespace with a query stays as it is", want{t: Connect, ns: "/admin?token=1"}, nil},
	{"0/방,", "a namespace outside ASCII", want{t: Connect, ns: "/방"}, nil},
	{"0/", "connect, / written out", want{t: Connect}, nil},
	{"0/,", "connect, / written out with a comma", want{t: Connect}, nil},
	{"1", "disconnect", want{t: Disconnect}, nil},
	{"1/admin,", "disconnect from /admin", want{t: Disconnect, ns: "/admin"}, nil},
	{`2["a"]`, "event", want{t: Event, data: `["a"]`}, nil},
	{`2["a",1,"2/x,3"]`, "event whose content looks like heads", want{t: Event, data: `["a",1,"2/x,3"]`}, nil},
	{`20["a"]`, "event that wants ack 0", want{t: Event, id: 0, hasID: true, data: `["a"]`}, nil},
	{`213["a"]`, "event that wants ack 13", want{t: Event, id: 13, hasID: true, data: `["a"]`}, nil},
	{`2/chat,456["a"]`, "event in /chat that wants an ack", want{t: Event, ns: "/chat", id: 456, hasID: true, data: `["a"]`}, nil},
	{`2007["a"]`, "zeros ahead of an id", want{t: Event, id: 7, hasID: true, data: `["a"]`}, nil},
	{`29007199254740991["a"]`, "the largest id", want{t: Event, id: MaxID, hasID: true, data: `["a"]`}, nil},
	{"212", "an event without JSON is not the head's affair", want{t: Event, id: 12, hasID: true}, nil},
	{"2", "nor one without anything", want{t: Event}, nil},
	{"2[broken", "nor is broken JSON", want{t: Event, data: "[broken"}, nil},
	{"2\xff", "nor what is not UTF-8", want{t: Event, data: "\xff"}, nil},
	{"2,[]", "a comma without a namespace goes to the JSON", want{t: Event, data: ",[]"}, nil},
	{"2-1[]", "a sign is no part of an id", want{t: Event, data: "-1[]"}, nil},
	{`2 ["a"]`, "white space is no id", want{t: Event, data: ` ["a"]`}, nil},
	{`2/a["b,c"]`, "a namespace ends at the first comma", want{t: Event, ns: `/a["b`, data: `c"]`}, nil},
	{`2//a,["b"]`, "slashes in a namespace", want{t: Event, ns: "//a", data: `["b"]`}, nil},
	{`31["ok"]`, "ack", want{t: Ack, id: 1, hasID: true, data: `["ok"]`}, nil},
	{`3/chat,1[]`, "ack in /chat", want{t: Ack, ns: "/chat", id: 1, hasID: true, data: `[]`}, nil},
	{`4{"message":"no"}`, "connect error", want{t: ConnectError, data: `{"message":"no"}`}, nil},
	{`51-["a",{"_placeholder":true,"num":0}]`, "binary event",
		want{t: BinaryEvent, attachments: 1, data: `["a",{"_placeholder":true,"num":0}]`}, nil},
	{`510-/chat,7["a"]`, "binary event with all there is",
		want{t: BinaryEvent, attachments: 10, ns: "/chat", id: 7, hasID: true, data: `["a"]`}, nil},
	{`501-["a"]`, "a zero ahead of the attachments", want{t: BinaryEvent, attachments: 1, data: `["a"]`}, nil},
	{`62-/chat,7[]`, "binary ack", want{t: BinaryAck, attachments: 2, ns: "/chat", id: 7, hasID: true, data: `[]`}, nil},
	{"51-", "binary event that is all head", want{t: BinaryEvent, attachments: 1}, nil},

	{"", "nothing", want{}, errType},
	{"7[]", "the type behind the last", want{}, errType},
	{"/", "the byte ahead of the first type", want{}, errType},
	{" 2[]", "white space ahead of the type", want{}, errType},
	{"x", "no type", want{}, errType},
	{"5", "binary without attachments", want{}, errAttachments},
	{"5-[]", "binary without a number of attachments", want{}, errAttachments},
	{`5["a"]`, "binary with JSON at once", want{}, errAttachments},
	{"51", "attachments without the dash", want{}, errAttachments},
	{"51[]", "JSON in place of the dash", want{}, errAttachments},
	{"50-[]", "no attachments", want{}, errAttachments},
	{"511-[]", "11 attachments", want{}, errAttachments},
	{"5001-[]", "attachments of three digits", want{}, errAttachments},
	{"5-1-[]", "attachments below zero", want{}, errAttachments},
	{"5 1-[]", "attachments behind a space", want{}, errAttachments},
	{"51e0-[]", "attachments with an exponent", want{}, errAttachments},
	{"51.0-[]", "attachments with a fraction", want{}, errAttachments},
	{"50x1-[]", "attachments in base 16", want{}, errAttachments},
	{"6[]", "binary ack without attachments", want{}, errAttachments},
	{"29007199254740992[]", "the id behind the largest", want{}, errID},
	{"29999999999999999[]", "16 digits", want{}, errID},
	{"210000000000000000[]", "17 digits", want{}, errID},
	{"200000000000000001[]", "17 digits, small number", want{}, errID},
	{"218446744073709551617[]", "an id that wraps around 64 bits", want{}, errID},
	{"2/chat," + strings.Repeat("1", 100_000), "100,000 digits", want{}, errID},
	{"5" + strings.Repeat("1", 100_000) + "-", "100,000 digits of attachments", want{}, errAttachments},
}

// want is a Packet in a form that is easy to write.
type want struct {
	t           Type
	attachments int
	ns          string
	hasID       bool
	id          uint64
	data        string
}

func (w want) packet() Packet {
	p := Packet{Type: w.t, Attachments: w.attachments, Namespace: []byte(w.ns), HasID: w.hasID, ID: w.id}
	if w.t != 0 && w.ns == "" {
		p.Namespace = []byte("/")
	}
	if w.data != "" {
		p.Data = []byte(w.data)
	}
	return p
}

func TestParse(t *testing.T) {
	for _, c := range packets {
		p, err := Parse([]byte(c.raw))
		if !errors.Is(err, c.err) || !equal(p, c.want.packet()) {
			t.Errorf("%s: Parse(%.80q) = %+v, %v; want %+v, %v", c.meaning, c.raw, p, err, c.want, c.err)
		}
		if (p.Data == nil) != (c.want.data == "") {
			t.Errorf("%s: Data is %#v", c.meaning, p.Data)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		p    want
		text string
	}{
		{want{t: Connect, data: `{"sid":"x"}`}, `0{"sid":"x"}`},
		{want{t: Connect, ns: "/admin", data: `{"sid":"x"}`}, `0/admin,{"sid":"x"}`},
		{want{t: Disconnect, ns: "/admin"}, `1/admin,`},
		{want{t: Event, data: `["a"]`}, `2["a"]`},
		{want{t: Event, attachments: 3, data: `["a"]`}, `2["a"]`},
		{want{t: Event, id: 5, data: `["a"]`}, `2["a"]`},
		{want{t: Event, hasID: true, data: `["a"]`}, `20["a"]`},
		{want{t: Ack, ns: "/chat", hasID: true, id: MaxID, data: `[]`}, `3/chat,9007199254740991[]`},
		{want{t: BinaryAck, attachments: 10, ns: "/chat", hasID: true, id: 1, data: `[]`}, `610-/chat,1[]`},
	} {
		p := c.p.packet()
		if got := string(appendPacket([]byte("kept "), p)); got != "kept "+c.text {
			t.Errorf("appendPacket(%+v) = %q, want %q behind what was there", c.p, got, c.text)
		}
		for _, namespace := range []string{c.p.ns, string(p.Namespace)} { // "" and "/" are the same
			head := AppendHead([]byte("kept "), p.Type, p.Attachments, namespace, p.HasID, p.ID)
			if got := string(append(head, p.Data...)); got != "kept "+c.text {
				t.Errorf("AppendHead(%+v) = %q, want %q behind what was there", c.p, got, c.text)
			}
		}
		p.Namespace = []byte(c.p.ns)
		if got := string(appendPacket(nil, p)); got != c.text {
			t.Errorf("appendPacket(%+v) = %q, want %q", c.p, got, c.text)
		}
	}
}

func TestPartsEndWhereTheyEnd(t *testing.T) {
	text := []byte(`2/chat,["a"] behind`)
	p, err := Parse(text[:12])
	if err != nil {
		t.Fatal(err)
	}
	_ = append(p.Namespace, "overwritten"...)
	_ = append(p.Data, "overwritten"...)
	if string(text) != `2/chat,["a"] behind` {
		t.Errorf("an append to a part wrote into the text: %q", text)
	}
	if p, err = Parse([]byte("2[]")); err != nil {
		t.Fatal(err)
	}
	_ = append(p.Namespace, "overwritten"...)
	if p, err = Parse([]byte("2[]")); err != nil || string(p.Namespace) != "/" {
		t.Errorf("namespace %q, error %v", p.Namespace, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range packets {
		if len(c.raw) < 1000 {
			f.Add([]byte(c.raw))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		p, err := Parse(text)
		if !bytes.Equal(text, before) {
			t.Fatalf("Parse changed %q to %q", before, text)
		}
		if err != nil {
			if err != errType && err != errAttachments && err != errID || !equal(p, Packet{}) {
				t.Fatalf("Parse(%q) = %+v, %v", text, p, err)
			}
			return
		}
		if p.Namespace[0] != '/' || bytes.IndexByte(p.Namespace, ',') >= 0 || p.ID > MaxID ||
			isBinary(p.Type) != (p.Attachments > 0) || p.Attachments > MaxAttachments {
			t.Fatalf("Parse(%q) = %+v", text, p)
		}
		if len(p.Data) > 0 && p.Data[0] == '/' {
			return // no JSON; after an omitted namespace it would be read as one
		}
		written := appendPacket(nil, p)
		again, err := Parse(written)
		if err != nil || !equal(again, p) {
			t.Fatalf("%q comes back as %q, read as %+v, %v", text, written, again, err)
		}
		if twice := appendPacket(nil, again); !bytes.Equal(twice, written) {
			t.Fatalf("%q comes back as %q, then as %q", text, written, twice)
		}
	})
}

func FuzzAppend(f *testing.F) {
	f.Add(byte(2), uint8(0), "", false, uint64(0), []byte(`["a"]`))
	f.Add(byte(5), uint8(10), "chat", true, uint64(MaxID), []byte(`["a"]`))
	f.Fuzz(func(t *testing.T, kind byte, attachments uint8, namespace string, hasID bool, id uint64, data []byte) {
		p := Packet{Type: Connect + Type(kind%7), HasID: hasID}
		p.Namespace = []byte("/" + strings.ReplaceAll(namespace, ",", ""))
		if isBinary(p.Type) {
			p.Attachments = 1 + int(attachments)%MaxAttachments
		}
		if hasID {
			p.ID = id % (MaxID + 1)
		}
		if len(data) > 0 {
			p.Data = append([]byte{'['}, data...)
		}
		text := appendPacket(nil, p)
		got, err := Parse(text)
		if err != nil || !equal(got, p) {
			t.Fatalf("%+v comes back as %+v, %v", p, got, err)
		}
	})
}

func TestAllocatesNothing(t *testing.T) {
	namespace := "/" + strings.Repeat("namespace", 20)
	long := []byte("510-" + namespace + `,9007199254740991["a"]`)
	plain := []byte(`2["message","hello"]`)
	digits := []byte("2" + strings.Repeat("1", 100_000))
	dst := make([]byte, 0, 1024)
	allocs := testing.AllocsPerRun(100, func() {
		for _, text := range [][]byte{long, plain} {
			p, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			dst = append(AppendHead(dst[:0], p.Type, p.Attachments, namespace, p.HasID, p.ID), p.Data...)
		}
		dst = AppendHead(dst[:0], BinaryEvent, 1, "/chat", true, 1)
		if _, err := Parse(digits); err != errID {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func equal(a, b Packet) bool {
	return a.Type == b.Type && a.Attachments == b.Attachments && bytes.Equal(a.Namespace, b.Namespace) &&
		a.HasID == b.HasID && a.ID == b.ID && bytes.Equal(a.Data, b.Data) && (a.Data == nil) == (b.Data == nil)
}

func benchmarkParse(b *testing.B, text []byte, want error) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != want {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	b.Run("event", func(b *testing.B) { benchmarkParse(b, []byte(`2["message","hello"]`), nil) })
	b.Run("full", func(b *testing.B) { benchmarkParse(b, []byte(`51-/chat,12["a",{"_placeholder":true,"num":0}]`), nil) })
	b.Run("digits", func(b *testing.B) { benchmarkParse(b, []byte("2"+strings.Repeat("1", 100_000)), errID) })
}

func BenchmarkAppend(b *testing.B) {
	p := Packet{Type: Event, Namespace: []byte("/chat"), HasID: true, ID: 12, Data: []byte(`["message","hello"]`)}
	dst := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		dst = append(AppendHead(dst[:0], p.Type, p.Attachments, "/chat", p.HasID, p.ID), p.Data...)
	}
}

// appendPacket appends a whole packet.
func appendPacket(dst []byte, p Packet) []byte {
	return append(AppendHead(dst, p.Type, p.Attachments, string(p.Namespace), p.HasID, p.ID), p.Data...)
}
