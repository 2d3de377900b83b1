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

// A buffer has the room that was asked for, also when others were taken back that are of no use.
func TestRoom(t *testing.T) {
	for _, size := range []int{0, 1, first, first + 1, largeFrom, largeFrom + 1, 1_000_000, largeFrom << len(large)} {
		for range 3 {
			lent := Room(size)
			if cap(*lent) < max(size, first) {
				t.Errorf("for %d bytes there is a buffer of %d", size, cap(*lent))
			}
			PutGrown(lent, append((*lent)[:0], make([]byte, size)...))
			PutGrown(new([]byte), nil)
			PutGrown(new([]byte), make([]byte, 0, size))
		}
		if lent := Get(); cap(*lent) < first || cap(*lent) >= largeFrom {
			t.Errorf("after one for %d bytes there is a buffer of %d", size, cap(*lent))
		}
	}
}

// A buffer that was not needed is kept. sync.Pool may drop one, in a race test it drops many.
func TestUnneededBuffersAreKept(t *testing.T) {
	allocs := testing.AllocsPerRun(100, func() { PutGrown(Get(), nil) })
	if allocs > 1 {
		t.Errorf("a buffer that is not needed costs %.1f allocations", allocs)
	}
}
