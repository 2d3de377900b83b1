package enginetest

import (
	"testing"
	"time"
)

// Allocs returns how many allocations fn makes, as testing.AllocsPerRun counts them, in the best of up to 200 short
// rounds. It stops at a round with at most enough.
//
// testing.AllocsPerRun counts the allocations of every goroutine of the process: also of the clients that read what fn
// sends, and of the NATS server. It keeps them off the processor. On a busy machine the kernel delays fn for so long
// that they run all the same (42 to 198 allocations instead of 2 in 4 of 40 runs). That only adds: an allocation of fn
// is in every round.
func Allocs(enough float64, fn func()) float64 {
	const rounds, runs = 200, 20
	least := testing.AllocsPerRun(runs, fn)
	for range rounds {
		if least <= enough {
			break
		}
		time.Sleep(time.Millisecond) // the others finish their work
		least = min(least, testing.AllocsPerRun(runs, fn))
	}
	return least
}
