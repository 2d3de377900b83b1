// Package fair holds what waits in one line a name. The lines take turns, so a flood under one name delays the others
// by a chunk. The line without a name has the next turn after it was empty: what concerns all others is handled before
// what came later.
package fair

import (
	"slices"
	"sync"
)

// Lines hold items that wait, in one line a name, such as a namespace. Within a line items keep their order. It is
// safe for concurrent use.
type Lines[T any] struct {
	capacity int            // items, of all lines; static
	name     func(T) string // of an item's line; static
	mark     func(T) T      // makes what stands in a line where an item was dropped; static

	mu      sync.Mutex
	behind  bool                // guarded by mu: all items go through the lines, until they are empty
	waiting int                 // guarded by mu: items in all lines, without marks
	byName  map[string]*line[T] // guarded by mu: lines with items
	turns   []*line[T]          // guarded by mu: the same, in the order of their turns
	last    *line[T]            // guarded by mu: the one whose items are being handled
}

// line is the items of one name.
type line[T any] struct {
	name  string
	items []Item[T]
}

// Item is something that waited in a line.
type Item[T any] struct {
	Value T
	Lost  bool // Value is a mark: one or more were dropped in its place
}

// New makes Lines that hold so many items together. name returns the line of an item. mark makes, of an item that was
// dropped, what stands in its place; items that are dropped one behind the other have one mark.
func New[T any](capacity int, name func(T) string, mark func(T) T) *Lines[T] {
	return &Lines[T]{capacity: capacity, name: name, mark: mark, byName: make(map[string]*line[T])}
}

// Capacity returns how many items there may be.
func (l *Lines[T]) Capacity() int { return l.capacity }

// Keep moves the items of a channel to their lines, and returns how many it has dropped. A line may have as many
// items as all lines together leave free. So one that overflows has half of the capacity, and the other half is
// there for the others. first reports whether the lines were empty for Take before, so that the caller must wake the
// goroutine that calls it.
func (l *Lines[T]) Keep(channel <-chan T) (dropped int, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range len(channel) {
		item := <-channel
		name := l.name(item)
		one := l.byName[name]
		if one != nil && len(one.items) >= l.capacity-l.waiting {
			if dropped++; !one.items[len(one.items)-1].Lost {
				one.items = append(one.items, Item[T]{l.mark(item), true})
			}
			continue
		}
		if one == nil {
			one = &line[T]{name: name}
			l.byName[name] = one
			if name == "" {
				l.turns = slices.Insert(l.turns, 0, one)
			} else {
				l.turns = append(l.turns, one)
			}
		}
		one.items = append(one.items, Item[T]{Value: item})
		l.waiting++
	}
	first, l.behind = !l.behind, true
	return dropped, first
}

// Take moves the first items of the line whose turn it is to chunk. It returns how many, and whether another line
// waits. If there are none, items need not go through the lines any more.
func (l *Lines[T]) Take(chunk []Item[T]) (n int, others bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.turns) == 0 {
		l.behind, l.last = false, nil
		return 0, false
	}
	one := l.turns[0]
	l.turns = l.turns[1:]
	l.last = one
	n = copy(chunk, one.items)
	for _, item := range chunk[:n] {
		if !item.Lost {
			l.waiting--
		}
	}
	clear(one.items[:n])
	if one.items = one.items[n:]; len(one.items) == 0 {
		delete(l.byName, one.name)
		return n, len(l.turns) > 0
	}
	l.turns = append(l.turns, one)
	return n, len(l.turns) > 1
}

// IsBehind reports whether items must go through the lines. It becomes true only by Keep.
func (l *Lines[T]) IsBehind() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.behind
}

// IsUrgent reports whether another line waits than the one whose items are being handled, or more than a quarter of
// the capacity is in use.
func (l *Lines[T]) IsUrgent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting > l.capacity/4 || len(l.turns) > 1 || len(l.turns) == 1 && l.turns[0] != l.last
}

// Len returns how many items wait.
func (l *Lines[T]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}
