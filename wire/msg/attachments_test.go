package msg

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestSplitAttachments(t *testing.T) {
	for _, c := range []struct {
		header, body, text string
		attachments        []string
	}{
		{"", `["a"]`, `["a"]`, nil},
		{"3", `["a"]xyz`, `["a"]`, []string{"xyz"}},
		{"3,2", `["a"]xyzuv`, `["a"]`, []string{"xyz", "uv"}},
		{"0", `["a"]`, `["a"]`, []string{""}},
		{"0,1,0", `["a"]x`, `["a"]`, []string{"", "x", ""}},
		{"1,1,1,1,1,1,1,1,1,1", `["a"]0123456789`, `["a"]`, strings.Split("0123456789", "")},
		{"10", `["a"]0123456789`, `["a"]`, []string{"0123456789"}},
		{"4", `not json`, `not `, []string{"json"}},
	} {
		text, attachments, err := SplitAttachments([][]byte{[]byte("dst")}, c.header, []byte(c.body))
		got := ""
		for _, a := range attachments {
			got += "|" + string(a)
		}
		want := strings.Join(append([]string{"|dst"}, c.attachments...), "|")
		if err != nil || string(text) != c.text || got != want {
			t.Errorf("SplitAttachments(%q, %q) = %q, %q, %v", c.header, c.body, text, got, err)
		}
	}
	for _, header := range []string{"5", "6", "2,3", "0,5", "1,1,1,1,1,1,1,1,1,1,1", "0,0,0,0,0,0,0,0,0,0,0", "-1", "+1", "01", "00",
		" 1", "1 ", "1, 1", "1,,1", ",", ",1", "1,", "1;1", "1.0", "1e0", "0x1", "a", "١", "9223372036854775807",
		"18446744073709551616", "9223372036854775807,9223372036854775807,3", strings.Repeat("9", 1000), "1\n"} {
		text, attachments, err := SplitAttachments([][]byte{nil}, header, []byte("12345"))
		if !errors.Is(err, errAttachments) || text != nil || len(attachments) != 1 {
			t.Errorf("SplitAttachments(%q) = %q, %q, %v", header, text, attachments, err)
		}
	}
	if _, _, err := SplitAttachments(nil, "", nil); !errors.Is(err, errAttachments) {
		t.Errorf("empty body: %v", err)
	}
}

// TestSplitAttachmentsCapacity checks that an append to a part does not write into the next one.
func TestSplitAttachmentsCapacity(t *testing.T) {
	body := []byte(`["a"]xyzuv`)
	text, attachments, _ := SplitAttachments(nil, "3,2", body)
	_, _ = append(text, '!'), append(attachments[0], '!')
	if string(body) != `["a"]xyzuv` {
		t.Errorf("body is now %q", body)
	}
}

func FuzzAttachments(f *testing.F) {
	f.Add(`["a"]`, []byte("xyz"), []byte{}, uint8(2), "3,2")
	f.Add(`[]`, []byte{}, []byte("b"), uint8(10), "1,1,1,1,1,1,1,1,1,1,1")
	f.Add(`x`, []byte{}, []byte{}, uint8(0), "")
	f.Add(``, []byte{}, []byte{}, uint8(1), "00")
	f.Fuzz(func(t *testing.T, text string, a, b []byte, count uint8, header string) {
		var want [][]byte
		for i := range int(count % (MaxAttachments + 1)) {
			want = append(want, [][]byte{a, b}[i%2])
		}
		body, made := PackAttachments([]byte(text), want)
		gotText, got, err := SplitAttachments(nil, made, body)
		if text == "" {
			if err == nil {
				t.Errorf("no text, no error: %q", body)
			}
		} else if err != nil || string(gotText) != text || !equalParts(got, want) {
			t.Errorf("%q of %q: %q, %q, %v", made, body, gotText, got, err)
		}

		gotText, got, err = SplitAttachments(nil, header, body) // any header
		if err != nil {
			return
		}
		if joined, again := PackAttachments(gotText, got); again != header || !bytes.Equal(joined, body) {
			t.Errorf("%q of %q: %q, %q", header, body, gotText, got)
		}
	})
}

func equalParts(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// With two attachments.
var placeholders = []struct {
	text string
	good bool
}{
	{`["file"]`, true},
	{`["file",{"_placeholder":true,"num":0}]`, true},
	{`["file",{"_placeholder":true,"num":1}]`, true},
	{`["file",{"num":1,"_placeholder":true}]`, true},
	{`["file", { "_placeholder" : true , "num" : 1 } ]`, true},
	{`["file",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`, true},
	{`["file",{"_placeholder":true,"num":1.0}]`, true},
	{`["file",{"_placeholder":true,"num":10e-1}]`, true},
	{`["file",{"_placeholder":true,"num":-0}]`, true},
	{`["file",{"_placeholder":false,"num":9}]`, true},
	{`["file",{"_placeholder":1,"num":9}]`, true},
	{`["file",{"_placeholder":"true","num":9}]`, true},
	{`["file",{"_placeholder":null}]`, true},
	{`["file",{"placeholder":true,"num":9}]`, true},
	{`["file",{"_Placeholder":true,"num":9}]`, true},
	{`["file",{"a":"_placeholder","b":true,"num":9}]`, true},
	{`["file",{"a":"{\"_placeholder\":true}"}]`, true},
	{`["file",{"_placeholder":[true],"num":9}]`, true},
	{`["file",{"_placeholder":{"x":true},"num":9}]`, true},
	{`["_placeholder",true,"num",9]`, true},
	{`["file",{"_placeholder":true,"num":9,"num":1}]`, true},              // the last one counts
	{`["file",{"_placeholder":true,"num":9,"_placeholder":false}]`, true}, // here too
	{`["file",{"a":{"num":5},"_placeholder":true,"num":0}]`, true},

	{`["file",{"_placeholder":true}]`, false},
	{`["file",{"_placeholder":true,"num":2}]`, false},
	{`["file",{"_placeholder":true,"num":-1}]`, false},
	{`["file",{"_placeholder":true,"num":0.5}]`, false},
	{`["file",{"_placeholder":true,"num":"0"}]`, false},
	{`["file",{"_placeholder":true,"num":null}]`, false},
	{`["file",{"_placeholder":true,"num":true}]`, false},
	{`["file",{"_placeholder":true,"num":[0]}]`, false},
	{`["file",{"_placeholder":true,"num":1e999}]`, false},
	{`["file",{"_placeholder":true,"num":18446744073709551616}]`, false},
	{`["file",{"_placeholder":true,"num":1,"num":9}]`, false},
	{`["file",{"_placeholder":false,"num":9,"_placeholder":true}]`, false},
	{`["file",{"num":9,"_placeholder":true}]`, false},
	{`["file",{"_placeholder":true,"a":{"num":0}}]`, false},
	{`["file",{"\u005fplaceholder":true,"num":9}]`, false},
	{`["file",{"_\u0070laceholder":true,"n\u0075m":9}]`, false},
	{`["file",{"_\u0070laceholder":true,"\u006E\u0075\u006d":9}]`, false},
	{`["file",{"a":[{"b":[[{"_placeholder":true,"num":3}]]}]}]`, false},
	{`[{"_placeholder":true,"num":0},{"_placeholder":true,"num":3}]`, false},
	{`["file",{"":0,"_placeholder":true,"num":3}]`, false},
	{`["file",{"\ud800":0,"_placeholder":true,"num":3}]`, false},
	{`{"_placeholder":true,"num":3}`, false},
}

func TestCheckPlaceholders(t *testing.T) {
	for _, c := range placeholders {
		if err := CheckPlaceholders([]byte(c.text), 2); (err == nil) != c.good || err != nil && !errors.Is(err, errAttachments) {
			t.Errorf("CheckPlaceholders(%s): %v", c.text, err)
		}
	}
	if err := CheckPlaceholders([]byte(`[1,{"_placeholder":true,"num":0}]`), 0); err == nil {
		t.Error("a placeholder without attachments")
	}
}

func TestCheckPlaceholdersDeep(t *testing.T) {
	const levels = 9_990
	for core, good := range map[string]bool{`{"_placeholder":true,"num":1}`: true, `{"_placeholder":true,"num":2}`: false} {
		text := []byte(strings.Repeat(`[{"a":`, levels/2) + core + strings.Repeat(`}]`, levels/2))
		if !json.Valid(text) {
			t.Fatal("test text is not JSON")
		}
		if err := CheckPlaceholders(text, 2); (err == nil) != good {
			t.Errorf("%s at depth %d: %v", core, levels, err)
		}
	}
	// On this text a quadratic algorithm takes minutes.
	start := time.Now()
	for _, text := range []string{strings.Repeat(`[`, 1<<20), strings.Repeat(`{"":`, 1<<18), strings.Repeat(`"`, 1<<20),
		`[` + strings.Repeat(`"\"",`, 1<<18) + `1]`, `{"` + strings.Repeat(`\u0061`, 1<<17) + `":1}`} {
		_ = CheckPlaceholders([]byte(text), 2)
		_, _ = EventName(nil, []byte(text))
		_, _ = FirstArgument(nil, []byte(text))
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func FuzzCheckPlaceholders(f *testing.F) {
	for _, c := range placeholders {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := CheckPlaceholders(text, 2)
		var value any
		if json.Unmarshal(text, &value) == nil && (err == nil) != placeholdersHold(value) {
			t.Errorf("CheckPlaceholders(%q): %v", text, err)
		}
	})
}

// placeholdersHold is CheckPlaceholders on decoded JSON. Of several members with the same name, a map of encoding/json
// keeps the last.
func placeholdersHold(value any) bool {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			if !placeholdersHold(element) {
				return false
			}
		}
	case map[string]any:
		if v["_placeholder"] == true {
			if n, ok := v["num"].(float64); !ok || n < 0 || n >= 2 || n != math.Trunc(n) {
				return false
			}
		}
		for _, member := range v {
			if !placeholdersHold(member) {
				return false
			}
		}
	}
	return true
}

func BenchmarkCheckPlaceholders(b *testing.B) {
	text := []byte(`["file",{"name":"picture.png","tags":["a","b"],"data":{"_placeholder":true,"num":0}}]`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		_ = CheckPlaceholders(text, 1)
	}
}

func BenchmarkSplitAttachments(b *testing.B) {
	body, parts := []byte(`["file"]xyzuv`), make([][]byte, 0, MaxAttachments)
	b.ReportAllocs()
	for b.Loop() {
		_, parts, _ = SplitAttachments(parts[:0], "3,2", body)
	}
}
