// Package process reads the CPU time and memory of processes from /proc.
package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Roles of processes. The service is the application; its cost is not part of a contestant's.
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

// CPU returns the CPU time of a process in seconds, from the nanoseconds of its threads' schedstat; or, where the
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

// userHZ is the number of ticks per second in /proc, on every platform that Go knows.
const userHZ = 100

func ticks(pid int) (float64, error) {
	file := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // after the program's name, which may have spaces
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

// Busy returns the CPU time in seconds of all cores of the machine.
func Busy() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var sum float64
	for i, field := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 7 { // the name; idle, iowait; guests, which are part of user
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

// PSS returns the memory of a process in bytes, with its share of what it shares with others.
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

// Slab returns the memory of the kernel's structures in bytes, such as those of sockets and open files.
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
