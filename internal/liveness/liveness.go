// Package liveness decides from beats which members live: edges among themselves, instances as seen by edges, edges as
// seen by services. It has no clock and no goroutine: the caller passes the time, and asks now and then which have died.
package liveness

import "time"

// Table remembers when each member was heard last. It is not safe for concurrent use. Use New: the zero Table is empty
// and cannot be used.
type Table struct {
	deadAfter time.Duration
	heard     map[string]time.Time
}

// New returns a table in which a member that is silent for longer than deadAfter has died.
func New(deadAfter time.Duration) *Table {
	return &Table{deadAfter: deadAfter, heard: make(map[string]time.Time)}
}

// Heard notes a sign of life, and reports whether it is the first of this member.
func (t *Table) Heard(member string, now time.Time) (first bool) {
	_, known := t.heard[member]
	t.heard[member] = now
	return !known
}

// Lives reports whether a member is in the table.
func (t *Table) Lives(member string) bool {
	_, known := t.heard[member]
	return known
}

// Remove removes a member that has announced its end, and reports whether it was there.
func (t *Table) Remove(member string) bool {
	_, known := t.heard[member]
	delete(t.heard, member)
	return known
}

// Members returns all members, in no order.
func (t *Table) Members() []string {
	all := make([]string, 0, len(t.heard))
	for member := range t.heard {
		all = append(all, member)
	}
	return all
}

// Expire removes and returns the members that have been silent for too long.
func (t *Table) Expire(now time.Time) (dead []string) {
	for member, at := range t.heard {
		if now.Sub(at) > t.deadAfter {
			dead = append(dead, member)
			delete(t.heard, member)
		}
	}
	return dead
}

// Forgive counts all members as heard now: their silence up to now was the listener's own, which had no connection or
// did not run.
func (t *Table) Forgive(now time.Time) {
	for member := range t.heard {
		t.heard[member] = now
	}
}
