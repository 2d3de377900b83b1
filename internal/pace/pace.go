// Package pace spreads work over time.
package pace

import (
	"context"
	"errors"
	"time"
)

// shortest is how long Spread waits at the least, if it waits: at high rates it does several items in one go.
const shortest = 20 * time.Millisecond

// Spread calls do for each item, one after the other and perSecond of them each second. With 0 a second it waits for
// nothing. When the deadline of ctx passes, what is left is done at once; when ctx is cancelled, it is not done.
func Spread[T any](ctx context.Context, perSecond int, items []T, do func(T)) {
	began := time.Now()
	for i, item := range items {
		if perSecond > 0 && !reach(ctx, began.Add(time.Duration(i)*time.Second/time.Duration(perSecond))) {
			return
		}
		do(item)
	}
}

// reach waits until it is time, or ctx's deadline has passed. It says no if ctx was cancelled.
func reach(ctx context.Context, at time.Time) bool {
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
