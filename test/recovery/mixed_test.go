package recovery

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// trouble is a fault that comes while others last.
type trouble struct {
	name  string
	at    string                                   // what it is about: two at once of that would be one
	begin func() (end func(), lasts time.Duration) // end must not wait for another trouble to end
}

// Edges are killed, drained, stopped and cut off in any order, while NATS servers are killed, stopped in order and
// frozen, one at a time: JetStream needs two.
func TestNothingIsMissedWhateverComesTogether(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	c := begin(t, true).gather(mixed...)
	c.reached()
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64()
	}
	t.Logf("the faults are those of -recovery.seed=%d", chosen)
	random := rand.New(rand.NewPCG(chosen, 0))
	for range *rounds {
		c.suffer(random, time.Minute)
		c.settled()
	}
	c.finish()
}

// suffer begins troubles for some time, and ends all.
func (c *crowd) suffer(random *rand.Rand, d time.Duration) {
	type lasting struct {
		end   func()
		until time.Time
	}
	all, now := c.troubles(random), make(map[string]lasting)
	last := time.Now().Add(d)
	for next := time.Now(); time.Now().Before(last) || len(now) > 0; time.Sleep(20 * time.Millisecond) {
		for at, one := range now {
			if time.Now().After(one.until) {
				one.end()
				delete(now, at)
			}
		}
		one := all[random.IntN(len(all))]
		_, isBusy := now[one.at]
		if time.Now().Before(next) || time.Now().After(last) || isBusy || one.at == servers && !c.s.isCurrent() {
			continue
		}
		end, lasts := one.begin()
		c.s.t.Logf("%s: %s, for %v", time.Now().Format("05.000"), one.name, lasts.Round(time.Millisecond))
		now[one.at] = lasting{end, time.Now().Add(lasts)}
		next = time.Now().Add(below(random, 2*time.Second))
	}
}

// servers is what troubles of NATS servers are about.
const servers = "NATS"

// below draws a duration.
func below(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(most)))
}

// troubles lists all.
func (c *crowd) troubles(random *rand.Rand) (all []trouble) {
	t := c.s.t
	for i, e := range c.s.edges {
		way := c.s.ways[i]
		signal := func(name string, signal syscall.Signal, most time.Duration) {
			all = append(all, trouble{e.Name + " gets " + name, e.Name, func() (func(), time.Duration) {
				_ = e.Kill(signal)
				return func() { e.Run(t) }, below(random, most)
			}})
		}
		signal("SIGKILL", syscall.SIGKILL, 3*time.Second)
		signal("SIGTERM", syscall.SIGTERM, time.Second)
		all = append(all,
			trouble{e.Name + " is stopped", e.Name, func() (func(), time.Duration) {
				e.Signal(syscall.SIGSTOP)
				return func() { e.Signal(syscall.SIGCONT) }, below(random, 5*time.Second)
			}},
			trouble{e.Name + " is cut off", fmt.Sprint("way ", i), func() (func(), time.Duration) {
				way.Stop()
				return way.Mend, below(random, 5*time.Second)
			}})
	}
	server := func(name string, begin func(n int) (end func())) {
		all = append(all, trouble{name, servers, func() (func(), time.Duration) {
			return begin((c.s.leader() + random.IntN(3)) % 3), 5*time.Second + below(random, 5*time.Second)
		}})
	}
	stop := func(signal syscall.Signal) func(n int) func() {
		return func(n int) func() {
			_ = c.s.servers[n].Kill(signal)
			return func() { c.s.servers[n].Run(t) }
		}
	}
	server("a server is killed", stop(syscall.SIGKILL))
	server("a server is stopped in order", stop(syscall.SIGUSR2))
	server("a server is frozen", func(n int) func() {
		c.s.servers[n].Signal(syscall.SIGSTOP)
		return func() { c.s.servers[n].Signal(syscall.SIGCONT) }
	})
	return all
}
