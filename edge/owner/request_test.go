package owner

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/wire/msg"
)

const connectTimeout = 20 * time.Second

// crowd is sockets that wait to be admitted, and a clock. It is their Wire and their Client.
type crowd struct {
	t       *testing.T
	q       *Table
	began   time.Time
	now     time.Time
	refuses bool

	siblings []*Socket // of each socket

	worker    []func()
	asked     []time.Time // each publish
	requests  []Request   // what was published
	changed   []string    // instances that were notified that the owner has changed
	closed    []time.Time // each end
	undecided []Reason    // why requests found no taker
	// publish handles a published request; nil: there is no answer.
	publish func(s *Socket)
}

func newCrowd(t *testing.T, sockets int) *crowd {
	c := &crowd{t: t, began: time.Unix(1_800_000_000, 0)}
	c.now = c.began
	c.q = New(Settings{
		Wire: c, Log: throttle.New(slog.New(slog.NewTextHandler(io.Discard, nil))),
		Wake: func() {}, Now: func() time.Time { return c.now }, Random: rand.IntN,
	}, new(tally.Counter))
	for range sockets {
		c.add()
	}
	return c
}

func (c *crowd) ID() string                    { return "edge0000.AAAAAAAAAAAAAAAAAAAA" }
func (c *crowd) Namespace() string             { return "/chat" }
func (c *crowd) ConnectTimeout() time.Duration { return connectTimeout }
func (c *crowd) Refuses() bool                 { return c.refuses }
func (c *crowd) Charge(int)                    {}
func (c *crowd) Siblings() []*Socket           { return c.siblings }

func (c *crowd) Connected() bool           { return true }
func (c *crowd) Do(fn func())              { c.worker = append(c.worker, fn) }
func (c *crowd) AfterSubscribed(fn func()) { c.Do(fn) }

func (c *crowd) Ask(s *Socket, r Request) (uint64, error) {
	c.asked, c.requests = append(c.asked, c.now), append(c.requests, r)
	if c.publish != nil {
		c.publish(s)
	}
	return 0, nil
}

func (c *crowd) Event(*Socket, string, []byte, []byte, map[string][]string, []byte) error { return nil }
func (c *crowd) State(*Socket, string, uint64) uint64                                     { return 0 }
func (c *crowd) Ping(string, string)                                                      {}
func (c *crowd) Ended(*Socket, string, map[string][]string, []byte)                       {}
func (c *crowd) Changed(_ *Socket, to string, n uint64) {
	c.changed = append(c.changed, fmt.Sprint(to, " ", n))
}
func (c *crowd) Marker(string, string) {}
func (c *crowd) Died(string)           {}
func (c *crowd) Undecided(_ *Socket, why Reason, _ bool) {
	c.undecided = append(c.undecided, why)
}

// work is what the worker does.
func (c *crowd) work() {
	for len(c.worker) > 0 {
		fn := c.worker[0]
		c.worker = c.worker[1:]
		fn()
	}
}

func (c *crowd) add() *request {
	s := c.q.Begin(c)
	c.q.Ask(s)
	return s.request
}

// pending is an instance's message that it is deciding.
func (c *crowd) pending(r *request, instance string) {
	c.q.Answer(r.socket, Answer{Kind: Pending, From: instance})
}

// run does what Attend does, up to a time after the beginning.
func (c *crowd) run(until time.Duration) {
	for {
		c.work()
		over := c.q.Due()
		c.work()
		for _, s := range over {
			c.closed = append(c.closed, c.now)
			c.q.End(s, nil, nil)
		}
		next := c.now.Add(max(c.q.Wait(), time.Millisecond))
		if next.After(c.began.Add(until)) {
			c.now = c.began.Add(until)
			return
		}
		c.now = next
	}
}

// saw compares the times at which requests were published, in milliseconds from the beginning.
func (c *crowd) saw(want ...int) {
	c.t.Helper()
	var got []int
	for _, at := range c.asked {
		got = append(got, int(at.Sub(c.began).Round(50*time.Millisecond).Milliseconds()))
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("the request was published at %v, want %v", got, want)
	}
}

// stay keeps requests from ending.
func (c *crowd) stay() *crowd {
	for _, r := range c.q.all {
		c.q.ends.Remove(&r.end)
	}
	return c
}

func (c *crowd) noService() {
	c.publish = func(s *Socket) { c.q.Answer(s, Answer{Kind: NoResponders}) }
}

func everyone(*request) bool { return true }

// A slow service is asked again after 5 s of silence, and after each further request the wait doubles.
func TestSilenceDoubles(t *testing.T) {
	c := newCrowd(t, 1).stay()
	c.run(200 * time.Second)
	c.saw(0, 5_000, 15_000, 35_000, 75_000, 135_000, 195_000)
}

// Without a service the request is published again soon, and at once when an instance comes. Then the wait starts
// again at its shortest, because a service may subscribe some milliseconds after its hello.
func TestNoRespondersBackOff(t *testing.T) {
	c := newCrowd(t, 0)
	c.noService()
	c.add()
	c.stay()
	c.run(8 * time.Second)
	c.saw(0, 250, 750, 1_750, 3_750, 5_750, 7_750)
	c.asked = nil
	c.q.hurry(Came, everyone)
	c.run(10 * time.Second)
	c.saw(8_000, 8_250, 8_750, 9_750)
	c.publish, c.asked = nil, nil // now it has subscribed, and is slow
	c.run(25 * time.Second)
	c.saw(11_750, 16_750)
}

// An instance that says that it is deciding is not asked again while it lives.
func TestADecidingInstanceIsNotAskedAgain(t *testing.T) {
	setUp := func(t *testing.T) (*crowd, *request) {
		c := newCrowd(t, 1).stay()
		r := c.q.all[0]
		shop := msg.InstanceAnnouncement{Group: "shop", Instance: "shop-1"}
		c.q.Hello(shop, true)
		c.run(time.Second)
		c.pending(r, "shop-1")
		for c.now.Sub(c.began) < 90*time.Second {
			c.q.Hello(shop, false) // by a beat
			c.q.Tick(false)
			c.run(c.now.Sub(c.began) + time.Second)
		}
		c.saw(0)
		c.asked = nil
		return c, r
	}
	t.Run("it dies", func(t *testing.T) {
		c, r := setUp(t)
		c.run(95 * time.Second)
		c.q.Tick(false)
		c.run(101 * time.Second)
		c.saw(95_000, 100_000)
		if r.decider != "" {
			t.Error("it still counts as deciding")
		}
	})
	t.Run("the edge was deaf", func(t *testing.T) {
		c, r := setUp(t)
		c.run(95 * time.Second)
		c.q.Tick(true)
		c.run(96 * time.Second)
		c.saw()
		if r.decider != "shop-1" {
			t.Error("it has died")
		}
	})
	t.Run("it says again", func(t *testing.T) {
		c, r := setUp(t)
		c.q.Answer(r.socket, Answer{Kind: NoResponders}) // of an earlier request
		c.run(91 * time.Second)
		c.saw()
		c.q.Answer(r.socket, Answer{Kind: AskAgain})
		c.run(93 * time.Second)
		c.saw(91_250)
	})
	t.Run("no service ever subscribes", func(t *testing.T) {
		c := newCrowd(t, 1).stay()
		c.pending(c.q.all[0], "absent-1")
		c.run(4 * time.Second)
		c.saw(0)
		c.q.Tick(false)
		c.run(5 * time.Second)
		c.saw(0, 4_000)
	})
}

// A request that is about to be published is not published twice when an instance comes then.
func TestHurryLeavesAloneWhatIsOnItsWay(t *testing.T) {
	c := newCrowd(t, 0)
	c.q.Begin(c) // the worker is going to publish it
	c.q.hurry(Came, everyone)
	c.run(time.Second)
	if len(c.asked) > 0 {
		t.Error("it is published twice")
	}
}

// Ten thousand sockets wait for a service, which comes, is silent, and goes. Neither their requests nor the ends of
// their sessions come as a burst. docs/how-to/outages.md has the figures.
func TestACrowdMakesNoBurst(t *testing.T) {
	const sockets = 10_000
	for _, scene := range []struct {
		name string
		play func(c *crowd)
	}{
		{"no service, which comes later", func(c *crowd) {
			c.noService()
			c.q.hurry(Reconnected, everyone)
			c.run(8 * time.Second)
			c.q.hurry(Came, everyone)
			c.run(time.Minute)
		}},
		{"a silent service", func(c *crowd) { c.run(time.Minute) }},
		{"an instance dies that was deciding", func(c *crowd) {
			for _, r := range c.q.all {
				c.pending(r, "shop-1")
			}
			c.run(4 * time.Second)
			c.q.hurry(Gone, everyone)
			c.run(time.Minute)
		}},
	} {
		t.Run(scene.name, func(t *testing.T) {
			c := newCrowd(t, sockets)
			c.asked = nil // the clients set the pace of the first requests
			scene.play(c)
			if len(c.closed) != sockets || len(c.q.all) != 0 {
				t.Fatalf("%d sessions ended, %d wait", len(c.closed), len(c.q.all))
			}
			first, last := c.closed[0].Sub(c.began), c.closed[sockets-1].Sub(c.began)
			if first < 15*time.Second || last > 26*time.Second {
				t.Errorf("sessions ended from %s to %s, want 15 to 25 s", first, last)
			}
			asked, closed := peak(c.asked), peak(c.closed)
			t.Logf("WAITING %d sockets: %d requests, at most %d in 100 ms; sessions ended from %.1f to %.1f s, at most %d in 100 ms",
				sockets, len(c.asked), asked, first.Seconds(), last.Seconds(), closed)
			if most := RepeatsPerSecond/10 + RepeatsPerSecond/50; asked > most {
				t.Errorf("%d requests in 100 ms, want at most %d", asked, most)
			}
			if most := ClosingsPerSecond/10 + ClosingsPerSecond/50; closed > most {
				t.Errorf("%d ends in 100 ms, want at most %d", closed, most)
			}
		})
	}
}

// peak returns the most entries within any 100 ms.
func peak(at []time.Time) (most int) {
	first := 0
	for i := range at {
		for at[i].Sub(at[first]) >= 100*time.Millisecond {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// Requests are added and removed in any order. The others stay.
func TestRequestsThatGo(t *testing.T) {
	c := newCrowd(t, 1000)
	for len(c.q.all) > 0 {
		r := c.q.all[rand.IntN(len(c.q.all))]
		s, asked := r.socket, len(c.asked)
		if !c.q.End(s, nil, nil) {
			t.Fatal("a published request reports that it was not")
		}
		c.q.Answer(s, Answer{Kind: NoResponders}) // late answers about it have no effect
		c.pending(r, "shop-1")
		c.q.WaitNoLonger(s)
		if c.q.Ask(s); len(c.asked) != asked || r.repeat.Queued() || r.end.Queued() {
			t.Fatal("it still waits")
		}
		for i, other := range c.q.all {
			if other.place != i {
				t.Fatalf("place %d is %d", i, other.place)
			}
		}
	}
	if n := c.q.repeats.Len() + c.q.ends.Len() + int(c.q.waiting.Value()); n != 0 {
		t.Errorf("%d are left", n)
	}
	if len(c.q.instances.all) > 0 {
		t.Error("no socket waits, but an instance is watched")
	}
}

// The drawn times spread over half of connect_timeout.
func TestTimesAreDrawn(t *testing.T) {
	c := newCrowd(t, 1000)
	var tenths [10]int
	for _, r := range c.q.all {
		f := float64(r.end.At().Sub(c.began)) / float64(connectTimeout)
		if f < 0.75 || f >= 1.25 {
			t.Fatalf("a socket waits %.2f of connect_timeout", f)
		}
		tenths[int((f-0.75)*20)]++
	}
	for _, n := range tenths {
		if n < 50 {
			t.Errorf("they do not spread: %v", tenths)
		}
	}
	c.refuses = true
	if r := c.add(); !r.end.At().Equal(c.began.Add(connectTimeout)) || r.repeat.Queued() {
		t.Error("with `unavailable: refuse` the time is connect_timeout, and nothing is published again")
	}
}

func TestWhichNamespacesAnInstanceServes(t *testing.T) {
	for list, want := range map[string]bool{"": false, "/chat": false, "/tenant-1/chat": true, "/a /tenant-*": true, "*": true} {
		if got := serves(strings.Fields(list), "/tenant-1/chat"); got != want {
			t.Errorf("%q: %v, want %v", list, got, want)
		}
	}
}
