package memory

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// What is live counts from the next collection on, until one finds it free. Garbage does not count.
func TestMeter(t *testing.T) {
	const size = 64 << 20
	m := NewMeter()
	runtime.GC()
	before, first := m.Read()
	live := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		live[i] = 1
	}
	runtime.GC()
	with, second := m.Read()
	if with < before+size || with > before+size*3/2 {
		t.Errorf("%d bytes with %d live ones, %d without", with, size, before)
	}
	if second <= first {
		t.Errorf("%d collections, and then %d", first, second)
	}
	runtime.KeepAlive(live)
	live = nil
	runtime.GC()
	if after, _ := m.Read(); after > before+size/2 {
		t.Errorf("%d bytes after it was freed, %d before", after, before)
	}
}

// Watch reports until its context ends, and once memory was given back it does not report more than the limit before
// that was collected.
func TestWatch(t *testing.T) {
	const size = 64 << 20
	live := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		live[i] = 1
	}
	runtime.GC()
	used, _ := NewMeter().Read()
	limit := used - size/4
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var seen []uint64
	Watch(ctx, limit, func(used uint64) {
		seen = append(seen, used)
		if runtime.KeepAlive(live); len(seen) == 1 {
			live = nil
		} else {
			cancel()
		}
	})
	if len(seen) != 2 || seen[0] <= limit || seen[1] >= limit {
		t.Errorf("with a limit of %d bytes it saw %d", limit, seen)
	}
}
