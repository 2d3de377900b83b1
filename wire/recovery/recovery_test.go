package recovery

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const testEpoch = "0k3z9"

func TestOffset(t *testing.T) {
	for want, o := range map[string]Offset{
		"0k3z9:0":             {testEpoch, 0},
		"0k3z9:z":             {testEpoch, 35},
		"0k3z9:10":            {testEpoch, 36},
		"00000:3w5e11264sgsf": {"00000", math.MaxUint64},
	} {
		if got := string(o.Append([]byte("x "))); got != "x "+want {
			t.Errorf("%+v is %q, want %q", o, got, want)
		}
		if back, ok := ParseOffset(want); !ok || back != o {
			t.Errorf("ParseOffset(%q) = %+v, %v", want, back, ok)
		}
	}
	for _, s := range []string{
		"", ":", "0k3z9", "0k3z9:", "0k3z9:01", "0k3z9:00", "0k3z9:+1", "0k3z9:-1", "0k3z9:A", "0k3z9:1_0", "0k3z9: 1", "0k3z9:1 ",
		"0k3z9:1:1", "0k3z:1", "0k3z99:1", "0K3z9:1", "0k3z.:1", "0k3z9:3w5e11264sgsg", "0k3z9:" + strings.Repeat("z", 400), "hello", "é123:1",
	} {
		if o, ok := ParseOffset(s); ok || o != (Offset{}) {
			t.Errorf("ParseOffset(%q) = %+v, %v", s, o, ok)
		}
	}
}

func FuzzParseOffset(f *testing.F) {
	f.Add("0k3z9:10")
	f.Add("0k3z9:3w5e11264sgsf")
	f.Add("0k3z9:A")
	f.Fuzz(func(t *testing.T, s string) {
		if o, ok := ParseOffset(s); ok && string(o.Append(nil)) != s {
			t.Errorf("ParseOffset(%q) = %+v", s, o)
		}
	})
}

// Logs that are made one right after the other have different epochs, and one log always has the same.
func TestEpoch(t *testing.T) {
	first := time.UnixMicro(1767225600000000)
	seen := map[string]bool{}
	for _, created := range []time.Time{{}, time.Unix(0, 0), first, first.Add(time.Microsecond), first.Add(time.Millisecond),
		first.Add(time.Second), first.Add(59 * time.Second), time.Unix(-1, 0)} {
		epoch := Epoch(created)
		if !isEpoch(epoch) || seen[epoch] || epoch != Epoch(created.UTC()) || epoch != Epoch(created.Add(999)) {
			t.Errorf("the epoch of %v is %q", created, epoch)
		}
		seen[epoch] = true
	}
	if got := Epoch(first); got != "dts00" {
		t.Errorf("the epoch is %q: stored offsets would be void", got)
	}
}

func TestAppendOffset(t *testing.T) {
	o := Offset{testEpoch, 36}
	for event, want := range map[string]string{
		`["x"]`:                `["x","0k3z9:10"]`,
		`[7]`:                  `[7,"0k3z9:10"]`,
		`["x",1,{"a":[]}]`:     `["x",1,{"a":[]},"0k3z9:10"]`,
		`["x","]"]`:            `["x","]","0k3z9:10"]`,
		" [ \"x\" , [ ] ] \n":  ` [ "x" , [ ],"0k3z9:10"]`,
		"[\"x\",\"\\\"\"\t]\r": `["x","\"","0k3z9:10"]`,
	} {
		got := AppendOffset([]byte("2"), []byte(event), o)
		if string(got) != "2"+want || !json.Valid(got[1:]) {
			t.Errorf("AppendOffset(%s) = %s, want 2%s", event, got, want)
		}
	}
}

// The official client takes the last element for its offset if it is a string, also if it is the name.
func TestEndsWithString(t *testing.T) {
	for event, want := range map[string]bool{
		`["x"]`: true, `["x","y"]`: true, " [\"x\",\"y\" ] ": true, `["x",1,""]`: true, `["x","\\"]`: true,
		`[1]`: false, `["x",1]`: false, `["x",["y"]]`: false, `["x",{"y":"z"}]`: false, `["x",null]`: false, `["x",["y"] ]`: false,
	} {
		if got := EndsWithString([]byte(event)); got != want {
			t.Errorf("EndsWithString(%s) = %v", event, got)
		}
	}
}

func FuzzAppendOffset(f *testing.F) {
	for _, event := range []string{`["x"]`, ` [ "x" , [ ] ] `, `["x","y"]`, `["x",{"_placeholder":true,"num":0}]`, `[1,"\""]`} {
		f.Add(event, uint64(36))
	}
	f.Fuzz(func(t *testing.T, event string, seq uint64) {
		var before, after []json.RawMessage
		if json.Unmarshal([]byte(event), &before) != nil || len(before) == 0 {
			return
		}
		var last any
		_ = json.Unmarshal(before[len(before)-1], &last)
		if _, isString := last.(string); EndsWithString([]byte(event)) != isString {
			t.Errorf("EndsWithString(%s) = %v", event, !isString)
		}
		got := AppendOffset(nil, []byte(event), Offset{testEpoch, seq})
		if err := json.Unmarshal(got, &after); err != nil || len(after) != len(before)+1 || !reflect.DeepEqual(after[:len(before)], before) {
			t.Fatalf("%s became %s: %v", event, got, err)
		}
		var offset string
		_ = json.Unmarshal(after[len(before)], &offset)
		if o, ok := ParseOffset(offset); !ok || o.Seq != seq {
			t.Errorf("%s became %s", event, got)
		}
	})
}

func TestPID(t *testing.T) {
	one, two := NewPID("k3f9a0zz"), NewPID("k3f9a0zz")
	if !IsPID(one) || !strings.HasPrefix(one, "k3f9a0zz.") || one == two || Hash(one) == Hash(two) || Hash(one) != Hash(one) {
		t.Errorf("pids %q and %q", one, two)
	}
	if hash := Hash(one); len(hash) != 22 || strings.Contains(hash, one[9:]) {
		t.Errorf("the hash of %q is %q", one, hash)
	}
	if got := Hash("k3f9a0zz.AAAAAAAAAAAAAAAAAAAAAA"); got != "kEmU-7EZaRnM-VSddaAVws" {
		t.Errorf("the hash is %q: stored records could not be found", got)
	}
	for _, s := range []string{"", one[1:], one + "x", one + "\n", " " + one, strings.ToUpper(one[:8]) + one[8:],
		strings.Replace(one, ".", "-", 1), one[:len(one)-1] + "+", one[:len(one)-1] + "é", "k3f9a0zz.AAAAAAAAAAAAAAAAAAAA"} {
		if IsPID(s) {
			t.Errorf("IsPID(%q)", s)
		}
	}
}

func TestTakeFromAuth(t *testing.T) {
	for _, c := range []struct{ auth, rest, pid, offset string }{
		{`{}`, `{}`, "", ""},
		{` {"a" : 1 } `, ` {"a" : 1 } `, "", ""},
		{`{"pid":"p"}`, `{}`, "p", ""},
		{`{"pid":"p","offset":"o","token":"x"}`, `{"token":"x"}`, "p", "o"},
		{`{"token":"x","pid":"p","n":1.0,"offset":"o"}`, `{"token":"x","n":1.0}`, "p", "o"},
		{`{"\u0070id":"p","off\u0073et":"o","pid2":1}`, `{"pid2":1}`, "p", "o"},
		{`{"pid":"p","pid":"q","offset":1,"a":1}`, `{"a":1}`, "q", ""},
		{`{"pid":"p","pid":null}`, `{}`, "", ""},
		{`{"pid":["p"],"offset":{"pid":"q"}}`, `{}`, "", ""},
		{`{"in":{"pid":"p"}, "pid" : "\u0070\"" , "x":[ 1 ]}`, `{"in":{"pid":"p"},"x":[ 1 ]}`, `p"`, ""},
		{`{"a":1,"a":2,"offset":"o"}`, `{"a":1,"a":2}`, "", "o"},
	} {
		rest, pid, offset, err := TakeFromAuth([]byte(c.auth))
		if err != nil || string(rest) != c.rest || pid != c.pid || offset != c.offset {
			t.Errorf("TakeFromAuth(%s) = %s, %q, %q, %v", c.auth, rest, pid, offset, err)
		}
	}
	if rest, pid, offset, err := TakeFromAuth(nil); rest != nil || pid != "" || offset != "" || err != nil {
		t.Errorf("nil became %q", rest)
	}
	for _, auth := range []string{"", " ", "[]", "null", `"pid"`, `{"pid":"p"`, `{"pid":"p"}x`, `{pid:1}`} {
		if rest, pid, _, err := TakeFromAuth([]byte(auth)); err == nil || rest != nil || pid != "" {
			t.Errorf("TakeFromAuth(%q) = %q, %q, %v", auth, rest, pid, err)
		}
	}
}

// Whatever a client sends, neither its pid nor its offset is left, and its own members are.
func FuzzTakeFromAuth(f *testing.F) {
	for _, auth := range []string{`{"pid":"p","offset":"o","token":"x"}`, `{"\u0070id":"p"}`, `{"pid":"p","pid":1}`, ` { "a" : [ ] } `, `{"pid":"\ud800"}`} {
		f.Add(auth)
	}
	f.Fuzz(func(t *testing.T, auth string) {
		var want, got map[string]json.RawMessage
		rest, pid, offset, err := TakeFromAuth([]byte(auth))
		if invalid := json.Unmarshal([]byte(auth), &want); (invalid != nil || want == nil || !utf8.ValidString(auth)) != (err != nil) {
			t.Fatalf("TakeFromAuth(%q): %v, encoding/json: %v", auth, err, invalid)
		}
		if err != nil {
			return
		}
		for name, value := range map[string]string{"pid": pid, "offset": offset} {
			var s string
			_ = json.Unmarshal(want[name], &s)
			if s != value {
				t.Errorf("%s of %q is %q, want %q", name, auth, value, s)
			}
			delete(want, name)
		}
		if err := json.Unmarshal(rest, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("TakeFromAuth(%q) left %q: %v", auth, rest, err)
		}
	})
}

// What is appended to each event of a logged namespace allocates nothing.
func TestNoAlloc(t *testing.T) {
	dst, event := make([]byte, 0, 256), []byte(`["message",{"n":1},"text"]`)
	for what, f := range map[string]func(){
		"Append":         func() { dst = Offset{testEpoch, math.MaxUint64}.Append(dst[:0]) },
		"AppendOffset":   func() { dst = AppendOffset(dst[:0], event, Offset{testEpoch, 1}) },
		"EndsWithString": func() { EndsWithString(event) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
}

func BenchmarkAppendOffset(b *testing.B) {
	dst, event := make([]byte, 0, 256), []byte(`["message",{"n":1},"text"]`)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendOffset(dst[:0], event, Offset{testEpoch, 1 << 40})
	}
}
