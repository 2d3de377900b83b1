package node

import (
	"log/slog"
	"math"
	"os"
	"runtime/debug"

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
