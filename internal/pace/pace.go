// Package pace spreads work over time.
package pace

import (
	"context"
	"errors"
	"time"
)

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
