package load

import "math/bits"

// Latencies are counted in buckets: 32 for each doubling, so a quantile is at most 3 percent off.
const (
	subBits = 5
	subs    = 1 << subBits
)

// Histogram counts durations in nanoseconds.
type Histogram struct {
	Buckets []int64 // grows as needed
	Count   int64
	Most    int64 // ns
}

// Add counts a duration.
func (h *Histogram) Add(ns int64) {
	ns = max(ns, 0)
	b := bucket(ns)
	if b >= len(h.Buckets) {
		h.Buckets = append(h.Buckets, make([]int64, b+1-len(h.Buckets))...)
	}
	h.Buckets[b]++
	h.Count++
	h.Most = max(h.Most, ns)
}

// Merge adds what another one has counted.
func (h *Histogram) Merge(other *Histogram) {
	if more := len(other.Buckets) - len(h.Buckets); more > 0 {
		h.Buckets = append(h.Buckets, make([]int64, more)...)
	}
	for i, n := range other.Buckets {
		h.Buckets[i] += n
	}
	h.Count += other.Count
	h.Most = max(h.Most, other.Most)
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

// Quantile is the duration in ns that a share q of all does not exceed.
func (h *Histogram) Quantile(q float64) int64 {
	rank := int64(q * float64(h.Count))
	var n int64
	for i, c := range h.Buckets {
		if n += c; n > rank {
			return min(upper(i), h.Most)
		}
	}
	return h.Most
}
