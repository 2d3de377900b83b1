package config

import (
	"math"
	"strconv"
	"strings"
)

// memoryUnits are the units of limits.memory, in bytes.
var memoryUnits = []struct {
	name  string
	bytes float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"", 1}}

// MemoryOf returns limits.memory in bytes: a share in percent is one of process, the limit of the process in bytes. It
// returns 0 for no limit, also for a share of a process without one (process is 0).
func MemoryOf(memory string, process uint64) uint64 {
	number, unit, _ := splitMemory(memory)
	if unit == share {
		return uint64(number / 100 * float64(process))
	}
	return uint64(number * unit)
}

// memorySize is the check of limits.memory.
func memorySize(s string) (normal, problem string) {
	number, unit, ok := splitMemory(s)
	switch {
	case !ok || number < 0 || number > math.MaxInt32 && unit != 1:
		problem = quote(s) + " is not an amount of memory; write a share such as 80%, bytes such as 512MiB, or 0 for no limit"
	case unit == share && number > 100:
		problem = quote(s) + " is more than the whole limit; write at most 100%"
	case number > 0 && unit != share && number*unit < leastMemory:
		problem = quote(s) + " is less than an edge needs; write at least 64MiB"
	}
	return s, problem
}

// leastMemory is the least limits.memory, in bytes.
const leastMemory = 64 << 20

// share is the unit of a percentage.
const share = 0

// splitMemory splits a number from its unit, in bytes.
func splitMemory(s string) (number, unit float64, ok bool) {
	digits := strings.TrimRight(s, "%KMGTiB")
	name := strings.TrimPrefix(s, digits)
	n, err := strconv.ParseUint(digits, 10, 53)
	for _, u := range memoryUnits {
		if u.name == name {
			return float64(n), u.bytes, err == nil
		}
	}
	return float64(n), share, err == nil && name == "%"
}
