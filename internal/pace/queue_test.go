package pace_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"partyline/internal/pace"
)

// drain calls a queue as its owner does until it is empty, and returns when each item came.
func drain(q *pace.Queue[int], now time.Time) (values []int, at []time.Time) {
	for {
		for i := q.Next(now); i != nil; i = q.Next(now) {
			values, at = append(values, i.Value), append(at, now)
		}
		if q.Len() == 0 {
			return values, at
		}
		now = now.Add(q.Wait(now))
	}
}

// TestQueueKeepsItsRate checks that items that are due at once come at the rate, and that no burst follows an idle
// time.
func TestQueueKeepsItsRate(t *testing.T) {
	const items, perSecond = 10_000, 2000
	q := pace.NewQueue[int](perSecond, func() {})
	began := time.Unix(1_000_000, 0)
	for i := range items {
		q.Set(&pace.Item[int]{Value: i}, began.Add(time.Hour))
	}
	values, at := drain(q, began)
	if len(values) != items {
		t.Fatalf("%d items came, want %d", len(values), items)
	}
	if took := at[items-1].Sub(at[0]); took < 4900*time.Millisecond || took > 5100*time.Millisecond {
		t.Errorf("they took %s, want 5 s", took)
	}
	for i := range at {
		if at[i].Before(began.Add(time.Hour)) {
			t.Fatalf("item %d came %s too early", i, began.Add(time.Hour).Sub(at[i]))
		}
		if j := i + perSecond/10 + perSecond/50 + 1; j < items && at[j].Sub(at[i]) < 100*time.Millisecond {
			t.Fatalf("%d items came within %s", j-i, at[j].Sub(at[i]))
		}
	}
}

// TestQueueIsInOrder checks that items come in the order of their times, also after a change, and removed ones never.
func TestQueueIsInOrder(t *testing.T) {
	q := pace.NewQueue[int](1<<30, func() {})
	began := time.Unix(1_000_000, 0)
	all := make([]pace.Item[int], 1000)
	for i := range all {
		all[i].Value = i
		q.Set(&all[i], began.Add(time.Duration(rand.IntN(1000))*time.Second))
	}
	for i := range all {
		switch i % 3 {
		case 0:
			q.Remove(&all[i])
			q.Remove(&all[i]) // it is not there, so nothing happens
		case 1:
			q.Set(&all[i], began.Add(time.Duration(i)*time.Second))
		}
	}
	values, at := drain(q, began)
	if len(values) != 666 || !slices.IsSortedFunc(at, time.Time.Compare) {
		t.Fatalf("%d items came", len(values))
	}
	for i, value := range values {
		if value%3 == 0 || !at[i].Equal(all[value].At()) && at[i].Sub(all[value].At()) > 20*time.Millisecond ||
			all[value].Queued() {
			t.Fatalf("item %d came at %s, set for %s", value, at[i], all[value].At())
		}
	}
	if q.Len() != 0 {
		t.Error("the queue is not empty")
	}
}
