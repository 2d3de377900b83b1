package turn

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits at most.
const patience = 30 * time.Second

// watch makes work give way: processors are short, and a client that was quiet waits.
func watch(t *testing.T) {
	Watch()
	now := int64(time.Since(epoch))
	way.quiet.Store(now)
	way.short.Store(now + int64(patience))
	t.Cleanup(func() {
		way.isWatched.Store(false)
		way.short.Store(0)
		way.checked.Store(0)
		way.lasts = 0
	})
}

// spin makes all processors work until the function that it returns is called.
func spin() (stop func()) {
	var isOver atomic.Bool
	var all sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for !isOver.Load() {
			}
		})
	}
	return func() {
		isOver.Store(true)
		all.Wait()
	}
}

// Work gives way while processors are busy, for a time at most, and only while they are short beside quiet clients.
func TestGiveWay(t *testing.T) {
	waits := func(worked time.Duration) time.Duration {
		before := Waited()
		Busy.GiveWay(t.Context(), worked)
		return Waited() - before
	}
	stop := spin()
	if got := waits(longWork); got != 0 {
		t.Errorf("before Watch it gave way for %s", got)
	}
	watch(t)
	Busy.worked.Store(0)
	if got := waits(longWork / 2); got != 0 {
		t.Errorf("after little work it gave way for %s", got)
	}
	if got := waits(longWork / 2); got < mostWait {
		t.Errorf("beside busy processors it gave way for %s, want at least %s", got, mostWait)
	}
	way.quiet.Store(int64(time.Since(epoch) - quietLasts - time.Second))
	if got := waits(longWork); got != 0 {
		t.Errorf("without a quiet client it gave way for %s", got)
	}
	stop()
	for begin := time.Now(); !isClear(); time.Sleep(lookEvery) {
		if time.Since(begin) > patience {
			t.Fatal("the processors are not free again")
		}
	}
}

// Processors are short for a while since goroutines have waited for them for long.
func TestShortProcessors(t *testing.T) {
	watch(t)
	way.short.Store(0)
	stop := spin()
	defer stop()
	var short int64
	for begin := time.Now(); short == 0; time.Sleep(checkEvery) {
		now := int64(time.Since(epoch))
		way.quiet.Store(now)
		isShort(now)
		if short = way.short.Load(); time.Since(begin) > patience {
			t.Fatal("beside goroutines that never wait, processors are not short")
		}
	}
	way.checked.Store(short) // or they would be short again
	way.quiet.Store(short)
	if !isShort(short - 1) {
		t.Error("they are not short any more")
	}
	if isShort(short + 1) {
		t.Error("they are short for ever")
	}
}

// Processors that are soon short again are short for longer.
func TestShortAgain(t *testing.T) {
	watch(t)
	now := way.short.Load() + int64(time.Hour)
	for i, step := range []struct{ after, lasts time.Duration }{ // since processors were no longer short
		{0, shortFor}, {shortFor / 2, 2 * shortFor}, {2*shortFor - 1, 4 * shortFor}, {-shortFor, 4 * shortFor},
		{4 * shortFor, shortFor},
		{0, 2 * shortFor}, {0, 4 * shortFor}, {0, 8 * shortFor}, {0, mostShort}, {0, mostShort},
	} {
		now += int64(step.after)
		way.mu.Lock()
		shorten(now)
		way.mu.Unlock()
		if got := time.Duration(way.short.Load() - now); got != step.lasts {
			t.Errorf("step %d: short for %s, want %s", i, got, step.lasts)
		}
		now = way.short.Load()
	}
}

// A packet of a client that is not busy counts for a while.
func TestQuietClients(t *testing.T) {
	at := time.Now().Add(time.Hour)
	New().Take(new(Turn), nil, 1, at, true)
	want := int64(at.Sub(epoch))
	if got := way.quiet.Load(); got != want {
		t.Errorf("a packet at %d was noted as of %d", want, got)
	}
	New().Take(new(Turn), nil, 1, at.Add(quietEvery/2), true)
	if got := way.quiet.Load(); got != want {
		t.Error("the packet just behind it was noted again")
	}
}

// Work stands behind other work of its lane, for a time at most. What is cancelled does not.
func TestWorkIsInOrder(t *testing.T) {
	watch(t)
	for range Most() { // others are first
		Answers.first <- struct{}{}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Answers.GiveWay(cancelled, longWork); got >= mostQueued {
		t.Errorf("cancelled work waited for %s", got)
	}
	if got := Answers.GiveWay(t.Context(), longWork); got < mostQueued {
		t.Errorf("behind others work waited for %s, want %s", got, mostQueued)
	}
	for range Most() {
		<-Answers.first
	}
	watch(t) // the quiet client's packet is a second old
	before := Waited()
	if got := Answers.GiveWay(t.Context(), longWork); got == 0 || Waited()-before != got {
		t.Errorf("work waited for %s, and %s of it counted", got, Waited()-before)
	}
	if n := len(Answers.first) + len(lanes.first); n > 0 {
		t.Errorf("%d places are still taken", n)
	}
}
