// Package liveness decides from beats which members live: edges as seen by edges and by services, and instances as
// seen by edges. It has no clock and no goroutine: the caller passes the time and calls Expire regularly.
package liveness

import (
	"sync/atomic"
	"time"
)

// Table has the time of each member's last beat. It is not safe for concurrent use. Use New: the zero Table cannot be
// used.
type Table struct {
	deadAfter time.Duration
	heard     map[string]time.Time
}

// New returns an empty table. A member without a beat for longer than deadAfter counts as dead.
func New(deadAfter time.Duration) *Table {
	return &Table{deadAfter: deadAfter, heard: make(map[string]time.Time)}
}

// Heard records a beat, and reports whether the member is new.
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

// Remove removes a member, and reports whether it was in the table.
func (t *Table) Remove(member string) bool {
	_, known := t.heard[member]
	delete(t.heard, member)
	return known
}

// Members returns all members, in no order. The caller may keep the slice.
func (t *Table) Members() []string {
	all := make([]string, 0, len(t.heard))
	for member := range t.heard {
		all = append(all, member)
	}
	return all
}

// Expire removes and returns the members that count as dead.
func (t *Table) Expire(now time.Time) (dead []string) {
	for member, at := range t.heard {
		if now.Sub(at) > t.deadAfter {
			dead = append(dead, member)
			delete(t.heard, member)
		}
	}
	return dead
}

// Forgive sets the last beat of all members to now. It is for a caller that had no connection or did not run, and so
// missed their beats.
func (t *Table) Forgive(now time.Time) {
	for member := range t.heard {
		t.heard[member] = now
	}
}

// Clock detects that its process did not run: it was stopped, or its machine was suspended. Tick must be called
// regularly. It reads the wall clock, because the monotonic one stops while a machine is suspended. A wall clock that
// is set forward looks like a pause. The zero Clock has never ticked. It is safe for concurrent use.
type Clock struct {
	last atomic.Int64 // nanoseconds since 1970; 0: never
}

// Tick records that the process runs.
func (c *Clock) Tick(now time.Time) { c.last.Store(now.UnixNano()) }

// Away returns how long ago the last tick was; 0 before the first.
func (c *Clock) Away(now time.Time) time.Duration {
	last := c.last.Load()
	if last == 0 {
		return 0
	}
	return time.Duration(now.UnixNano() - last)
}

// Listener detects that its process could not receive. Then the silence of others means nothing (Table.Forgive). It
// is not safe for concurrent use.
type Listener struct {
	connected bool
	looked    time.Time
}

// WasDeaf reports whether the process is not connected, was not connected at the previous call, or did not call it
// for longer than most. It compares wall clocks, as Clock does.
func (l *Listener) WasDeaf(connected bool, now time.Time, most time.Duration) bool {
	deaf := !connected || !l.connected || now.UnixNano()-l.looked.UnixNano() > int64(most)
	l.connected, l.looked = connected, now
	return deaf
}
