package jsontext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendDecoded(t *testing.T) {
	for quoted, want := range map[string]string{
		`""`: "", `"a"`: "a", `"\"\\\/\b\f\n\r\t\u0000"`: "\"\\/\b\f\n\r\t\x00", `"\uba54\uC2dc지"`: "메시지", `"x\ud83c\udf89!"`: "x🎉!", `"\ufffd"`: "\ufffd",
	} {
		if got, whole := AppendDecoded([]byte("dst "), []byte(quoted)); string(got) != "dst "+want || !whole {
			t.Errorf("%s: %q, %v", quoted, got, whole)
		}
	}
	for quoted, want := range map[string]string{`"\ud800"`: "\ufffd", `"\udc00a"`: "\ufffda", `"\ud800\ud800\udc00"`: "\ufffd\U00010000", `"\ud800\n"`: "\ufffd\n"} {
		if got, whole := AppendDecoded(nil, []byte(quoted)); string(got) != want || whole {
			t.Errorf("%s: %q, %v", quoted, got, whole)
		}
	}
}

func TestKeyIs(t *testing.T) {
	for _, key := range []string{`"num"`, `"n\u0075m"`, `"\u006e\u0075\u006D"`} {
		if !KeyIs([]byte(key), "num") {
			t.Errorf("%s is another key", key)
		}
	}
	for _, key := range []string{`""`, `"nun"`, `"Num"`, `"num "`, `"num\u0000"`, `"\u006e\u0075\u006D\u006D"`, `"nu\`, `"`, ``} {
		if KeyIs([]byte(key), "num") {
			t.Errorf("%s is the key", key)
		}
	}
}

func TestFind(t *testing.T) {
	object := []byte(`{"sub":"a","n":{"aud":1},"SUB":2,"s\u0075b" : ["b"] ,"aud":null}`)
	var values [5][]byte
	Find(values[:], object, "sub", "aud", "n", "SUB", "exp")
	for i, want := range []string{`["b"]`, `null`, `{"aud":1}`, `2`, ``} {
		if got := values[i]; string(got) != want || want == "" && got != nil {
			t.Errorf("%d is %s, want %s", i, got, want)
		}
	}
	if Find(values[4:], []byte(`{"https:\/\/id.example\/grant":1}`), "https://id.example/grant"); string(values[4]) != "1" {
		t.Errorf("the long name is %q", values[4])
	}
}

func TestText(t *testing.T) {
	for value, want := range map[string]string{`""`: "", `"a"`: "a", `"\u0061\n"`: "a\n", `"\ufffd"`: "\ufffd"} {
		if got, ok := Text([]byte(value)); got != want || !ok {
			t.Errorf("%s: %q, %v", value, got, ok)
		}
	}
	for value, want := range map[string]string{``: "", `null`: "", `12`: "", `["a"]`: "", `"\ud800a"`: "\ufffda"} {
		if got, ok := Text([]byte(value)); got != want || ok {
			t.Errorf("%s: %q, %v", value, got, ok)
		}
	}
}

// FuzzText checks that the walk and the strings are those of encoding/json where that accepts the text, and that there
// is no panic elsewhere.
func FuzzText(f *testing.F) {
	for _, text := range []string{``, `[]`, ` [ "a" , {"b":[1,-2e3]} ,null] `, `{"a":"\ud83c\udf89","\\":{}}`, `["\ud800"]`, `[[[`, `]]`, `"a\`, `{"a"`, `"\u12`, `1`, "[\"\xff\"]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		var tokens []byte
		for i := 0; i < len(text); {
			end := SkipToken(text, i)
			if end <= i || end > len(text) {
				t.Fatalf("the token at %d of %q ends at %d", i, text, end)
			}
			MemberValue(text, end)
			AppendDecoded(nil, text[i:end])
			tokens = append(tokens, text[i:end]...)
			i = end
		}
		if !bytes.Equal(tokens, before) || !bytes.Equal(text, before) {
			t.Errorf("the tokens of %q are %q, and it is %q", before, tokens, text)
		}
		values := Inside(text)
		var elements []json.RawMessage
		if !utf8.Valid(text) || json.Unmarshal(text, &elements) != nil || elements == nil {
			for range len(text) + 1 {
				values.Next()
			}
			return
		}
		for _, want := range elements {
			value, ok := values.Next()
			if !ok || !bytes.Equal(value, want) {
				t.Fatalf("an element of %q is %q, want %q", text, value, want)
			}
			var s string
			if IsString(value) != (json.Unmarshal(value, &s) == nil && want[0] == '"') {
				t.Errorf("IsString(%q)", value)
			}
			if IsString(value) {
				checkString(t, value, s)
			}
		}
		if value, ok := values.Next(); ok {
			t.Errorf("%q has the further element %q", text, value)
		}
	})
}

func checkString(t *testing.T, quoted []byte, want string) {
	t.Helper()
	if got, whole := AppendDecoded(nil, quoted); string(got) != want || !whole && !strings.ContainsRune(want, utf8.RuneError) {
		t.Errorf("%s is %q, want %q", quoted, got, want)
	}
	if !KeyIs(quoted, want) && len(want) <= 16 && len(want) == len([]rune(want)) {
		t.Errorf("KeyIs(%s, %q) is false", quoted, want)
	}
	again := AppendString(nil, want)
	if got, whole := AppendDecoded(nil, again); string(got) != want || !whole || !json.Valid(again) {
		t.Errorf("%q has become %s", want, again)
	}
	if !bytes.Equal(again, AppendString(nil, []byte(want))) {
		t.Error("as bytes it is another string")
	}
}
