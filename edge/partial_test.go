package edge

import "testing"

// A packet is overdue only if no part of it has come from one heartbeat to the next, while the session was read.
func TestBeatsWhileAttachmentsAreDue(t *testing.T) {
	c := &connection{}
	for _, step := range []struct {
		what string
		do   func()
		want int32
	}{
		{"a beat", func() { c.Beat(true) }, nothingDue},
		{"a part", func() { c.progress.Store(partArrived) }, partArrived},
		{"a beat", func() { c.Beat(true) }, partOverdue},
		{"a part", func() { c.progress.Store(partArrived) }, partArrived},
		{"a beat", func() { c.Beat(true) }, partOverdue},
		{"a beat of a session that is not read", func() { c.Beat(false) }, partArrived},
		{"a beat", func() { c.Beat(true) }, partOverdue},
		{"the last part", func() { c.progress.Store(nothingDue) }, nothingDue},
		{"a beat", func() { c.Beat(true) }, nothingDue},
	} {
		if step.do(); c.progress.Load() != step.want {
			t.Fatalf("after %s: %d, want %d", step.what, c.progress.Load(), step.want)
		}
	}
}
