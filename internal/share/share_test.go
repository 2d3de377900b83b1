package share

import (
	"fmt"
	"testing"
)

func TestShares(t *testing.T) {
	s := New(1024)
	for i, want := range []int{512, 256, 128, 64, 32} {
		name := fmt.Sprint(i)
		if s.Take(name, want+1, 0) {
			t.Fatalf("%s gets more than %d", name, want)
		}
		for n := range want {
			if !s.Take(name, 1, 0) {
				t.Fatalf("%s gets %d, want %d", name, n, want)
			}
		}
		if s.Take(name, 1, 0) {
			t.Fatalf("%s gets more than %d", name, want)
		}
	}
	if !s.Take("none", 0, 1024) {
		t.Error("nothing cannot be taken")
	}
	for i, n := range []int{512, 256, 128, 64, 32} {
		s.Add(fmt.Sprint(i), -n)
	}
	if s.Used() != 0 || len(s.by) != 0 {
		t.Errorf("%d places are taken, by %v", s.Used(), s.by)
	}
	if s.Take("a", 257, 512) || !s.Take("a", 256, 512) {
		t.Error("reserved places do not count")
	}
}
