package turn

import (
	"runtime/metrics"
	"testing"
	"testing/synctest"
	"time"
)

// A turn rests for some times as long as it worked. Rests that are too short for a timer add up.
func TestTurnsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New()
		turns.free = make(chan struct{}, 1)
		turns.rest.Store(4)
		begin := time.Now()
		for range 20 {
			turns.Begin(new(Turn))
			turns.rest.Store(4)
			turns.end(100 * time.Microsecond)
		}
		turns.Begin(new(Turn))
		if took := time.Since(begin); took < 7*time.Millisecond || took > 8*time.Millisecond {
			t.Errorf("after 20 turns of 0.1 ms it rested for %s, want 4 times as long", took)
		}
		turns.end(0)
	})
}

// Rests grow while goroutines wait for long, and end when they do not.
func TestRestsFollowTheWaits(t *testing.T) {
	turns := New()
	turns.check(time.Now())
	if turns.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		t.Fatalf("Go has no %s", waitsMetric)
	}
	note := func(all uint64, at time.Time, want int64) {
		t.Helper()
		for range 20 {
			turns.note(waits{all: turns.before.all + all, long: turns.before.long + 1}, at)
		}
		if rest := turns.rest.Load(); rest != want {
			t.Errorf("a turn rests %d times, want %d", rest, want)
		}
	}
	at := time.Now()
	note(100, at, 0) // all clients are busy
	turns.quiet.Store(at.UnixNano())
	note(100, at, mostRest)
	note(1000, at, 0)
	note(100, at, mostRest)
	note(100, at.Add(quietLasts), 0)
}

// Requests count for each address. One that sends many is busy for a second or two.
func TestBusyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c callers
		time.Sleep(time.Second)
		for i := range 3 * callsOften {
			if got, want := c.isBusy("192.0.2.1", time.Now()), i >= callsOften; got != want {
				t.Fatalf("request %d: busy is %v", i+1, got)
			}
		}
		if c.isBusy("192.0.2.2", time.Now()) {
			t.Error("another address is busy")
		}
		time.Sleep(time.Second)
		if !c.isBusy("192.0.2.1", time.Now()) {
			t.Error("in the next second it is not busy")
		}
		time.Sleep(time.Second)
		if c.isBusy("192.0.2.1", time.Now()) {
			t.Error("after a quiet second it is busy")
		}
	})
}
