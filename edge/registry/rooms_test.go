package registry

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A snapshot never changes, whatever happens to the list afterwards, and the list stays correct.
func TestMembersSnapshots(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var m members[int]
	var want []*Socket[int] // in any order
	type taken struct{ snapshot, copied []*Socket[int] }
	var snapshots []taken
	places := map[*Socket[int]]int{}
	for range 5000 {
		switch n := random.IntN(10); {
		case n < 5:
			s := &Socket[int]{}
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
