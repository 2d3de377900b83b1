package load

import "math/bits"

// Latencies are counted in buckets: 32 for each doubling, so a quantile is at most 3 percent off.
const (
	subBits = 5
	subs    = 1 << subBits
)

// histogram counts durations in nanoseconds.
type histogram struct {
	buckets [64 * subs]int64
	count   int64
	most    int64 // ns
}

func (h *histogram) add(ns int64) {
	ns = max(ns, 0)
	h.buckets[bucket(ns)]++
	h.count++
	h.most = max(h.most, ns)
}

func bucket(ns int64) int {
	if ns < subs {
		return int(ns)
	}
	shift := bits.Len64(uint64(ns)) - subBits - 1
	return (shift+1)*subs + int(ns>>shift) - subs
}

// upper is the largest duration in ns that a bucket counts.
func upper(bucket int) int64 {
	if bucket < subs {
		return int64(bucket)
	}
	shift := bucket/subs - 1
	return (int64(bucket%subs+subs)+1)<<shift - 1
}

// quantile is the duration in ns that a share q of all does not exceed.
func (h *histogram) quantile(q float64) int64 {
	rank := int64(q * float64(h.count))
	var n int64
	for i, c := range h.buckets {
		if n += c; n > rank {
			return min(upper(i), h.most)
		}
	}
	return h.most
}
