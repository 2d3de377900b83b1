package liveness

import (
	"slices"
	"testing"
	"time"
)

func TestSilenceEnds(t *testing.T) {
	table, now := New(3*time.Second), time.Unix(1000, 0)
	if !table.Heard("a", now) || table.Heard("a", now) || !table.Heard("b", now.Add(2*time.Second)) {
		t.Error("the first sign of life is the first, and no other")
	}
	if dead := table.Expire(now.Add(3 * time.Second)); dead != nil {
		t.Errorf("%v died too soon", dead)
	}
	if dead := table.Expire(now.Add(3*time.Second + 1)); !slices.Equal(dead, []string{"a"}) || table.Lives("a") ||
		!table.Lives("b") {
		t.Errorf("%v died, want a", dead)
	}
	table.Forgive(now.Add(time.Minute))
	if dead := table.Expire(now.Add(time.Minute + time.Second)); dead != nil ||
		!slices.Equal(table.Members(), []string{"b"}) {
		t.Errorf("%v died, but was forgiven", dead)
	}
	if !table.Remove("b") || table.Remove("b") || len(table.Members()) != 0 {
		t.Error("a part that said goodbye is still there")
	}
}
