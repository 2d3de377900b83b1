package subjects

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// nameCase is one entry of testdata/names.json. With a name and a subject, each is the other's encoding. With a name
// and an error, the name has no subject. With a subject and an error, the subject has no name. repeat appends its name
// and subject that many times to those of the case.
type nameCase struct {
	Kind    string  `json:"kind"` // namespace, event or room
	Name    *string `json:"name"`
	Subject *string `json:"subject"`
	Error   bool    `json:"error"`
	Comment string  `json:"comment"`
	Repeat  struct {
		Name    string `json:"name"`
		Subject string `json:"subject"`
		Times   int    `json:"times"`
	} `json:"repeat"`
}

func loadNames(t testing.TB) []nameCase {
	t.Helper()
	text, err := os.ReadFile("testdata/names.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []nameCase
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if c.Name != nil {
			*c.Name += strings.Repeat(c.Repeat.Name, c.Repeat.Times)
		}
		if c.Subject != nil {
			*c.Subject += strings.Repeat(c.Repeat.Subject, c.Repeat.Times)
		}
	}
	return cases
}

// spelling is one of the three kinds of names, in both directions.
type spelling struct {
	append      func(dst []byte, name string) ([]byte, error)
	appendBytes func(dst []byte, name []byte) ([]byte, error)
	name        func(tail string) (string, error)
}

var spellings = map[string]spelling{
	"namespace": {AppendNamespace[string], AppendNamespace[[]byte], Namespace},
	"event":     {AppendEvent[string], AppendEvent[[]byte], Event},
	"room":      {AppendRoom[string], AppendRoom[[]byte], Room},
}

func TestNamesFile(t *testing.T) {
	names, subjects := map[string]string{}, map[string]string{}
	for _, c := range loadNames(t) {
		s, known := spellings[c.Kind]
		if !known || c.Comment == "" || c.Error == (c.Name != nil && c.Subject != nil) || c.Name == nil && c.Subject == nil {
			t.Fatalf("bad case %+v", c)
		}
		if c.Name != nil {
			checkAppend(t, c, s)
		}
		if c.Subject != nil {
			checkName(t, c, s)
		}
		if !c.Error {
			if other, seen := names[c.Kind+*c.Name]; seen && other != *c.Subject {
				t.Errorf("two subjects of %s %q", c.Kind, *c.Name)
			}
			if other, seen := subjects[c.Kind+*c.Subject]; seen && other != *c.Name {
				t.Errorf("two names of %s subject %q", c.Kind, *c.Subject)
			}
			names[c.Kind+*c.Name], subjects[c.Kind+*c.Subject] = *c.Subject, *c.Name
		}
	}
}

func checkAppend(t *testing.T, c nameCase, s spelling) {
	t.Helper()
	const before = "before."
	want := before
	if !c.Error {
		want += *c.Subject
	}
	got, err := s.append([]byte(before), *c.Name)
	if string(got) != want || (err != nil) != c.Error {
		t.Errorf("%s %q (%s):\n got %q, %v\nwant %q", c.Kind, *c.Name, c.Comment, got, err, want)
	}
	got, err = s.appendBytes([]byte(before), []byte(*c.Name))
	if string(got) != want || (err != nil) != c.Error {
		t.Errorf("%s %q as bytes (%s):\n got %q, %v\nwant %q", c.Kind, *c.Name, c.Comment, got, err, want)
	}
}

func checkName(t *testing.T, c nameCase, s spelling) {
	t.Helper()
	want := ""
	if !c.Error {
		want = *c.Name
	}
	got, err := s.name(*c.Subject)
	if got != want || (err != nil) != c.Error {
		t.Errorf("%s subject %q (%s):\n got %q, %v\nwant %q", c.Kind, *c.Subject, c.Comment, got, err, want)
	}
}

func TestNameErrors(t *testing.T) {
	for _, c := range []struct {
		kind, name string
		want       error
	}{
		{"event", strings.Repeat("a", maxNameBytes+1), errNameTooLong},
		{"room", strings.Repeat("\xff", maxNameBytes+1), errNameTooLong},
		{"namespace", "/" + strings.Repeat("a", maxNameBytes), errNameTooLong},
		{"event", strings.Repeat("a.", maxNameTokens) + "a", errTooManyTokens},
		{"room", strings.Repeat("a.", maxNameTokens) + "a", errTooManyTokens},
		{"event", "a\xffb", errNotUTF8},
		{"room", "\xed\xa0\x80", errNotUTF8}, // a surrogate written as UTF-8
		{"event", "\xc0\x80", errNotUTF8},    // an overlong NUL
		{"event", "\xe2\x82.", errNotUTF8},
		{"namespace", "/\xff", errNotUTF8},
		{"namespace", "", errNamespace},
		{"namespace", "chat", errNamespace},
	} {
		if got, err := spellings[c.kind].append([]byte("x"), c.name); !errors.Is(err, c.want) || string(got) != "x" {
			t.Errorf("%s %.40q: got %q, %v; want %v and dst as it was", c.kind, c.name, got, err, c.want)
		}
	}
	for _, c := range []struct {
		kind, tail string
		want       error
	}{
		{"event", "%2e", errSpelling},
		{"room", "a..b", errSpelling},
		{"namespace", "a.b", errSpelling},
		{"event", "%FF", errNotUTF8},
		{"room", "\xff", errNotUTF8},
		{"namespace", "\xff", errNotUTF8},
		{"event", strings.Repeat("a.", maxNameTokens) + "a", errTooManyTokens},
		{"room", strings.Repeat("a", 1<<20), errNameTooLong},
		{"namespace", strings.Repeat("a", 1<<20), errNameTooLong},
	} {
		if _, err := spellings[c.kind].name(c.tail); !errors.Is(err, c.want) {
			t.Errorf("%s subject %.40q: got %v, want %v", c.kind, c.tail, err, c.want)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, c := range loadNames(f) {
		if c.Name != nil {
			f.Add(*c.Name)
		}
		if c.Subject != nil {
			f.Add(*c.Subject)
		}
	}
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, s string) {
		for kind, spelling := range spellings {
			if tail, err := spelling.append(nil, s); err == nil {
				back, err := spelling.name(string(tail))
				if err != nil || back != s {
					t.Errorf("%s %q → %q → %q, %v", kind, s, tail, back, err)
				}
				if !isLiteral(string(tail)) || kind == "namespace" && (tail[0] == '$' || strings.Contains(string(tail), ".")) {
					t.Errorf("%s %q is spelled %q", kind, s, tail)
				}
			} else if len(tail) != 0 {
				t.Errorf("%s %q left %q behind with %v", kind, s, tail, err)
			}
			if name, err := spelling.name(s); err == nil {
				if again, err := spelling.append(nil, name); err != nil || string(again) != s {
					t.Errorf("%s subject %q → %q → %q, %v", kind, s, name, again, err)
				}
			}
		}
	})
}

func TestNamesNoAlloc(t *testing.T) {
	dst := make([]byte, 0, 256)
	event, room := []byte("order.created"), "lobby-1 / 채팅"
	noAlloc(t, "AppendEvent", func() { dst, _ = AppendEvent(dst[:0], event) })
	noAlloc(t, "AppendRoom", func() { dst, _ = AppendRoom(dst[:0], room) })
	noAlloc(t, "AppendNamespace", func() { dst, _ = AppendNamespace(dst[:0], "/chat.room") })
	noAlloc(t, "Event", func() { _, _ = Event("order.created") })
	noAlloc(t, "IsSocketID", func() { IsSocketID(event) })
}

func noAlloc(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, f); n != 0 {
		t.Errorf("%s allocates %v times", what, n)
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	name, dst := []byte("order.created"), make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = AppendEvent(dst[:0], name)
	}
}

func BenchmarkEvent(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Event("order.created")
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"/chat", "/chat", true}, {"/chat", "/chat2", false}, {"*", "", true}, {"*", "/a/b.c", true},
		{"/tenant-*", "/tenant-7/x", true}, {"/tenant-*", "/tenant", false}, {"a*b*c", "a123b45c", true},
		{"a*b*c", "a123b45", false}, {"**", "x", true}, {"a.c", "abc", false}, {"[a]", "a", false}, {"*a", "banana", true},
		{"*ab", "aab", true}, {"", "", true}, {"", "a", false},
		{"/a", "/a", true}, {"/a", "/b", false}, {"/*", "/", true}, {"/t-*", "/t-1", true}, {"/t-*", "/t", false}, {"*", "/a/b", true},
		{"/a*a", "/a", false}, {"/a*a", "/aa", true}, {"/*b*d", "/abcd", true}, {"/*b*d", "/acbd", true}, {"/*b*b*d", "/abcd", false},
	} {
		if got := Matches(c.pattern, c.name); got != c.want {
			t.Errorf("Matches(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

func TestBestPattern(t *testing.T) {
	for list, want := range map[string]string{
		"": "", "/chat": "", "* /tenant-*": "/tenant-*", "/tenant-* /tenant-1*": "/tenant-1*", "/*1 /tenant-1 /tenant-*": "/tenant-1",
		"/tenant-** /t*": "/t*", "/*t-1 /t*t-1": "/t*t-1", "/*-1 /t*1": "/*-1", "/t*1 /*-1": "/*-1",
	} {
		if got, found := BestPattern(strings.Fields(list), "/tenant-1"); got != want || found != (want != "") {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}
