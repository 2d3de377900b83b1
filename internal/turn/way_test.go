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

// watch makes work give way, beside a client that was quiet until now.
func watch(t *testing.T) {
	Watch()
	way.quiet.Store(time.Now().UnixNano())
	t.Cleanup(func() { way.isWatched.Store(false) })
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

// Work gives way while processors are busy, for a time at most, and only beside quiet clients.
func TestGiveWay(t *testing.T) {
	waits := func() time.Duration {
		before := Waited()
		Busy.GiveWay(t.Context())
		return Waited() - before
	}
	stop := spin()
	way.quiet.Store(time.Now().UnixNano())
	if got := waits(); got != 0 {
		t.Errorf("before Watch it gave way for %s", got)
	}
	watch(t)
	if got := waits(); got < Busy.most {
		t.Errorf("beside busy processors it gave way for %s, want at least %s", got, Busy.most)
	}
	way.quiet.Store(time.Now().Add(-quietLasts - time.Second).UnixNano())
	if got := waits(); got != 0 {
		t.Errorf("without a quiet client it gave way for %s", got)
	}
	stop()
	for begin := time.Now(); !isClear(); time.Sleep(lookEvery) {
		if time.Since(begin) > patience {
			t.Fatal("the processors are not free again")
		}
	}
}

// A packet of a client that is not busy counts for a while.
func TestQuietClients(t *testing.T) {
	at := time.Now().Add(time.Hour)
	New().Take(new(Turn), nil, 1, at)
	if got := way.quiet.Load(); got != at.UnixNano() {
		t.Errorf("a packet at %d was noted as of %d", at.UnixNano(), got)
	}
	New().Take(new(Turn), nil, 1, at.Add(quietEvery/2))
	if got := way.quiet.Load(); got != at.UnixNano() {
		t.Error("the packet just behind it was noted again")
	}
}

// Work goes on one after the other. What is cancelled does not wait for that.
func TestWorkIsInOrder(t *testing.T) {
	watch(t)
	var w Work
	w.Pause()
	for range Most() { // others are first
		Answers.next <- struct{}{}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	Answers.GiveWay(cancelled)
	w.since = w.since.Add(-2 * longWork)
	var isBehind atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Pause()
		if !isBehind.Load() {
			t.Error("work did not wait behind other work")
		}
	}()
	runtime.Gosched()
	isBehind.Store(true)
	for range Most() {
		<-Answers.next
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("work did not go on")
	}
	if time.Since(w.since) > patience {
		t.Error("after a pause the work has lasted from its beginning")
	}
}
