package cluster

import (
	"testing"
	"time"
)

// TestIsolationIsPatient goes through an outage that ends in time, and one that does not.
func TestIsolationIsPatient(t *testing.T) {
	const patience = time.Minute
	var i isolation
	now := time.UnixMilli(0)
	expect := func(connected bool, after time.Duration, want int) {
		t.Helper()
		now = now.Add(after)
		if got := i.observe(connected, now, patience); got != want {
			t.Errorf("at %s, connected %v: %d, want %d", now.Sub(time.UnixMilli(0)), connected, got, want)
		}
	}
	expect(true, 0, over)
	expect(false, time.Hour, wait) // cut off since now, as far as is known
	expect(false, patience-1, wait)
	expect(true, 1, over)
	expect(false, 1, wait)
	expect(false, patience-1, wait)
	expect(false, 1, ask)
	expect(false, askEvery-1, wait)
	expect(false, 1, ask)
	expect(true, 0, over)
	expect(false, 1, wait)
}
