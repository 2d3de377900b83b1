package eventlog

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestRecent(t *testing.T) {
	var r Recent
	if r.From(5) != 5 {
		t.Error("it remembers something")
	}
	for _, seq := range []uint64{20, 21, 26, 24, 26} { // 24 is late
		r.Add(seq)
	}
	if r.Lacks(24) || r.Lacks(20) || !r.Lacks(23) || r.Lacks(18) || r.From(1<<40) != 19 {
		t.Errorf("%+v", r)
	}
	if c := r.Copy(); true {
		c.Add(25)
		if !r.Lacks(25) {
			t.Error("a copy is none")
		}
	}
	r.Forget(24)
	if r.Lacks(22) || !r.Lacks(25) || r.Lacks(26) || r.From(1<<40) != 24 {
		t.Errorf("%+v", r)
	}
	now := time.Now()
	r.Age(now, 26)
	r.Add(27)
	if r.Age(now.Add(keepRecent-1), 27); r.From(1<<40) != 24 {
		t.Error("it forgets early")
	}
	if r.Age(now.Add(keepRecent), 27); !r.Lacks(28) || r.Lacks(27) || r.From(1<<40) != 26 {
		t.Errorf("%+v", r)
	}
}

// However much comes, in order or late, it remembers all behind From, and not without bounds.
func TestRecentIsBounded(t *testing.T) {
	var r Recent
	came := make(map[uint64]bool)
	for seq := uint64(1); seq < 5*maxRecent; seq++ {
		at := seq
		if rand.IntN(10) == 0 {
			at -= min(at-1, rand.Uint64N(50))
		}
		came[at] = true
		r.Add(at)
		if len(r.seqs) > maxRecent {
			t.Fatalf("it remembers %d", len(r.seqs))
		}
	}
	for seq := r.From(1<<40) + 1; seq < 5*maxRecent; seq++ {
		if r.Lacks(seq) == came[seq] {
			t.Fatalf("%d: %v", seq, came[seq])
		}
	}
}
