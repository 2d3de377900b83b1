// Package process reads what a process costs from /proc.
package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Roles of processes. The service is the application and counts for nobody.
const (
	Server  = "server"
	Broker  = "broker"
	Service = "service"
)

// Watched is a process whose cost is measured.
type Watched struct {
	Name string
	Role string
	PID  int
}

// CPU is the time in seconds that a process has spent on a core, from the nanoseconds of its threads' schedstat; or, where the
// kernel has none, from its ticks.
func CPU(pid int) (float64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has just ended
		}
		first, _, _ := bytes.Cut(text, []byte(" "))
		ns, err := strconv.ParseFloat(string(first), 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		sum += ns / 1e9
	}
	if sum > 0 {
		return sum, nil
	}
	return ticks(pid)
}

// userHZ is how many ticks /proc counts in a second, on every platform that Go knows.
const userHZ = 100

func ticks(pid int) (float64, error) {
	file := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the program's name, which may have spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s: %d fields", file, len(fields))
	}
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return (user + system) / userHZ, nil
}

// Busy is the time in seconds that all cores of the machine have worked.
func Busy() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var sum float64
	for i, field := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 7 { // the name; idle, iowait; guests, who are in user already
			continue
		}
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		sum += n / userHZ
	}
	return sum, nil
}

// PSS is the memory in bytes that a process occupies; what it shares with others counts in parts.
func PSS(pid int) (int64, error) {
	file := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("%s has no Pss", file)
}

// Slab is the memory in bytes of the kernel's own structures, for sockets and open files among others.
func Slab() (int64, error) {
	const file = "/proc/meminfo"
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Slab:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("%s has no Slab", file)
}
