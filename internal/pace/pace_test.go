package pace_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"partyline/internal/pace"
)

// TestSpread tries rates and ends of ctx with a fake clock.
func TestSpread(t *testing.T) {
	const items = 1000
	for _, c := range []struct {
		name           string
		rate           int
		deadline       time.Duration
		cancel         time.Duration // 0: never
		done           int           // at least
		shortest, most time.Duration
	}{
		{"at its rate", 100, time.Hour, 0, items, 9900 * time.Millisecond, 10100 * time.Millisecond},
		{"slower than its steps", 2, time.Hour, 0, items, 499 * time.Second, 500 * time.Second},
		{"faster than its steps", 100_000, time.Hour, 0, items, 0, 50 * time.Millisecond},
		{"the rest at the deadline", 100, 3 * time.Second, 0, items, 3 * time.Second, 3 * time.Second},
		{"no time at all", 100, 0, 0, items, 0, 0},
		{"no rate", 0, time.Hour, 0, items, 0, 0},
		{"cancelled", 100, time.Hour, 3 * time.Second, 299, 3 * time.Second, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				if c.cancel > 0 {
					defer time.AfterFunc(c.cancel, cancel).Stop()
				}
				began, count := time.Now(), 0
				pace.Spread(ctx, c.rate, make([]int, items), func(int) { count++ })
				if took := time.Since(began); took < c.shortest || took > c.most {
					t.Errorf("it took %s, want %s to %s", took, c.shortest, c.most)
				}
				if count < c.done || c.cancel > 0 && count > c.done+10 {
					t.Errorf("%d of %d were done", count, items)
				}
			})
		})
	}
}

// A Drain reads at once what it reads in a second, then goes on at its rate, and gives up in time.
func TestDrain(t *testing.T) {
	for _, c := range []struct{ bytes, want int64 }{{500, 500}, {1900, 1900}, {10_000, 2000}} {
		synctest.Test(t, func(t *testing.T) {
			began, in := time.Now(), strings.NewReader(strings.Repeat("x", int(c.bytes)))
			pace.NewDrain(1000).Discard(in, 5000, time.Second)
			if read, took := c.bytes-int64(in.Len()), time.Since(began); read < c.want || read > 4000 || took > time.Second {
				t.Errorf("of %d bytes %d were read in %v, want %d", c.bytes, read, took, c.want)
			}
		})
	}
	in := strings.NewReader("xxxxxxxxxx")
	if pace.NewDrain(1000).Discard(in, 4, time.Second); in.Len() != 6 {
		t.Errorf("%d of 10 bytes are left, want 6", in.Len())
	}
}
