package subjects

import "testing"

func TestMatches(t *testing.T) {
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
		if got := Matches(c.pattern, []byte(c.name)); got != c.want {
			t.Errorf("Matches(%q, %q) = %v for bytes", c.pattern, c.name, got)
		}
	}
}
