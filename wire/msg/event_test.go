package msg

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"partyline/wire/jsontext"
)

var eventNames = []struct {
	body, name string
	err        error
}{
	{`["message","hello"]`, "message", nil},
	{`["message"]`, "message", nil},
	{" \t\r\n[ \"message\" ,1 ] \n", "message", nil},
	{`[""]`, "", nil},
	{`["order.123",{"a":[1,2]}]`, "order.123", nil},
	{`["메시지"]`, "메시지", nil},
	{`["\uba54\uC2dc지"]`, "메시지", nil},
	{`["🎉"]`, "🎉", nil},
	{`["\ud83c\udf89!"]`, "🎉!", nil},
	{`["\"\\\/\b\f\n\r\t\u0000"]`, "\"\\/\b\f\n\r\t\x00", nil},
	{`["\ufffd"]`, "\ufffd", nil},
	{`["\\ud800"]`, `\ud800`, nil},
	{`["a]\",b"]`, `a]",b`, nil},
	{`[1]`, "1", nil},
	{`[-1.50e+3,"x"]`, "-1.50e+3", nil},
	{`[1e999]`, "1e999", nil},
	{`[0 ]`, "0", nil},
	{`["Connect"]`, "Connect", nil},
	{`["error"]`, "error", nil},

	{`["connect"]`, "", errReserved},
	{`["connect_error"]`, "", errReserved},
	{`["disconnect","x"]`, "", errReserved},
	{`["disconnecting"]`, "", errReserved},
	{`["newListener"]`, "", errReserved},
	{`["removeListener"]`, "", errReserved},
	{`["\u0063onnect"]`, "", errReserved},
	{`["discon\u006Eect"]`, "", errReserved},

	{`["\ud800"]`, "", errLoneSurrogate},
	{`["\udc00"]`, "", errLoneSurrogate},
	{`["\ud800x\udc00"]`, "", errLoneSurrogate},
	{`["\ud800\ud800"]`, "", errLoneSurrogate},
	{`["\ud800\ufffd"]`, "", errLoneSurrogate},
	{`["\ud800\n23456"]`, "", errLoneSurrogate},
	{`["\udf89\ud83c"]`, "", errLoneSurrogate},
	{`["a\ud83c\udf89\ud83c"]`, "", errLoneSurrogate},
	{`["a","\ud800"]`, "a", nil}, // arguments pass through unchanged

	{`[]`, "", errNoName},
	{`[null]`, "", errNoName},
	{`[true,"message"]`, "", errNoName},
	{`[["message"]]`, "", errNoName},
	{`[{"a":1}]`, "", errNoName},

	{`{}`, "", ErrNotArray},
	{`"message"`, "", ErrNotArray},
	{`null`, "", ErrNotArray},
	{`{"stream":"S","seq":1}`, "", ErrNotArray},

	{``, "", ErrNotJSON},
	{`  `, "", ErrNotJSON},
	{`[`, "", ErrNotJSON},
	{`["message"`, "", ErrNotJSON},
	{`["message",]`, "", ErrNotJSON},
	{`["message"]x`, "", ErrNotJSON},
	{`["message"][]`, "", ErrNotJSON},
	{"\ufeff[\"message\"]", "", ErrNotJSON},
	{"[\"message\"]\u00a0", "", ErrNotJSON},
	{`["\u12"]`, "", ErrNotJSON},
	{`["\x"]`, "", ErrNotJSON},
	{"[\"a\nb\"]", "", ErrNotJSON},
	{`[01]`, "", ErrNotJSON},
	{`['message']`, "", ErrNotJSON},
	{strings.Repeat("[", 100_000), "", ErrNotJSON},

	{"[\"\xff\"]", "", errNotUTF8},
	{"[\"message\",\"\xed\xa0\x80\"]", "", errNotUTF8},
	{"\xff", "", errNotUTF8},
}

func TestEventName(t *testing.T) {
	for _, c := range eventNames {
		name, err := EventName([]byte("dst "), []byte(c.body))
		if !errors.Is(err, c.err) || string(name) != "dst "+c.name {
			t.Errorf("EventName(%.60q) = %q, %v; want %q, %v", c.body, name, err, c.name, c.err)
		}
	}
}

func TestFirstArgument(t *testing.T) {
	for body, want := range map[string]string{
		`["join","room"]`:                     "room",
		` [ "join" , "\u0061\ud83c\udf89" ] `: "a🎉",
		`["join","", 1]`:                      "",
		`[1,"room"]`:                          "room",
		`["]\"[,",":{"]`:                      ":{",
	} {
		if arg, ok := FirstArgument([]byte("dst "), []byte(body)); !ok || string(arg) != "dst "+want {
			t.Errorf("FirstArgument(%q) = %q, %v", body, arg, ok)
		}
	}
	for _, body := range []string{`["join"]`, `["join",1,"a"]`, `["join",null]`, `["join",["room"]]`, `["join",{"a":"b"},"c"]`,
		`["join","\ud800"]`} {
		if arg, ok := FirstArgument([]byte("dst "), []byte(body)); ok || string(arg) != "dst " {
			t.Errorf("FirstArgument(%q) = %q, %v", body, arg, ok)
		}
	}
	for _, body := range []string{``, `[`, `["join`, `["join","`, `["join","\`, `["a""\u1"`, `["a""\ud800\u"`} {
		FirstArgument(nil, []byte(body)) // no JSON: the result is arbitrary, but there is no panic
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		check func([]byte) error
		body  string
		want  error
	}{
		{CheckArray, `[]`, nil},
		{CheckArray, ` [1,null,{"a":[]}] `, nil},
		{CheckArray, `{"stream":"EVENTS","seq":4}`, ErrNotArray},
		{CheckArray, `1`, ErrNotArray},
		{CheckArray, ``, ErrNotJSON},
		{CheckArray, `+ACK`, ErrNotJSON},
		{CheckArray, "[\"\xc0\"]", errNotUTF8},
		{CheckObject, `{}`, nil},
		{CheckObject, ` {"token":"x"}`, nil},
		{CheckObject, `[]`, errNotObject},
		{CheckObject, `null`, errNotObject},
		{CheckObject, `"token"`, errNotObject},
		{CheckObject, ``, ErrNotJSON},
		{CheckObject, `{"a":1}}`, ErrNotJSON},
		{CheckObject, "{\"\xff\":1}", errNotUTF8},
	} {
		if err := c.check([]byte(c.body)); err != c.want {
			t.Errorf("%q: %v, want %v", c.body, err, c.want)
		}
	}
}

func TestAppendString(t *testing.T) {
	for s, want := range map[string]string{
		"":                        `""`,
		"room is full":            `"room is full"`,
		"\"\\/\b\f\n\r\t\x00\x1f": `"\"\\/\b\f\n\r\t\u0000\u001f"`,
		"메시지 🎉 \u2028\x7f<>&":     "\"메시지 🎉 \u2028\x7f<>&\"",
		"a\xffb":                  "\"a\ufffdb\"",
	} {
		if got := AppendString([]byte("x"), s); string(got) != "x"+want {
			t.Errorf("AppendString(%q) = %s, want %s", s, got, want)
		}
	}
}

func FuzzEventName(f *testing.F) {
	for _, c := range eventNames {
		f.Add([]byte(c.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		name, err := EventName(nil, body)
		FirstArgument(nil, body)
		if !bytes.Equal(body, before) {
			t.Fatal("body was changed")
		}
		var elements []json.RawMessage
		wellFormed := utf8.Valid(body) && json.Unmarshal(body, &elements) == nil && elements != nil
		if !wellFormed || len(elements) == 0 {
			if err == nil {
				t.Fatalf("%q has the name %q", body, name)
			}
			return
		}
		var want string
		switch first := elements[0]; {
		case first[0] == '"':
			if err := json.Unmarshal(first, &want); err != nil {
				t.Fatal(err)
			}
			if errors.Is(err, errLoneSurrogate) && strings.ContainsRune(want, utf8.RuneError) {
				return
			}
			if IsReserved([]byte(want)) {
				if err != errReserved {
					t.Fatalf("%q: %v, want errReserved", body, err)
				}
				return
			}
		case jsontext.IsNumber(first):
			want = string(first)
		default:
			if err != errNoName {
				t.Fatalf("%q: %v, want errNoName", body, err)
			}
			return
		}
		if err != nil || string(name) != want {
			t.Errorf("%q: got %q, %v; want %q", body, name, err, want)
		}
		checkFirstArgument(t, body, elements)
	})
}

func checkFirstArgument(t *testing.T, body []byte, elements []json.RawMessage) {
	arg, ok := FirstArgument(nil, body)
	var want string
	isText := len(elements) > 1 && elements[1][0] == '"' && json.Unmarshal(elements[1], &want) == nil
	if ok && (!isText || string(arg) != want) || !ok && isText && !strings.ContainsRune(want, utf8.RuneError) {
		t.Errorf("first argument of %q: %q, %v", body, arg, ok)
	}
}

// FuzzStrings checks that EventName returns every string that AppendString wrote, also with every character escaped.
func FuzzStrings(f *testing.F) {
	for _, s := range []string{"", "message", "메시지 🎉", "\"\\/\x00\x1f\x7f\u2028", "\xff", "connect"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := strings.ToValidUTF8(s, "\ufffd")
		if utf8.ValidString(s) {
			want = s
		}
		var escaped strings.Builder
		for _, unit := range utf16.Encode([]rune(want)) {
			escaped.WriteString(`\u`)
			for shift := 12; shift >= 0; shift -= 4 {
				escaped.WriteByte("0123456789aBcDeF"[unit>>shift&15])
			}
		}
		for _, quoted := range []string{string(AppendString(nil, s)), `"` + escaped.String() + `"`} {
			name, err := EventName(nil, []byte("["+quoted+"]"))
			if IsReserved([]byte(want)) && err == errReserved {
				continue
			}
			if err != nil || string(name) != want {
				t.Errorf("%q → %s → %q, %v", s, quoted, name, err)
			}
		}
	})
}

func TestNoAlloc(t *testing.T) {
	if raceEnabled {
		t.Skip("encoding/json allocates under the race detector")
	}
	dst, parts := make([]byte, 0, 256), make([][]byte, 0, MaxAttachments)
	for _, c := range []struct {
		what string
		f    func(body []byte)
		body string
	}{
		{"EventName", func(b []byte) { dst, _ = EventName(dst[:0], b) }, `["message",{"text":"hello","n":[1,2,3]}]`},
		{"EventName escaped", func(b []byte) { dst, _ = EventName(dst[:0], b) }, `["\uba54\ud83c\udf89"]`},
		{"EventName number", func(b []byte) { dst, _ = EventName(dst[:0], b) }, `[17,"x"]`},
		{"EventName of nothing", func(b []byte) { dst, _ = EventName(dst[:0], b) }, `[null]`},
		{"FirstArgument", func(b []byte) { dst, _ = FirstArgument(dst[:0], b) }, `["join","room"]`},
		{"CheckArray", func(b []byte) { _ = CheckArray(b) }, `[{"ok":true}]`},
		{"CheckObject", func(b []byte) { _ = CheckObject(b) }, `{"token":"x"}`},
		{"CheckPlaceholders", func(b []byte) { _ = CheckPlaceholders(b, 2) },
			`["file",{"_placeholder":true,"num":0},{"num":1,"_placeholder":true}]`},
		{"SplitAttachments", func(b []byte) { _, parts, _ = SplitAttachments(parts[:0], "3,2", b) }, `["x"]aaabb`},
		{"AppendString", func(b []byte) { dst = AppendString(dst[:0], "room is \"full\"\n") }, ``},
	} {
		body := []byte(c.body)
		if n := testing.AllocsPerRun(100, func() { c.f(body) }); n != 0 {
			t.Errorf("%s allocates %v times", c.what, n)
		}
	}
	parts = [][]byte{make([]byte, 3), make([]byte, 2)}
	if n := testing.AllocsPerRun(100, func() { _, _ = PackAttachments(dst[:10], parts) }); n > 2 {
		t.Errorf("PackAttachments allocates %v times: more than the body and the header", n)
	}
}

func BenchmarkEventName(b *testing.B) {
	dst := make([]byte, 0, 64)
	for name, body := range map[string][]byte{
		"30B":  []byte(`["message","how do you do?!!"]`),
		"10kB": []byte(`["message","` + strings.Repeat("text of a message ", 555) + `"]`),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = EventName(dst[:0], body)
			}
		})
	}
}
