package msg

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestQuestion(t *testing.T) {
	for _, body := range []string{"", " \n", "[]", " [ ] "} {
		if err := Question([]byte(body)); err != nil {
			t.Errorf("Question(%q) = %v", body, err)
		}
	}
	for body, want := range map[string]error{`[1]`: errNotBlank, `[[]]`: errNotBlank, `[null]`: errNotBlank, `{}`: ErrNotArray, `null`: ErrNotArray,
		`[`: ErrNotJSON, `x`: ErrNotJSON, "\xff": errNotUTF8, "[\"\xff\"]": errNotUTF8} {
		if err := Question([]byte(body)); !errors.Is(err, want) {
			t.Errorf("Question(%q) = %v, want %v", body, err, want)
		}
	}
}

func TestData(t *testing.T) {
	exact := `{"x":"` + strings.Repeat("x", maxDataBytes-8) + `"}`
	for body, want := range map[string]string{
		"": "", " \n": "", "[]": "", " [ ] ": "", "[{}]": "{}", ` [ {"a" : 1.0} ] `: `{"a" : 1.0}`, "[ " + exact + " ]": exact,
		`[1]`: "1", `[ null ]`: "null", `["{}"]`: `"{}"`, `[[]]`: "[]",
	} {
		if got, err := Data([]byte(body)); err != nil || string(got) != want || (got == nil) != (want == "") {
			t.Errorf("Data(%.50q) = %.50q, %v", body, got, err)
		}
	}
	for body, want := range map[string]error{
		`[{},{}]`: errData, `[{},null]`: errData,
		`{}`: ErrNotArray, `null`: ErrNotArray, `[{}`: ErrNotJSON, "[{\"\xff\":1}]": errNotUTF8,
		`[{"xx":"` + exact[6:] + `]`: errDataTooLarge,
	} {
		if got, err := Data([]byte(body)); !errors.Is(err, want) {
			t.Errorf("Data(%.50q) = %.50q, %v; want %v", body, got, err, want)
		}
	}
	if err := CheckData(make([]byte, maxDataBytes+1)); err == nil || err.Error() != "data of 65537 bytes; the limit is 65536" {
		t.Errorf("CheckData says %v", err)
	}
	if _, _, err := ParseAdmission([]byte(`[{"data":{"xx":"` + exact[6:] + `}]`)); !errors.Is(err, errDataTooLarge) || !errors.Is(err, errAdmission) {
		t.Errorf("an admission with more data: %v", err)
	}
}

func TestAskTimeout(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": DefaultAskTimeout, "1": time.Millisecond, "30000": 30 * time.Second, "600000": MaxAskTimeout, "007": 7 * time.Millisecond, "0": 0,
	} {
		if got, err := AskTimeout(header); err != nil || got != want {
			t.Errorf("AskTimeout(%q) = %v, %v", header, got, err)
		}
	}
	for _, header := range []string{"-1", "+1", "600001", "4294967296", "18446744073709551616", "1.5", "1e3", "5s", " 5", "5 ", "0x10", "1_000", "٣"} {
		if got, err := AskTimeout(header); !errors.Is(err, errTimeout) || got != 0 {
			t.Errorf("AskTimeout(%q) = %v, %v", header, got, err)
		}
	}
}

func TestPart(t *testing.T) {
	for _, c := range []struct {
		number int
		last   bool
		want   string
	}{{1, false, "1"}, {12, false, "12"}, {2, true, "2 last"}} {
		if got := partHeader(c.number, c.last); got != c.want || IsLastPart(got) != c.last {
			t.Errorf("partHeader(%d, %v) = %q, IsLastPart says %v", c.number, c.last, got, IsLastPart(got))
		}
	}
	if !IsLastPart("") {
		t.Error("an answer in one message has no further part")
	}
}

func TestParseAnswer(t *testing.T) {
	a, err := ParseAnswer([]byte(` [{"edge":"k3f9a0zz","sockets":2,"rev":7,"later":1}, {"id":"x"} ,[1]]`))
	if err != nil || a.Edge != "k3f9a0zz" || a.Sockets != 2 || a.Rev == nil || *a.Rev != 7 || len(a.Rest) != 2 || string(a.Rest[0]) != `{"id":"x"}` {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := ParseAnswer([]byte(`[{"edge":"k3f9a0zz","sockets":0}]`)); err != nil || a.Rev != nil || len(a.Rest) != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	for _, body := range []string{``, `[]`, `{}`, `null`, `[`, `["x"]`, `[{"edge":1}]`, `[{"sockets":"x"}]`, `[{"sockets":1.5}]`} {
		if a, err := ParseAnswer([]byte(body)); !errors.Is(err, errAnswer) {
			t.Errorf("ParseAnswer(%q) = %+v, %v", body, a, err)
		}
	}
}

// Accepted bodies can be used as the functions promise, whatever they contain.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{"", "[]", "[{}]", `[{"edge":"k3f9a0zz","sockets":1,"rev":2},{"id":"x"}]`, `[{"a":[1,{"b":"]"}]}]`, `[{},{}]`, "[{\"\xff\":1}]", "5", "3 last", "{}"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		object, err := Data(body)
		if err == nil && object != nil && (!json.Valid(object) || len(object) > maxDataBytes || cap(object) != len(object)) {
			t.Errorf("Data(%q) = %q", body, object)
		}
		if Question(body) == nil && (err != nil || object != nil) {
			t.Errorf("a body that asks nothing is data: %q, %v", object, err)
		}
		if a, err := ParseAnswer(body); err == nil {
			for _, raw := range a.Rest {
				if !json.Valid(raw) {
					t.Errorf("ParseAnswer(%q) has the element %q", body, raw)
				}
			}
		} else if !errors.Is(err, errAnswer) {
			t.Errorf("ParseAnswer(%q): %v", body, err)
		}
		if d, err := AskTimeout(string(body)); err == nil && (d < 0 || d > MaxAskTimeout) || err != nil && d != 0 {
			t.Errorf("AskTimeout(%q) = %v, %v", body, d, err)
		}
		IsLastPart(string(body))
		if !bytes.Equal(body, before) {
			t.Errorf("%q was changed to %q", before, body)
		}
	})
}
