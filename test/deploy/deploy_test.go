package deploy

import (
	"cmp"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// tally counts what happened to all events.
type tally struct {
	sent, lost, doubled, reordered int
	moves                          int // how often a client's events continued at another instance
	unanswered, late               int
	disconnected                   int
}

func (t tally) String() string {
	return fmt.Sprintf("%d events sent, %d lost, %d doubled, %d reordered; %d acks did not come, %d came late; %d clients disconnected",
		t.sent, t.lost, t.doubled, t.reordered, t.unanswered, t.late, t.disconnected)
}

// count compares what clients sent with what instances handled.
func (c *crowd) count(j *journal) (sum tally) {
	c.t.Helper()
	j.catchUp(c.t)
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, one := range c.all {
		one.mu.Lock()
		entries := j.entries[one.name]
		slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
		seen := make([]int, one.sent)
		last := -1
		for i, e := range entries {
			seen[e.n]++
			if i > 0 && e.instance != entries[i-1].instance {
				sum.moves++
			}
			if e.n < last {
				sum.reordered++
				c.tell(one, "in another order", entries[max(0, i-4):min(len(entries), i+4)])
			}
			last = max(last, e.n)
		}
		for n, times := range seen {
			switch {
			case times == 0 && n < one.healed:
			case times == 0:
				sum.lost++
			case times > 1:
				sum.doubled++
			}
		}
		if sum.doubled > 0 {
			c.tell(one, "twice", entries[len(entries)-8:])
		}
		sum.sent += one.sent
		sum.unanswered += len(one.waiting)
		sum.late += one.late
		if one.lost != nil {
			sum.disconnected++
			c.t.Logf("client %s: %v", one.name, one.lost)
		}
		one.mu.Unlock()
	}
	return sum
}

// tell logs the events of the first client that arrived wrong.
func (c *crowd) tell(one *client, wrong string, entries []entry) {
	if !c.told {
		c.told = true
		c.t.Logf("events of client %s were handled %s: %+v", one.name, wrong, entries)
	}
}

// roll replaces each of three instances by a new one while clients emit, ending the old one with end. It returns the
// tally.
func roll(t *testing.T, end func(*stand.Process)) tally {
	servers := stand.Cluster(t)
	s := &stage{servers: servers, journal: listen(t, edgetest.Connect(t, servers[2].URL)), start: workerAt}
	return s.roll(t, 3, clients, end)
}

// stage is where instances are replaced: a cluster of NATS servers with the edges of all tests.
type stage struct {
	servers []*stand.Server
	journal *journal
	start   func(t *testing.T, label, url string) *stand.Process // of an instance
	crowd   *crowd                                               // of the latest roll
}

func (s *stage) roll(t *testing.T, instances, clients int, end func(*stand.Process)) tally {
	servers, j := s.servers, s.journal
	edges := []string{edgeAt(t, "edge 0", servers[0].URL), edgeAt(t, "edge 1", servers[1].URL)}
	var workers []*stand.Process
	for i := range instances {
		workers = append(workers, s.start(t, fmt.Sprint("instance ", i), servers[i].URL))
	}
	c := gather(t, edges, clients)
	s.crowd = c
	c.served("all clients are served")
	for i := range workers {
		replacement := s.start(t, fmt.Sprint("instance ", instances+i), servers[(i+1)%3].URL)
		end(workers[i])
		workers[i] = replacement
		c.served("all clients are served after the end of an instance")
	}
	c.quiet()
	sum := c.count(j)
	t.Log(sum)
	c.disperse()
	return sum
}

// With SIGTERM no event is affected.
func TestRollingRestart(t *testing.T) {
	sum := roll(t, func(p *stand.Process) {
		if err := p.Kill(syscall.SIGTERM); err != nil {
			t.Errorf("%s ended with %v", p.Name, err)
		}
	})
	if want := (tally{sent: sum.sent, moves: sum.moves}); sum != want {
		t.Errorf("%s", sum)
	}
}

// lossyFor is the longest time in which a client may lose events when its owner dies: until the edge notices three
// missing beats, plus the delays of a busy machine.
const lossyFor = 6 * time.Second

func TestInstancesAreKilled(t *testing.T) {
	checkDeaths(t, roll(t, func(p *stand.Process) { _ = p.Kill(syscall.SIGKILL) }))
}

// An instance that is stopped, and wakes up after its sockets have new owners, must not handle what it still has.
func TestInstancesAreStopped(t *testing.T) {
	var asleep []*stand.Process
	sum := roll(t, func(p *stand.Process) {
		p.Signal(syscall.SIGSTOP)
		asleep = append(asleep, p)
		if len(asleep) > 1 { // wakes while the next one sleeps
			asleep[len(asleep)-2].Signal(syscall.SIGCONT)
		}
	})
	checkDeaths(t, sum)
}

func checkDeaths(t *testing.T, sum tally) {
	t.Helper()
	lossy := sum.moves * int(lossyFor/interval)
	if sum.disconnected > 0 || sum.doubled > 0 || sum.reordered > 0 || sum.lost > lossy {
		t.Errorf("%s (at most %d may be lost)", sum, lossy)
	}
	t.Logf("DEPLOY: instances that die silently: %s, in %d changes of a client's owner", sum, sum.moves)
}
