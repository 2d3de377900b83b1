package front

import (
	"context"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"partyline/config"
)

// goLimit is the variable with the memory limit of the Go runtime.
const goLimit = "GOMEMLIMIT"

// limitMemory returns limits.memory in bytes; 0 for no limit. It also makes the garbage collector keep the process
// below that, unless GOMEMLIMIT is set.
func limitMemory(setting string, log *slog.Logger) uint64 {
	process, from := processLimit()
	limit := config.MemoryOf(setting, process)
	if limit == 0 {
		log.Info("the memory of the process is not limited", "limits.memory", setting)
		return 0
	}
	if os.Getenv(goLimit) == "" {
		debug.SetMemoryLimit(int64(min(limit, math.MaxInt64)))
	}
	log.Info("memory is limited", "limits.memory", setting, "bytes", limit, "process", process, "from", from)
	return limit
}

// processLimit returns the memory that the process may use, in bytes, and what limits it: GOMEMLIMIT, its cgroup, or
// the memory of the machine. It returns 0 if none is known.
func processLimit() (limit uint64, from string) {
	if own := debug.SetMemoryLimit(-1); os.Getenv(goLimit) != "" && own != math.MaxInt64 {
		return uint64(own), goLimit
	}
	if limit, err := memlimit.FromCgroup(); err == nil {
		return limit, "cgroup"
	}
	if limit, err := memlimit.FromSystem(); err == nil {
		return limit, "machine"
	}
	return 0, "unknown"
}

// When memory is returned to the system. A crowd of new sessions leaves as much garbage as it has live memory. Go
// would keep that for later garbage until the next collection, which may be two minutes away, and return it bit by
// bit after that. With 10,000 idle connections that is a quarter of the memory. The collection takes 30 ms of CPU.
const (
	tidyEvery = 2 * time.Second
	crowd     = 1000 // sessions that have begun or ended
	calm      = 100  // at most so many of them in tidyEvery
)

// tidy calls giveBack whenever a crowd of sessions has begun or ended and it is calm again. moved returns how many
// sessions have begun and ended since the start.
func tidy(ctx context.Context, moved func() uint64, giveBack func()) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	var seen, tidied uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := moved()
		if now-tidied >= crowd && now-seen <= calm {
			giveBack()
			tidied = now
		}
		seen = now
	}
}
