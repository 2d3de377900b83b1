package members

import "slices"

// Edges are those that live. The zero Edges has none.
type Edges struct {
	Live []string // sorted
	gone map[string]bool
}

// Compare takes which edges live now, in any order. It reports whether others did before, and whether one is back that had
// gone: what it has published meanwhile may be lost.
func (e *Edges) Compare(live []string) (areOther, isBack bool) {
	live = slices.Sorted(slices.Values(live))
	areOther = !slices.Equal(live, e.Live)
	for _, edge := range live {
		isBack = isBack || e.gone[edge]
		delete(e.gone, edge)
	}
	for _, edge := range e.Live {
		if !slices.Contains(live, edge) {
			if e.gone == nil {
				e.gone = make(map[string]bool)
			}
			e.gone[edge] = true
		}
	}
	e.Live = live
	return areOther, isBack
}
