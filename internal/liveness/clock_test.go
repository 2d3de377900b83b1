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
	if away := c.Away(now.Add(2 * time.Second)); away > 0 { // somebody has set the wall clock back
		t.Errorf("%v", away)
	}
}
