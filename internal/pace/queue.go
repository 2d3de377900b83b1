package pace

import (
	"container/heap"
	"time"
)

// grain is how long a Queue lets items add up: what becomes due meanwhile comes together, and no more than that.
const grain = 20 * time.Millisecond

// Queue holds items until their times, and hands out at most perSecond of them each second, the earliest first. It keeps no
// clock and no goroutine: the caller passes the time, and asks Wait when to come again. It is not safe for concurrent use.
type Queue[T any] struct {
	perSecond float64
	items     items[T]
	credit    float64   // items that may be handed out
	at        time.Time // when credit was so
}

// Item is a place in a Queue. It may be in one queue at a time. The zero Item is in none.
type Item[T any] struct {
	Value T
	at    time.Time
	place int // index among the items, plus one; 0: in no queue
}

// Queued reports whether the item waits in a queue.
func (i *Item[T]) Queued() bool { return i.place > 0 }

// At is the time for which the item was set last.
func (i *Item[T]) At() time.Time { return i.at }

// NewQueue makes a Queue that hands out at most perSecond items each second.
func NewQueue[T any](perSecond int) *Queue[T] { return &Queue[T]{perSecond: float64(perSecond)} }

// Len is the number of items that wait.
func (q *Queue[T]) Len() int { return len(q.items) }

// Set puts an item into the queue, or moves one that is there. It reports whether the item is the earliest now.
func (q *Queue[T]) Set(i *Item[T], at time.Time) (first bool) {
	i.at = at
	if i.Queued() {
		heap.Fix(&q.items, i.place-1)
	} else {
		heap.Push(&q.items, i)
	}
	return i.place == 1
}

// Remove takes an item out of the queue, if it is there.
func (q *Queue[T]) Remove(i *Item[T]) {
	if i.Queued() {
		heap.Remove(&q.items, i.place-1)
	}
}

// Next takes out the earliest item whose time has come, nil if there is none or if it would be one too many now.
func (q *Queue[T]) Next(now time.Time) *Item[T] {
	if len(q.items) == 0 || q.items[0].at.After(now) {
		return nil
	}
	most := max(1, q.perSecond*grain.Seconds())
	if q.at.IsZero() {
		q.credit = most
	} else if passed := now.Sub(q.at); passed > 0 {
		q.credit = min(most, q.credit+passed.Seconds()*q.perSecond)
	}
	q.at = now
	if q.credit < 1 {
		return nil
	}
	q.credit--
	return heap.Pop(&q.items).(*Item[T])
}

// Wait is how long after now Next may have an item again; ok is false for an empty queue.
func (q *Queue[T]) Wait(now time.Time) (wait time.Duration, ok bool) {
	if len(q.items) == 0 {
		return 0, false
	}
	wait = max(0, q.items[0].at.Sub(now))
	if wait < grain && now.Sub(q.at) < grain { // Next has just been asked: let some add up
		wait = max(wait, grain-now.Sub(q.at))
	}
	return wait, true
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
		*s = nil // a crowd has gone: its memory goes, too
	}
	i.place = 0
	return i
}
