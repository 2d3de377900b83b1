package memory

import (
	"runtime"
	"testing"
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
