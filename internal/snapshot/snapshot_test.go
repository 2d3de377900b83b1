package snapshot

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A snapshot never changes, whatever happens to the list afterwards, and the list stays correct.
func TestSnapshots(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var m List[int]
	var want []*int // in any order
	type taken struct{ snapshot, copied []*int }
	var snapshots []taken
	places := map[*int]int{}
	for range 5000 {
		switch n := random.IntN(10); {
		case n < 5:
			s := new(int)
			places[s] = m.Add(s)
			want = append(want, s)
		case n < 9 && len(want) > 0:
			i := random.IntN(len(want))
			s := want[i]
			want = slices.Delete(want, i, i+1)
			at := places[s]
			delete(places, s)
			if moved := m.RemoveAt(at); moved != nil {
				places[moved] = at
			}
		default:
			s := m.Snapshot()
			snapshots = append(snapshots, taken{s, slices.Clone(s)})
		}
	}
	if m.Len() != len(want) || len(m.Items()) != len(want) {
		t.Fatalf("%d items, want %d", m.Len(), len(want))
	}
	for s, at := range places {
		if m.Items()[at] != s {
			t.Fatal("an item is not in its place")
		}
	}
	for i, s := range snapshots {
		if !slices.Equal(s.snapshot, s.copied) {
			t.Fatalf("snapshot %d has changed", i)
		}
	}
}
