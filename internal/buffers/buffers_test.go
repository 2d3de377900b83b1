package buffers

import (
	"bytes"
	"testing"
)

// A message of any size is read in few steps, and its buffer is not larger than Grow says.
func TestGrow(t *testing.T) {
	const most = 1_000_000
	for _, size := range []int{0, 1, first, largeFrom, most, 2 * most} {
		message := bytes.Repeat([]byte("x"), size)
		for round := range 3 {
			lent := Get()
			buf, steps := (*lent)[:0], 0
			for rest := message; ; steps++ {
				n := copy(buf[len(buf):cap(buf)], rest)
				if buf, rest = buf[:len(buf)+n], rest[n:]; len(rest) == 0 {
					break
				}
				buf = Grow(buf, most)
			}
			if !bytes.Equal(buf, message) {
				t.Fatalf("a message of %d bytes was read as %d", size, len(buf))
			}
			if size <= most && (steps > 8 || cap(buf) > max(first, step*(step*size+leastRoom))) {
				t.Errorf("round %d: %d bytes are in %d after %d steps", round, size, cap(buf), steps)
			}
			if own := Own(lent, buf); !bytes.Equal(own, message) || cap(own) > len(own)+len(own)/4+64 {
				t.Errorf("the copy has %d of %d bytes", len(own), cap(own))
			}
		}
	}
}

// A body without a buffer begins with little.
func TestGrowFromNothing(t *testing.T) {
	if buf := Grow(nil, 1_000_000); len(buf) != 0 || cap(buf) < leastRoom || cap(buf) > first {
		t.Errorf("the first buffer has %d of %d bytes", len(buf), cap(buf))
	}
}
