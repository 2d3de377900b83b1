package node

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// The pace follows what stays for as long as the process lives, whatever small values stay meanwhile.
func TestPaceGoesOn(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	(&cycle{percent: 100}).next()
	var small []*int64
	for range 5 {
		for _, size := range []int{4 * garbageAlways * 100 / garbagePercent, 1} {
			large := make([]byte, size)
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				small = append(small, new(int64))
				runtime.GC()
				now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
				if metrics.Read(now); (now[0].Value.Uint64() == garbagePercent) == (size > 1) {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%d bytes stay, and %d%% of that may be garbage", size, now[0].Value.Uint64())
				}
			}
			runtime.KeepAlive(large)
		}
	}
	runtime.KeepAlive(small)
}

func TestGarbageIsBounded(t *testing.T) {
	for _, live := range []uint64{0, 1 << 20, 3 << 20, 10 << 20, 30 << 20, 64 << 20, 1 << 30, 1 << 40} {
		percent := percentFor(live)
		garbage := live * uint64(percent) / 100
		if percent < garbagePercent || percent > mostPercent {
			t.Errorf("%d%% for %d bytes", percent, live)
		}
		if percent > garbagePercent && garbage >= 2*garbageAlways || percent < mostPercent && garbage < min(garbageAlways, live*garbagePercent/100) {
			t.Errorf("%d bytes of garbage beside %d that stay", garbage, live)
		}
	}
}
