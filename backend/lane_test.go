package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// track is lanes for a test, which records what they publish.
type track struct {
	*lanes
	mu         sync.Mutex
	words      []string  // guarded by mu: what was published to edges
	overflowed []laneKey // guarded by mu
	offline    bool      // guarded by mu: nothing can be published
}

func newTrack(limits Limits) *track {
	x := &track{}
	x.lanes = newLanes(limits, x)
	return x
}

func (x *track) pause(key laneKey, _ string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.offline {
		return ""
	}
	x.words = append(x.words, "pause "+key.who[20:])
	return "i"
}

func (x *track) resume(key laneKey, _ string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.words = append(x.words, "resume "+key.who[20:])
}

func (x *track) watch(int, laneKey) {}

func (x *track) flooded(key laneKey, _, _ int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.overflowed = append(x.overflowed, key)
}

// socketKey is the lane of a socket.
func socketKey(name string) laneKey {
	return laneKey{"", "edgeedge." + strings.Repeat("-", 11) + name[:1] + "--------"}
}

// said returns what was published since the last call, once all goroutines wait.
func (x *track) said() string {
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	words := strings.ReplaceAll(strings.Join(x.words, ", "), "--------", "")
	x.words = nil
	return words
}

func (x *track) expect(t *testing.T, want string) {
	t.Helper()
	if got := x.said(); got != want {
		t.Fatalf("said %q, want %q", got, want)
	}
}

// stopper blocks the jobs of a lane, which the test passes one by one.
type stopper chan struct{}

func (g stopper) job() { <-g }

func (g stopper) pass(n int) {
	for range n {
		g <- struct{}{}
	}
	synctest.Wait()
}

func TestLanesKeepOrder(t *testing.T) {
	var mu sync.Mutex
	x := newTrack(Limits{Handlers: 2, SocketEvents: 1000, SocketBytes: 1000, WaitingBytes: 1500})
	got := map[string][]int{}
	for i := range 100 {
		for _, who := range []string{"a", "b", "c"} {
			x.event(socketKey(who), 1, func() {
				mu.Lock()
				defer mu.Unlock()
				got[who] = append(got[who], i)
			})
		}
	}
	if err := x.wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	for who, list := range got {
		if len(list) != 100 || !slices.IsSorted(list) {
			t.Errorf("%s ran %v", who, list)
		}
	}
	if x.stop() != 0 {
		t.Error("something is busy")
	}
	x.always(socketKey("a"), func() { t.Error("ran after stop") })
	x.running.Wait()
}

// A lane pauses its socket at half its bound, and resumes it at a quarter. Meanwhile it repeats the pause.
func TestALanePausesItsSocket(t *testing.T) {
	for name, c := range map[string]struct{ bytes, half int }{"events": {1, 50}, "bytes": {100, 5}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newTrack(Limits{Handlers: 2, SocketEvents: 100, SocketBytes: 1000, WaitingBytes: 10_000})
				g := make(stopper)
				put := func(n int) {
					for range n {
						x.event(socketKey("a"), c.bytes, g.job)
					}
					synctest.Wait()
				}
				put(1) // runs
				put(c.half - 1)
				x.expect(t, "")
				put(1)
				x.expect(t, "pause a")
				put(c.half / 2)
				x.expect(t, "")
				time.Sleep(2*repeatPause + throttleEvery)
				x.expect(t, "pause a, pause a")
				left := 2 * c.half / 4 // a quarter of the bound
				g.pass(c.half + c.half/2 - left - 1)
				x.expect(t, "")
				g.pass(1)
				x.expect(t, "resume a")
				put(c.half)
				x.expect(t, "pause a")
				g.pass(c.half + left + 1)
				x.expect(t, "resume a")
				if paused, _ := x.throttled.paused(0); paused != 0 || len(x.throttled.sockets) != 0 || x.waiting != 0 || len(x.overflowed) != 0 {
					t.Errorf("%d are paused, %d bytes wait, %d overflows", paused, x.waiting, len(x.overflowed))
				}
				x.stop()
				x.running.Wait()
			})
		})
	}
}

// If all lanes together have too much, the largest are paused first. They are resumed when half of it is gone.
func TestTheLargestLanesArePausedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrack(Limits{Handlers: 4, SocketEvents: 10_000, SocketBytes: 100_000, WaitingBytes: 1000})
		gates := map[string]stopper{}
		put := func(who string, bytes int) {
			if gates[who] == nil {
				gates[who] = make(stopper)
				x.event(socketKey(who), 0, gates[who].job) // runs
				synctest.Wait()
			}
			x.event(socketKey(who), bytes, gates[who].job)
			synctest.Wait()
			time.Sleep(relieveEvery)
		}
		put("a", 100)
		put("b", 600)
		put("c", 290)
		x.expect(t, "")
		put("c", 20)
		x.expect(t, "pause b")
		put("a", 10)
		x.expect(t, "pause c")
		gates["c"].pass(2) // 310 bytes fewer are 730
		x.expect(t, "")
		gates["c"].pass(1)
		x.expect(t, "resume c") // nothing is left
		put("a", 1)
		x.expect(t, "")
		gates["b"].pass(2)
		x.expect(t, "resume b")
		gates["a"].pass(4)
		x.expect(t, "")
		x.running.Wait()
	})
}

// A pause without an effect: the lane loses its events above twice its bound.
func TestALaneThatIsTwiceFull(t *testing.T) {
	for name, c := range map[string]struct {
		confirmed, more bool
		want            int // overflows
	}{
		"nobody confirms": {false, false, 1}, "nobody confirms, and more comes": {false, true, 1},
		"all that comes was on its way": {true, false, 0}, "more comes": {true, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newTrack(Limits{Handlers: 4, SocketEvents: 10, SocketBytes: 1000, WaitingBytes: 10_000})
				g, always := make(stopper), 0
				x.event(socketKey("a"), 1, g.job)
				synctest.Wait()
				for range 50 {
					x.event(socketKey("a"), 1, func() {})
				}
				x.always(socketKey("a"), func() { always++ })
				x.expect(t, "pause a")
				if c.confirmed {
					x.throttled.confirm(socketKey("a"))
				}
				if c.more {
					time.Sleep(pauseGrace)
					x.event(socketKey("a"), 1, func() {})
				}
				time.Sleep(2 * pauseGrace)
				if x.mu.Lock(); len(x.overflowed) != c.want {
					t.Errorf("%d overflows, want %d", len(x.overflowed), c.want)
				}
				x.mu.Unlock()
				g.pass(1)
				if always != 1 || x.waiting != 0 {
					t.Errorf("the job that must not be lost ran %d times, %d bytes wait", always, x.waiting)
				}
				x.running.Wait()
			})
		})
	}
}

// The edge may have forgotten a pause, because this process was stopped or NATS was away. Then it is a new one: events
// before its effect cost no client its connection.
func TestAPauseThatWasForgotten(t *testing.T) {
	for name, answered := range map[string]bool{"confirmed before": true, "never confirmed": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newTrack(Limits{Handlers: 4, SocketEvents: 10, SocketBytes: 1000, WaitingBytes: 10_000})
				g, key := make(stopper), socketKey("a")
				overflows := func(want int) {
					t.Helper()
					synctest.Wait()
					x.mu.Lock()
					defer x.mu.Unlock()
					if len(x.overflowed) != want {
						t.Errorf("%d overflows, want %d", len(x.overflowed), want)
					}
				}
				x.event(key, 1, g.job)
				synctest.Wait()
				for range 10 {
					x.event(key, 1, func() {})
				}
				synctest.Wait()
				if answered {
					x.throttled.confirm(key)
				}
				time.Sleep(pauseLasts + time.Second)
				for range 50 {
					x.event(key, 1, func() {})
				}
				x.drop(key) // a check that began before these events
				time.Sleep(pauseGrace / 2)
				x.event(key, 1, func() {})
				overflows(0)
				x.throttled.confirm(key)
				time.Sleep(pauseGrace / 2)
				x.event(key, 1, func() {})
				overflows(0)
				time.Sleep(pauseGrace)
				x.event(key, 1, func() {})
				overflows(1)
				g.pass(1)
				x.running.Wait()
			})
		})
	}
}

// Twice the total bound costs the largest lane its events at once, and other services theirs at their bound.
func TestLanesThatCannotBePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrack(Limits{Handlers: 4, SocketEvents: 100, SocketBytes: 1000, WaitingBytes: 1500})
		g := make(stopper)
		block := func(key laneKey) {
			x.event(key, 1, g.job)
			synctest.Wait()
		}
		other := laneKey{"", "other-1"}
		block(other)
		x.event(other, 900, func() { t.Error("ran though it was thrown away") })
		x.event(other, 101, func() { t.Error("ran though it is one too many") })
		x.event(other, 1, func() { t.Error("ran though the lane is flooded") })
		for _, who := range []string{"a", "b"} {
			block(socketKey(who))
		}
		x.event(socketKey("a"), 2000, func() { t.Error("ran though it was thrown away") })
		x.event(socketKey("b"), 1001, func() {})
		canceled, cancel := context.WithCancel(context.Background())
		cancel()
		if err := x.wait(canceled); !errors.Is(err, context.Canceled) {
			t.Errorf("wait: %v", err)
		}
		g.pass(3)
		if err := x.wait(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(x.overflowed); got != fmt.Sprint([]laneKey{other, socketKey("a")}) || x.waiting != 0 {
			t.Errorf("overflowed %s, %d bytes wait", got, x.waiting)
		}
		x.running.Wait()
	})
}

// What cannot be published is published later, and a socket that was never paused is not resumed.
func TestPausesWithoutNATS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrack(Limits{Handlers: 4, SocketEvents: 10, SocketBytes: 1000, WaitingBytes: 10_000})
		x.offline = true
		g := make(stopper)
		for range 7 {
			x.event(socketKey("a"), 1, g.job)
		}
		x.expect(t, "")
		x.mu.Lock()
		x.offline = false
		x.mu.Unlock()
		time.Sleep(throttleEvery)
		x.expect(t, "pause a")
		g.pass(7)
		x.expect(t, "resume a")
		x.mu.Lock()
		x.offline = true
		x.mu.Unlock()
		for range 7 {
			x.event(socketKey("a"), 1, g.job)
		}
		g.pass(7)
		x.expect(t, "")
		x.running.Wait()
	})
}
