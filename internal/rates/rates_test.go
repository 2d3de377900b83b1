package rates

import (
	"testing"
	"time"
)

// take counts some times, and expects what the last one costs.
func take(t *testing.T, m *Meter, r *Rate, n, times int, now time.Time, want Excess) {
	t.Helper()
	var e Excess
	for range times {
		e = m.Take(r, n, now)
	}
	if e != want {
		t.Errorf("%d times %d: %+v, want %+v", times, n, e, want)
	}
}

// A burst is free, and what comes behind it waits as long as it takes at the rate.
func TestABurst(t *testing.T) {
	m, r, now := &Meter{}, &Rate{"r", 10, 5}, time.Now()
	take(t, m, r, 1, 5, now, Excess{})
	tenth := time.Second / 10
	take(t, m, r, 1, 1, now, Excess{Wait: tenth, More: tenth, IsFirst: true})
	take(t, m, r, 2, 1, now, Excess{Wait: 3 * tenth, More: 2 * tenth})
	if m.IsFull(now.Add(7 * tenth)) {
		t.Error("it is full too early")
	}
	if !m.IsFull(now.Add(9 * tenth)) {
		t.Error("it is not full")
	}
	take(t, m, r, 100, 1, now.Add(9*tenth), Excess{}) // never more than a burst
}

// Rates do not count for each other. Waits of one client add up only where they do not overlap.
func TestTwoRates(t *testing.T) {
	m, a, b, now := &Meter{}, &Rate{"a", 10, 1}, &Rate{"b", 5, 1}, time.Now()
	take(t, m, a, 1, 1, now, Excess{})
	take(t, m, b, 1, 1, now, Excess{})
	take(t, m, a, 1, 1, now, Excess{Wait: 100 * time.Millisecond, More: 100 * time.Millisecond, IsFirst: true})
	take(t, m, b, 1, 1, now, Excess{Wait: 200 * time.Millisecond, More: 100 * time.Millisecond})
	take(t, m, a, 1, 1, now, Excess{Wait: 200 * time.Millisecond})
}

// A fast rate does not cause a wait for each packet, except where that would make the client slower than its rate.
func TestShortWaits(t *testing.T) {
	now := time.Now()
	take(t, &Meter{}, &Rate{"fast", 10_000, 1000}, 1, 1001, now, Excess{Wait: LeastWait, More: LeastWait, IsFirst: true})
	take(t, &Meter{}, &Rate{"fast, with a small burst", 10_000, 10}, 1, 11, now,
		Excess{Wait: time.Millisecond, More: time.Millisecond, IsFirst: true})
}

// Since begins again after a calm second.
func TestSince(t *testing.T) {
	m, r, now := &Meter{}, &Rate{"r", 10, 1}, time.Now()
	take(t, m, r, 1, 1, now, Excess{})
	tenth := time.Second / 10
	for i := range 30 {
		at := now.Add(time.Duration(i) * tenth)
		take(t, m, r, 1, 1, at, Excess{Wait: tenth, More: tenth, IsFirst: i == 0, Since: at.Sub(now)})
	}
	now = now.Add(time.Minute)
	take(t, m, r, 1, 1, now, Excess{})
	take(t, m, r, 1, 1, now, Excess{Wait: tenth, More: tenth, IsFirst: true})
}
