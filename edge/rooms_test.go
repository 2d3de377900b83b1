package edge

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A snapshot stays as it was whatever happens to the list afterwards, and the list stays right.
func TestMembersSnapshots(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var m members
	var want []*socket // in any order
	type taken struct{ snapshot, copied []*socket }
	var snapshots []taken
	places := map[*socket]int{}
	for range 5000 {
		switch n := random.IntN(10); {
		case n < 5:
			s := &socket{}
			places[s] = m.add(s)
			want = append(want, s)
		case n < 9 && len(want) > 0:
			i := random.IntN(len(want))
			s := want[i]
			want = slices.Delete(want, i, i+1)
			at := places[s]
			delete(places, s)
			if moved := m.removeAt(at); moved != nil {
				places[moved] = at
			}
		default:
			s := m.snapshot()
			snapshots = append(snapshots, taken{s, slices.Clone(s)})
		}
	}
	if len(m.list) != len(want) {
		t.Fatalf("%d members, want %d", len(m.list), len(want))
	}
	for s, at := range places {
		if m.list[at] != s {
			t.Fatal("a member is not in its place")
		}
	}
	for i, s := range snapshots {
		if !slices.Equal(s.snapshot, s.copied) {
			t.Fatalf("snapshot %d has changed", i)
		}
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
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

func TestRuleBookPrefersExactThenLongest(t *testing.T) {
	book := newRuleBook(map[string]Namespace{
		"*": {Rooms: []string{"any"}}, "/a*": {Rooms: []string{"a"}}, "/ab*": {Rooms: []string{"ab"}}, "/abc": {Rooms: []string{"exact"}},
	})
	for name, want := range map[string]string{"/abc": "exact", "/abx": "ab", "/ax": "a", "/": "any"} {
		if got := book.find(name); got == nil || got.Rooms[0] != want {
			t.Errorf("%s found %v, want %s", name, got, want)
		}
	}
	declared := newRuleBook(map[string]Namespace{"/": {}})
	if rules := declared.find("/other"); rules != nil {
		t.Errorf("an undeclared namespace found %v", rules)
	}
}
