// Package snapshot has a list whose snapshots cost nothing.
package snapshot

import (
	"slices"
	"sync/atomic"
)

// List is a list, in any order, of things that keep their places themselves. Adding writes only behind the end of a
// snapshot, and removing copies the list if a snapshot was taken since the last copy. The caller guards all but Len.
// The zero List is empty.
type List[T any] struct {
	items  []*T
	shared bool
	count  atomic.Int64 // length of items
}

// Len returns how many there are. It needs no guard.
func (l *List[T]) Len() int { return int(l.count.Load()) }

// Add adds one, and returns its place.
func (l *List[T]) Add(item *T) (place int) {
	l.items = append(l.items, item)
	l.count.Add(1)
	return len(l.items) - 1
}

// RemoveAt removes the one at a place, and returns the one that is there now, or nil.
func (l *List[T]) RemoveAt(place int) (moved *T) {
	if l.shared {
		l.items, l.shared = slices.Clone(l.items), false
	}
	l.count.Add(-1)
	last := len(l.items) - 1
	moved = l.items[last]
	l.items[place], l.items[last] = moved, nil
	l.items = l.items[:last]
	if place == last {
		return nil
	}
	return moved
}

// Items returns the list. It is valid until the next change, and must not be changed.
func (l *List[T]) Items() []*T { return l.items }

// Snapshot returns the list as it is now. It must not be changed, and does not change.
func (l *List[T]) Snapshot() []*T {
	l.shared = true
	return l.items
}
