package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/natsd/natsdtest"
)

// rooms are many subjects, as of an edge with many rooms, and how often a message arrived on each.
type rooms struct {
	t      *testing.T
	bus    *Bus
	names  []string
	marker chan struct{}

	mu    sync.Mutex
	heard map[string]int // guarded by mu
}

const manyRooms = 20_000

// enterRooms subscribes them all. A subscription without a user ends at once.
func enterRooms(t *testing.T, url string) *rooms {
	t.Helper()
	r := &rooms{t: t, marker: make(chan struct{}, 1), heard: make(map[string]int)}
	for i := range manyRooms {
		r.names = append(r.names, fmt.Sprintf("room.%d", i))
	}
	r.bus = connect(t, url, func(m *Message) {
		if m.Subject == "marker" {
			r.marker <- struct{}{}
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.heard[m.Subject]++
	}, Options{Linger: time.Nanosecond})
	r.bus.Subscribe("marker")
	r.enter(r.names)
	inPlace(t, r.bus)
	return r
}

func (r *rooms) enter(names []string) {
	for _, name := range names {
		r.bus.Subscribe(name)
	}
}

func (r *rooms) leave(names []string) {
	for _, name := range names {
		r.bus.Unsubscribe(name)
	}
}

// hears publishes once to each room, and expects one message on each.
func (r *rooms) hears(nc *nats.Conn) {
	r.t.Helper()
	r.mu.Lock()
	clear(r.heard)
	r.mu.Unlock()
	for _, name := range append(slices.Clone(r.names), "marker") {
		if err := nc.Publish(name, nil); err != nil {
			r.t.Fatal(err)
		}
	}
	wait(r.t, "the last message is heard", r.marker)
	r.mu.Lock()
	defer r.mu.Unlock()
	lost, doubled := 0, 0
	for _, name := range r.names {
		switch n := r.heard[name]; {
		case n == 0:
			lost++
		case n > 1:
			doubled++
		}
	}
	if lost > 0 || doubled > 0 {
		r.t.Errorf("of %d rooms %d received nothing, and %d more than one message", len(r.names), lost, doubled)
	}
}

// waitingToEnd returns how many subscriptions wait to be ended.
func (r *rooms) waitingToEnd() int {
	return len(r.bus.subscriptions.Subjects()) - r.bus.subscriptions.Count()
}

// Rooms that are entered again while their subscriptions end receive each message once. A subscription that has not
// ended is kept. One that has ended is subscribed after its end.
func TestRoomsAreEnteredAgainWhileTheyEnd(t *testing.T) {
	server := natsdtest.Start(t)
	r, nc := enterRooms(t, server.ClientURL()), client(t, server.ClientURL())
	for range 5 {
		left := make(chan string, manyRooms)
		var moving sync.WaitGroup
		moving.Go(func() {
			for _, name := range r.names {
				r.leave([]string{name})
				left <- name
			}
			close(left)
		})
		moving.Go(func() {
			for name := range left {
				r.enter([]string{name})
			}
		})
		moving.Wait()
		inPlace(t, r.bus)
		r.hears(nc)
	}
	r.leave(r.names)
	eventually(t, "all have ended", func() bool { return r.bus.subscriptions.Count() == 1 })
	r.enter(r.names)
	inPlace(t, r.bus)
	r.hears(nc)
}

// The same while NATS is away, and while it comes back.
func TestRoomsAreEnteredAgainWhileNATSIsAway(t *testing.T) {
	server := natsdtest.Start(t)
	r := enterRooms(t, server.ClientURL())
	server.Stop()
	eventually(t, "the bus notices", func() bool { return !r.bus.Connected() })
	r.leave(r.names)
	eventually(t, "all wait to be ended", func() bool { return r.waitingToEnd() == manyRooms })
	if n := r.bus.subscriptions.Count(); n != 1 {
		t.Errorf("%d subscriptions are counted, want the marker's", n)
	}
	r.enter(r.names[:manyRooms/3])
	server.Restart()
	r.enter(r.names[manyRooms/3 : manyRooms/2]) // nats.go may be subscribing all of them again now
	eventually(t, "the bus is back", r.bus.Connected)
	r.enter(r.names[manyRooms/2:])
	inPlace(t, r.bus)
	r.hears(client(t, server.ClientURL()))
	if n := r.bus.nc.NumSubscriptions(); n != manyRooms+1 {
		t.Errorf("the NATS client has %d subscriptions, want one a room and the marker's", n)
	}
}

// A subscription that ended while NATS was away is not made again when it is back.
func TestRoomsEndWhileNATSIsAway(t *testing.T) {
	server := natsdtest.Start(t)
	r := enterRooms(t, server.ClientURL())
	server.Stop()
	eventually(t, "the bus notices", func() bool { return !r.bus.Connected() })
	r.leave(r.names)
	server.Restart()
	eventually(t, "the subscriptions end", func() bool { return r.bus.nc.NumSubscriptions() == 1 })
	inPlace(t, r.bus) // the server has processed all of it
	nc := client(t, server.ClientURL())
	if _, err := nc.Request(r.names[7], nil, 20*time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("the server has a subscription to a room that was left: %v", err)
	}
}

// A message arrives by each subscription that matches it, and names the subscription.
func TestCopiesSayBySubscription(t *testing.T) {
	server := natsdtest.Start(t)
	heard := make(chan string, 10)
	b := connect(t, server.ClientURL(), func(m *Message) { heard <- m.Subscription })
	all := []string{"a.*.room.x", "a.join.room.>", "a.join.room.x"}
	for _, subject := range all {
		b.Subscribe(subject)
	}
	inPlace(t, b)
	if err := client(t, server.ClientURL()).Publish("a.join.room.x", nil); err != nil {
		t.Fatal(err)
	}
	got := []string{<-heard, <-heard, <-heard}
	if slices.Sort(got); !slices.Equal(got, all) {
		t.Errorf("the message came by %q, want each of %q", got, all)
	}
}

// A copy that the reader does not need is not counted.
func TestCopiesAreNotCounted(t *testing.T) {
	server := natsdtest.Start(t)
	b := connect(t, server.ClientURL(), nil)
	b.Subscribe("a.*")
	b.Subscribe("a.b")
	inPlace(t, b)
	nc := client(t, server.ClientURL())
	for range 10 {
		if err := nc.Publish("a.b", []byte("123")); err != nil {
			t.Fatal(err)
		}
	}
	var copies atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		b.Run(ctx, func(m *Message) bool {
			if m.Subscription == "a.*" {
				copies.Add(1)
				return false
			}
			return true
		}, func() {})
	})
	eventually(t, "all have come", func() bool { return copies.Load() == 10 && b.Received() == 10 })
	cancel()
	running.Wait()
	if n := b.stats.receivedBytes.Value(); n != 30 {
		t.Errorf("%d bytes are counted, want 30", n)
	}
}
