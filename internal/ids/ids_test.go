package ids

import (
	"testing"

	"partyline/subjects"
)

func TestIDs(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		edge := NewEdge()
		id := New(edge)
		if of, own, ok := subjects.SplitSocketID(id); !ok || of != edge || seen[edge] || seen[own] {
			t.Errorf("%q of edge %q", id, edge)
		} else {
			seen[edge], seen[own] = true, true
		}
	}
}
