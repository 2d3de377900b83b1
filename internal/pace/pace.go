// Package pace spreads work over time.
package pace

import (
	"container/heap"
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/time/rate"
)

// grain is how long a Queue collects due items that it then returns together, and no more than those.
const grain = 20 * time.Millisecond

// Queue keeps items until their times, and returns at most perSecond of them each second, the earliest first. It has
// no clock and no goroutine: the caller passes the time, and calls Wait to find when Next may have an item. It is not
// safe for concurrent use.
type Queue[T any] struct {
	limiter *rate.Limiter
	wake    func() // see NewQueue
	items   items[T]
	at      time.Time // when an item was due last
}

// Item is a place in a Queue. It may be in one queue at a time. The zero Item is in none.
type Item[T any] struct {
	Value T
	at    time.Time
	place int // index among the items, plus one; 0: in no queue
}

// Queued reports whether the item is in a queue.
func (i *Item[T]) Queued() bool { return i.place > 0 }

// At returns the time of the last Set.
func (i *Item[T]) At() time.Time { return i.at }

// NewQueue makes a Queue that returns at most perSecond items each second. Set calls wake if its item has become the
// earliest.
func NewQueue[T any](perSecond int, wake func()) *Queue[T] {
	burst := max(1, perSecond*int(grain)/int(time.Second))
	return &Queue[T]{limiter: rate.NewLimiter(rate.Limit(perSecond), burst), wake: wake}
}

// Len returns the number of items.
func (q *Queue[T]) Len() int { return len(q.items) }

// Set adds an item to the queue, or changes its time.
func (q *Queue[T]) Set(i *Item[T], at time.Time) {
	i.at = at
	if i.Queued() {
		heap.Fix(&q.items, i.place-1)
	} else {
		heap.Push(&q.items, i)
	}
	if i.place == 1 {
		q.wake()
	}
}

// Remove removes an item from the queue, if it is there.
func (q *Queue[T]) Remove(i *Item[T]) {
	if i.Queued() {
		heap.Remove(&q.items, i.place-1)
	}
}

// Next removes and returns the earliest item that is due. It returns nil if there is none, or if the rate is
// exceeded.
func (q *Queue[T]) Next(now time.Time) *Item[T] {
	if len(q.items) == 0 || q.items[0].at.After(now) {
		return nil
	}
	if q.at = now; !q.limiter.AllowN(now, 1) {
		return nil
	}
	return heap.Pop(&q.items).(*Item[T])
}

// Wait returns how long after now Next may have an item; a day for an empty queue.
func (q *Queue[T]) Wait(now time.Time) time.Duration {
	if len(q.items) == 0 {
		return 24 * time.Hour
	}
	wait := max(0, q.items[0].at.Sub(now))
	if wait < grain && now.Sub(q.at) < grain { // Next was called just before: collect some
		wait = max(wait, grain-now.Sub(q.at))
	}
	return wait
}

// items is a heap, the earliest on top.
type items[T any] []*Item[T]

func (s items[T]) Len() int           { return len(s) }
func (s items[T]) Less(i, j int) bool { return s[i].at.Before(s[j].at) }

func (s items[T]) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i+1, j+1
}

func (s *items[T]) Push(x any) {
	i := x.(*Item[T])
	*s = append(*s, i)
	i.place = len(*s)
}

func (s *items[T]) Pop() any {
	last := len(*s) - 1
	i := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	if last == 0 {
		*s = nil // frees the memory of a large crowd
	}
	i.place = 0
	return i
}

// Drain reads what nobody needs any more, at a rate for all its connections together.
type Drain struct{ limiter *rate.Limiter }

// NewDrain makes a Drain that reads at most perSecond bytes each second.
func NewDrain(perSecond int) *Drain {
	return &Drain{rate.NewLimiter(rate.Limit(perSecond), perSecond)}
}

// Discard reads from r until that fails, n bytes have come, or the rate would keep it for longer than within.
func (d *Drain) Discard(r io.Reader, n int64, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	buffer := make([]byte, min(drainBuffer, d.limiter.Burst()))
	for r = io.LimitReader(r, n); ; {
		read, err := r.Read(buffer)
		if err != nil || d.limiter.WaitN(ctx, read) != nil {
			return
		}
	}
}

// drainBuffer is how many bytes a Drain reads at once.
const drainBuffer = 4 << 10

// shortest is the least time that Spread waits, if it waits: at high rates it does several items at a time.
const shortest = 20 * time.Millisecond

// Spread calls do for each item in order, perSecond of them each second. If perSecond is 0, it does not wait. When
// the deadline of ctx passes, the rest is done at once; when ctx is cancelled, it is not done.
func Spread[T any](ctx context.Context, perSecond int, items []T, do func(T)) {
	began := time.Now()
	for i, item := range items {
		if perSecond > 0 && !waitUntil(ctx, began.Add(time.Duration(i)*time.Second/time.Duration(perSecond))) {
			return
		}
		do(item)
	}
}

// waitUntil waits until at, or until ctx's deadline. It returns false if ctx was cancelled.
func waitUntil(ctx context.Context, at time.Time) bool {
	if wait := time.Until(at); wait > 0 && ctx.Err() == nil {
		timer := time.NewTimer(max(wait, shortest))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded)
}
