package node

import "testing"

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
