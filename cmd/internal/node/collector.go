package node

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage there may be where GOGC does not say otherwise. An edge with many clients is mostly memory that stays: with
// Go's default, as much garbage as that, 10,000 idle connections would be 1.5 kB each more. An edge with few would collect
// some thirty times a second under load, which is a tenth of what an echo costs.
const (
	garbagePercent = 50      // of what stays
	garbageAlways  = 8 << 20 // bytes
	// mostPercent bounds what a crowd that comes at once can cost: a cycle is noticed some time after it has ended, and until
	// then the percentage is that for the few who were there before.
	mostPercent = 200
)

// paceCollector keeps garbagePercent or garbageAlways, whichever is more, unless the operator has set GOGC.
func paceCollector() {
	if os.Getenv("GOGC") == "" {
		(&cycle{percent: 100}).next()
	}
}

// cycle is garbage at once, so that its finalizer runs once in every cycle of the collector.
type cycle struct {
	percent int
	_       *cycle // a small value without pointers would share its memory with others, and stay as long as they do
}

// next sets what the next cycle shall be like.
func (c *cycle) next() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	metrics.Read(live)
	if percent := percentFor(live[0].Value.Uint64() + live[1].Value.Uint64()); percent != c.percent {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
	runtime.SetFinalizer(&cycle{percent: c.percent}, (*cycle).next)
}

// percentFor is the percentage for a number of bytes that stay, in steps, because each change stops all goroutines for a
// moment.
func percentFor(live uint64) int {
	percent := mostPercent
	for percent > garbagePercent && uint64(percent)*live/100 >= 2*garbageAlways {
		percent /= 2
	}
	return percent
}
