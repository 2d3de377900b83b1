// Package liveness tells from beats who lives: edges among themselves, edges of service instances, services of edges.
// It keeps no clock and no goroutine; whoever uses it says what time it is and asks now and then who has died.
package liveness

import "time"

// Table remembers when each member was heard last. It is not safe for concurrent use. The zero Table has nobody in it,
// and silence never ends anybody in it; New makes a useful one.
type Table struct {
	deadAfter time.Duration
	heard     map[string]time.Time
}

// New makes a table in which whoever is silent for longer than deadAfter has died.
func New(deadAfter time.Duration) *Table {
	return &Table{deadAfter: deadAfter, heard: make(map[string]time.Time)}
}

// Heard notes a sign of life, and tells whether it is the first of this member.
func (t *Table) Heard(member string, now time.Time) (first bool) {
	_, known := t.heard[member]
	t.heard[member] = now
	return !known
}

// Lives tells whether a member is in the table.
func (t *Table) Lives(member string) bool {
	_, known := t.heard[member]
	return known
}

// Remove takes a member out that said goodbye, and tells whether it was there.
func (t *Table) Remove(member string) bool {
	_, known := t.heard[member]
	delete(t.heard, member)
	return known
}

// Members is everybody, in no order.
func (t *Table) Members() []string {
	all := make([]string, 0, len(t.heard))
	for member := range t.heard {
		all = append(all, member)
	}
	return all
}

// Expire takes out, and returns, who has been silent for too long.
func (t *Table) Expire(now time.Time) (dead []string) {
	for member, at := range t.heard {
		if now.Sub(at) > t.deadAfter {
			dead = append(dead, member)
			delete(t.heard, member)
		}
	}
	return dead
}

// Forgive makes everybody as good as heard at a moment: silence up to then was the listener's own fault, because it had no
// connection or did not run.
func (t *Table) Forgive(now time.Time) {
	for member := range t.heard {
		t.heard[member] = now
	}
}
