package liveness

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	var c Clock
	now := time.Now()
	if away := c.Away(now); away != 0 {
		t.Errorf("a clock that never ticked says %v", away)
	}
	c.Tick(now)
	if away := c.Away(now.Add(3 * time.Second)); away != 3*time.Second {
		t.Errorf("%v", away)
	}
	c.Tick(now.Add(3 * time.Second))
	if away := c.Away(now.Add(2 * time.Second)); away > 0 { // the wall clock was set back
		t.Errorf("%v", away)
	}
}

func TestListener(t *testing.T) {
	var l Listener
	now := time.Now()
	for i, step := range []struct {
		connected bool
		after     time.Duration
		deaf      bool
	}{{true, 0, true}, {true, time.Second, false}, {true, time.Second + 1, true}, {true, 1, false}, {false, 1, true},
		{true, 1, true}, {true, 1, false}, {true, -time.Hour, false}} {
		now = now.Add(step.after)
		if got := l.WasDeaf(step.connected, now, time.Second); got != step.deaf {
			t.Errorf("step %d: %v", i, got)
		}
	}
}
