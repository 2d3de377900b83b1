package edge

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/edge/rule"
)

// crowd is sockets that wait to be admitted, and a clock.
type crowd struct {
	t     *testing.T
	q     connectRequests
	began time.Time
	now   time.Time
	rules *rule.Rules

	asked  []time.Time // each publish
	closed []time.Time // each end
	// publish is what becomes of a request that is published; nil: nothing, nobody answers.
	publish func(r *connectRequest)
}

func newCrowd(t *testing.T, sockets int) *crowd {
	c := &crowd{t: t, began: time.Unix(1_800_000_000, 0), rules: &rule.Rules{Namespace: Namespace{ConnectTimeout: DefaultConnectTimeout}}}
	c.now = c.began
	c.q.init()
	for range sockets {
		c.add()
	}
	return c
}

func (c *crowd) add() *connectRequest {
	r := c.q.add(&socket{Namespace: &namespace{Name: "/chat"}, Edge: client{rules: c.rules}}, c.now)
	c.ask(r)
	return r
}

// ask is what Edge.ask does.
func (c *crowd) ask(r *connectRequest) {
	if _, waits := c.q.publishing(r, c.now); !waits {
		c.t.Error("a request is published that does not wait")
	}
	c.asked = append(c.asked, c.now)
	if c.publish != nil {
		c.publish(r)
	}
}

// run does what Attend does until a moment after the beginning.
func (c *crowd) run(until time.Duration) {
	for {
		again, over := c.q.due(c.now)
		for _, r := range again {
			c.ask(r)
		}
		for _, r := range over {
			c.closed = append(c.closed, c.now)
			c.q.remove(r)
		}
		next := c.now.Add(max(c.q.wait(c.now), time.Millisecond))
		if next.After(c.began.Add(until)) {
			c.now = c.began.Add(until)
			return
		}
		c.now = next
	}
}

// saw compares when requests were published, in milliseconds from the beginning, with what is wanted.
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
	c.publish = func(r *connectRequest) { c.q.failed(r, repeatNoService, c.now) }
}

func everyone(*connectRequest) bool { return true }

// A slow service is asked after 5 s of silence, and then twice as long after each further request.
func TestSilenceDoubles(t *testing.T) {
	c := newCrowd(t, 1).stay()
	c.run(200 * time.Second)
	c.saw(0, 5_000, 15_000, 35_000, 75_000, 135_000, 195_000)
}

// Where nobody can take the request it is published again soon, and at once when an instance comes; the pause begins anew then,
// because a service may subscribe a moment after its hello.
func TestNoRespondersBackOff(t *testing.T) {
	c := newCrowd(t, 0)
	c.noService()
	c.add()
	c.stay()
	c.run(8 * time.Second)
	c.saw(0, 250, 750, 1_750, 3_750, 5_750, 7_750)
	c.asked = nil
	c.q.hurry(repeatCame, c.now, everyone)
	c.run(10 * time.Second)
	c.saw(8_000, 8_250, 8_750, 9_750)
	c.publish, c.asked = nil, nil // now it is subscribed, and slow
	c.run(25 * time.Second)
	c.saw(11_750, 16_750)
}

// An instance that says that it is deciding is not asked again while it lives.
func TestADecidingInstanceIsNotAskedAgain(t *testing.T) {
	decides := func(r *connectRequest) bool { return r.decider == "shop-1" }
	setUp := func(t *testing.T) (*crowd, *connectRequest) {
		c := newCrowd(t, 1).stay()
		r := c.q.all[0]
		c.run(time.Second)
		c.q.decides(r, "shop-1", c.now)
		for c.now.Sub(c.began) < 90*time.Second {
			c.q.heard("shop-1", true, c.now) // a beat
			if dead := c.q.expire(c.now, false); len(dead) > 0 {
				t.Fatalf("%v died", dead)
			}
			c.run(c.now.Sub(c.began) + time.Second)
		}
		c.saw(0)
		c.asked = nil
		return c, r
	}
	t.Run("it dies", func(t *testing.T) {
		c, r := setUp(t)
		c.run(95 * time.Second)
		if dead := c.q.expire(c.now, false); !slices.Equal(dead, []string{"shop-1"}) {
			t.Fatalf("%v died", dead)
		}
		c.q.hurry(repeatGone, c.now, decides)
		c.run(101 * time.Second)
		c.saw(95_000, 100_000)
		if r.decider != "" {
			t.Error("it still decides")
		}
	})
	t.Run("the edge was deaf", func(t *testing.T) {
		c, _ := setUp(t)
		c.run(95 * time.Second)
		if dead := c.q.expire(c.now, true); len(dead) > 0 {
			t.Fatalf("%v died", dead)
		}
	})
	t.Run("it says again", func(t *testing.T) {
		c, r := setUp(t)
		c.q.failed(r, repeatNoService, c.now) // of an earlier request
		c.run(91 * time.Second)
		c.saw()
		c.q.failed(r, repeatAgain, c.now)
		c.run(93 * time.Second)
		c.saw(91_250)
	})
	t.Run("nobody ever hears it", func(t *testing.T) {
		c := newCrowd(t, 1).stay()
		c.q.decides(c.q.all[0], "nobody-1", c.now)
		c.run(4 * time.Second)
		if dead := c.q.expire(c.now, false); !slices.Equal(dead, []string{"nobody-1"}) {
			t.Fatalf("%v died", dead)
		}
	})
}

// A request that is on its way is not published twice because an instance comes at that moment.
func TestHurryLeavesAloneWhatIsOnItsWay(t *testing.T) {
	c := newCrowd(t, 0)
	c.q.add(&socket{Namespace: &namespace{Name: "/chat"}, Edge: client{rules: c.rules}}, c.now) // the worker is to publish it
	c.q.hurry(repeatCame, c.now, everyone)
	if again, _ := c.q.due(c.now.Add(time.Second)); len(again) > 0 {
		t.Error("it is published twice")
	}
}

// Ten thousand sockets wait for a service, which comes, is silent, and goes: neither their requests nor the ends of their
// sessions come as a burst. The figures stand in docs/how-to/outages.md.
func TestACrowdMakesNoBurst(t *testing.T) {
	const sockets = 10_000
	for _, scene := range []struct {
		name string
		play func(c *crowd)
	}{
		{"no service, which comes later", func(c *crowd) {
			c.noService()
			c.q.hurry(repeatReconnected, c.now, everyone)
			c.run(8 * time.Second)
			c.q.hurry(repeatCame, c.now, everyone)
			c.run(time.Minute)
		}},
		{"a silent service", func(c *crowd) { c.run(time.Minute) }},
		{"an instance dies that was deciding", func(c *crowd) {
			for _, r := range c.q.all {
				c.q.decides(r, "shop-1", c.now)
			}
			c.run(4 * time.Second)
			c.q.hurry(repeatGone, c.now, everyone)
			c.run(time.Minute)
		}},
	} {
		t.Run(scene.name, func(t *testing.T) {
			c := newCrowd(t, sockets)
			c.asked = nil // the first request is as fast as the clients are
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
			if most := repeatsPerSecond/10 + repeatsPerSecond/50; asked > most {
				t.Errorf("%d requests in 100 ms, want at most %d", asked, most)
			}
			if most := closingsPerSecond/10 + closingsPerSecond/50; closed > most {
				t.Errorf("%d ends in 100 ms, want at most %d", closed, most)
			}
		})
	}
}

// peak is the most that came within any 100 ms.
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

// Requests come and go in any order; what is left is what was not removed.
func TestRequestsThatGo(t *testing.T) {
	c := newCrowd(t, 1000)
	for len(c.q.all) > 0 {
		r := c.q.all[rand.IntN(len(c.q.all))]
		if !c.q.remove(r) {
			t.Fatal("a request that was published says that it was not")
		}
		c.q.failed(r, repeatNoService, c.now) // late words about it do nothing
		c.q.decides(r, "shop-1", c.now)
		c.q.overNow(r, c.now)
		if _, waits := c.q.publishing(r, c.now); waits || r.repeat.Queued() || r.end.Queued() {
			t.Fatal("it waits still")
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
	if c.q.expire(c.now.Add(time.Hour), false) != nil {
		t.Error("nobody waits, and an instance is watched")
	}
}

// The drawn times spread over half of connect_timeout.
func TestTimesAreDrawn(t *testing.T) {
	c := newCrowd(t, 1000)
	var tenths [10]int
	for _, r := range c.q.all {
		f := float64(r.end.At().Sub(c.began)) / float64(DefaultConnectTimeout)
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
	c.rules.Unavailable = UnavailableRefuse
	if r := c.add(); !r.end.At().Equal(c.began.Add(DefaultConnectTimeout)) || r.repeat.Queued() {
		t.Error("with `unavailable: refuse` the time is connect_timeout, and nothing is published again")
	}
}

func TestWhichNamespacesAnInstanceServes(t *testing.T) {
	r := &connectRequest{socket: &socket{Namespace: &namespace{Name: "/tenant-1/chat"}}}
	for list, want := range map[string]bool{"": false, "/chat": false, "/tenant-1/chat": true, "/a /tenant-*": true, "*": true} {
		if got := r.concerns(strings.Fields(list)); got != want {
			t.Errorf("%q: %v, want %v", list, got, want)
		}
	}
}
