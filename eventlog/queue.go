package eventlog

import (
	"math"
	"sync"

	"partyline/internal/wake"
)

// queue is what waits for a goroutine of the log.
type queue[T any] struct {
	wake wake.Flag // raised when something waits

	mu      sync.Mutex
	waiting []T  // guarded by mu
	ended   bool // guarded by mu
}

func newQueue[T any]() queue[T] { return queue[T]{wake: wake.New()} }

// add appends one. It returns false after end.
func (q *queue[T]) add(one T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return false
	}
	q.waiting = append(q.waiting, one)
	q.wake.Raise()
	return true
}

// take returns up to n that wait. If more wait, the queue wakes its goroutine again.
func (q *queue[T]) take(n int) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.waiting))
	taken := q.waiting[:n:n]
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	} else {
		q.wake.Raise()
	}
	return taken
}

// end returns all that wait. Nothing is added from now on.
func (q *queue[T]) end() []T {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	return q.take(math.MaxInt)
}
