package flow

import (
	"testing"
	"testing/synctest"
	"time"
)

// enters starts callers of Enter, one after the other, and returns the numbers of those that have entered.
func enters(w *Window, cost, callers int) <-chan int {
	entered := make(chan int, callers)
	for i := range callers {
		go func() {
			w.Enter(cost, true)
			entered <- i
		}()
		synctest.Wait()
	}
	return entered
}

// fill enters until there is no more room, and returns the checkpoint that is away.
func fill(t *testing.T, w *Window, cost int) (checkpoint uint64, count int) {
	t.Helper()
	for ; ; count++ {
		number, entered := w.Enter(cost, false)
		if !entered {
			return checkpoint, count
		}
		if number > 0 && checkpoint > 0 {
			t.Fatalf("checkpoint %d while checkpoint %d is away", number, checkpoint)
		}
		checkpoint = max(checkpoint, number)
	}
}

// A namespace that is alone may have a whole window under way. Then callers wait, and go on in their order, each time
// that a checkpoint has come back.
func TestAWindowOpensWithItsCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(Windows).New()
		const cost = Size / 8
		checkpoint, count := fill(t, w, cost)
		if checkpoint != 1 || count != 8 {
			t.Fatalf("%d messages of an eighth of the window were under way, and checkpoint %d", count, checkpoint)
		}
		entered := enters(w, cost, 5)
		for _, step := range []struct {
			checkpoint uint64
			want       int // that have entered after its return
		}{{checkpoint + 1, 0}, {checkpoint, 2}, {checkpoint, 2}, {checkpoint + 1, 5}} {
			w.Return(step.checkpoint)
			synctest.Wait()
			if len(entered) != step.want {
				t.Fatalf("after checkpoint %d %d have entered, want %d", step.checkpoint, len(entered), step.want)
			}
			if _, ok := w.Enter(cost, false); ok && step.want < 5 {
				t.Error("a newcomer has overtaken those that wait")
			}
		}
		for want := range 5 {
			if got := <-entered; got != want {
				t.Errorf("caller %d entered, want %d", got, want)
			}
		}
	})
}

// A checkpoint that does not come back, since NATS was lost, stops no client for long.
func TestALostCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(Windows).New()
		_, count := fill(t, w, Size/8)
		begin := time.Now()
		entered := enters(w, Size/8, count)
		time.Sleep(2*patience + time.Second)
		synctest.Wait()
		if len(entered) != count {
			t.Errorf("%d of %d entered within %s", len(entered), count, time.Since(begin))
		}
	})
}

// Beside another active namespace a window is small, and rests for some times as long as the checkpoint was away.
func TestASharedWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Windows
		w, other := all.New(), all.New()
		const cost = Share / 8
		w.Enter(cost, false)
		other.Touch()
		checkpoint, count := fill(t, w, cost)
		if checkpoint == 0 || count > 8 {
			t.Fatalf("%d more messages were under way, and checkpoint %d", count, checkpoint)
		}
		const trip = 3 * time.Millisecond
		time.Sleep(trip)
		w.Return(checkpoint)
		time.Sleep(restTrips*trip - time.Microsecond)
		w.Return(checkpoint)
		if _, ok := w.Enter(cost, false); ok {
			t.Error("the window did not rest")
		}
		time.Sleep(2 * time.Microsecond)
		if _, ok := w.Enter(cost, false); !ok {
			t.Error("the window did not open after its rest")
		}
		if checkpoint, ok := other.Enter(cost, false); !ok || checkpoint > 0 {
			t.Errorf("the other one's window: checkpoint %d, entered %v", checkpoint, ok)
		}
		time.Sleep(active + patience)
		w.Touch()
		time.Sleep(active)
		if _, count = fill(t, w, cost); count < Size/cost/2 {
			t.Errorf("alone again, only %d messages were under way", count)
		}
	})
}

// A message counts its receivers and its bytes, and none fills a window.
func TestCost(t *testing.T) {
	for _, test := range []struct{ bytes, receivers, want int }{
		{0, 0, 4}, {160, 200, 214}, {1 << 20, 0, Size / 2}, {100, 1 << 20, Size / 2},
	} {
		if got := Cost(test.bytes, test.receivers); got != test.want {
			t.Errorf("%d bytes to %d cost %d, want %d", test.bytes, test.receivers, got, test.want)
		}
	}
}
