package cluster

import (
	"testing"
	"time"
)

// An edge that was stopped, and whose connection ended meanwhile, does not count that time as cut off.
func TestIsolationIsPatient(t *testing.T) {
	var i isolation
	now := time.UnixMilli(0)
	expect := func(connected bool, after, want time.Duration) {
		t.Helper()
		now = now.Add(after)
		if got := i.lasts(connected, now); got != want {
			t.Errorf("at %s, connected %v: %s, want %s", now.Sub(time.UnixMilli(0)), connected, got, want)
		}
	}
	const step = time.Second
	expect(true, 0, 0)
	expect(false, time.Hour, 0) // cut off since now, as far as it can tell
	expect(false, step, step)
	expect(false, step, 2*step)
	expect(false, time.Hour, 2*step)
	expect(false, step, 3*step)
	expect(true, 1, 0)
	expect(false, step, step) // at most: it was connected at the last check
	expect(true, 0, 0)
}

// Before its first connection, an edge counts as cut off since its first check.
func TestIsolationBegins(t *testing.T) {
	var i isolation
	now := time.Now()
	if got := i.lasts(false, now); got != 0 {
		t.Errorf("at once %s", got)
	}
	if got := i.lasts(false, now.Add(time.Second)); got != time.Second {
		t.Errorf("after a second %s", got)
	}
}
