package report

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Machine describes the machine of a measurement.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Node   string `json:"node"`
	Redis  string `json:"redis"`
}

// ThisMachine describes this machine, from /proc and the programs. What is unknown stays empty.
func ThisMachine() Machine {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	release, _, _ := strings.Cut(strings.TrimSpace(string(kernel)), "-") // the build follows
	return Machine{
		CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Memory: field("/proc/meminfo", "MemTotal"),
		Kernel: release, Go: strings.TrimPrefix(runtime.Version(), "go"),
		Node: strings.TrimPrefix(output("node", "--version"), "v"), Redis: word(output("redis-server", "--version"), "v="),
	}
}

// field returns the first value of a name in a file of /proc.
func field(file, name string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func output(name string, args ...string) string {
	text, _ := exec.Command(name, args...).Output()
	return strings.TrimSpace(string(text))
}

// word returns what follows a prefix in a text, up to a space.
func word(text, prefix string) string {
	for _, w := range strings.Fields(text) {
		if rest, ok := strings.CutPrefix(w, prefix); ok {
			return rest
		}
	}
	return ""
}
