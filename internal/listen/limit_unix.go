//go:build unix

package listen

import (
	"math"
	"syscall"
)

// mostConnections returns how many connections the limit of open files allows. Go has raised the soft limit to the
// hard one when the process started (package os).
func mostConnections() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	most := int(min(uint64(limit.Cur), math.MaxInt32))
	return most - spare(most)
}
