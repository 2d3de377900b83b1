// Package share divides a number of places among names, such as namespaces, so that one name cannot take all of them.
package share

import "sync"

// Table divides places. What a name may have is half of what the others leave: the first gets half of all, a second
// one that comes then a quarter, and there is always room for one more. It is safe for concurrent use.
type Table struct {
	most int // static

	mu   sync.Mutex
	used int            // guarded by mu: by all names
	by   map[string]int // guarded by mu: by name; those with places only
}

// New makes a table of so many places.
func New(most int) *Table { return &Table{most: most, by: make(map[string]int)} }

// Take takes n places for a name, and reports whether it has them. reserved places count as taken by others.
func (t *Table) Take(name string, n, reserved int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.by[name]
	if n > 0 && own+n > (t.most-reserved-(t.used-own))/2 {
		return false
	}
	if n > 0 {
		t.used += n
		t.by[name] = own + n
	}
	return true
}

// Add takes n places for a name, whether it may have them or not. A negative n gives them back.
func (t *Table) Add(name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used += n
	if t.by[name] += n; t.by[name] == 0 {
		delete(t.by, name)
	}
}

// Used returns how many places are taken.
func (t *Table) Used() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}
