package config

import "testing"

func TestMemory(t *testing.T) {
	const process = 1000 << 20
	for text, want := range map[string]uint64{
		"80%": 800 << 20, "100%": process, "0": 0, "0%": 0, "64MiB": 64 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40,
		"134217728": 128 << 20, "131072KiB": 128 << 20,
	} {
		if _, problem := memorySize(text); problem != "" {
			t.Errorf("%s: %s", text, problem)
		}
		if got := MemoryOf(text, process); got != want {
			t.Errorf("%s is %d bytes, want %d", text, got, want)
		}
	}
	for _, text := range []string{"", "-1", "%", "80 %", "1.5GiB", "512MB", "512M", "1GiBiB", "101%", "9999999999GiB", "63MiB", "99999999999999999999", "x"} {
		if _, problem := memorySize(text); problem == "" {
			t.Errorf("%q is accepted", text)
		}
	}
	if got := MemoryOf("80%", 0); got != 0 {
		t.Errorf("a share of no limit is %d bytes, want none", got)
	}
}
