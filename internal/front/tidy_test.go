package front

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsGivenBackBehindACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var moved atomic.Uint64
		times := 0
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { tidy(ctx, moved.Load, func() { times++ }) })
		pass := func(ticks int, each uint64) {
			for range ticks {
				moved.Add(each)
				time.Sleep(tidyEvery)
				synctest.Wait()
			}
		}
		for _, step := range []struct {
			what  string
			ticks int
			each  uint64
			want  int
		}{
			{"no session", 100, 0, 0},
			{"a few came", 5, calm, 0},
			{"a crowd comes", 10, 5000, 0},
			{"it is in", 1, 0, 1},
			{"nothing has happened since", 100, 0, 1},
			{"it goes", 3, 20000, 1},
			{"it is gone", 50, 0, 2},
			{"clients come and go one by one", 11, calm, 3},
		} {
			if pass(step.ticks, step.each); times != step.want {
				t.Errorf("when %s memory has been given back %d times, want %d", step.what, times, step.want)
			}
		}
		cancel()
		running.Wait()
	})
}
