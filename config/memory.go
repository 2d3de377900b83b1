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
	if unit == "%" {
		return uint64(number / 100 * float64(process))
	}
	return uint64(inBytes(number, unit))
}

// inBytes returns an amount of a unit in bytes. It may be too large for an integer.
func inBytes(number float64, unit string) float64 {
	for _, u := range memoryUnits {
		if u.name == unit {
			return number * u.bytes
		}
	}
	return number
}

// memorySize is the check of limits.memory.
func memorySize(s string) (normal, problem string) {
	number, unit, ok := splitMemory(s)
	switch {
	case !ok || number < 0 || number > math.MaxInt32 && unit != "":
		problem = quote(s) + " is not an amount of memory; write a share such as 80%, bytes such as 512MiB, or 0 for no limit"
	case unit == "%" && number > 100:
		problem = quote(s) + " is more than the whole limit; write at most 100%"
	case number > 0 && unit != "%" && MemoryOf(s, 0) < leastMemory:
		problem = quote(s) + " is less than an edge needs; write at least 64MiB"
	}
	return s, problem
}

// leastMemory is the least limits.memory, in bytes.
const leastMemory = 64 << 20

// splitMemory splits a number from its unit.
func splitMemory(s string) (number float64, unit string, ok bool) {
	digits := strings.TrimRight(s, "%KMGTiB")
	unit = strings.TrimPrefix(s, digits)
	n, err := strconv.ParseUint(digits, 10, 53)
	known := unit == "%"
	for _, u := range memoryUnits {
		known = known || u.name == unit
	}
	return float64(n), unit, err == nil && known
}
