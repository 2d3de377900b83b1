package recovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"partyline/internal/edgetest"
	"partyline/test/recovery/judge"
)

// crowd is all clients of a stage, with the traffic.
type crowd struct {
	s        *stage
	raw      []*client
	official *official // nil if Node.js is missing
	traffic  *traffic
	refusals int // sessions that were not recovered and need not be
}

// gather connects raw clients with habits, in turn, and official ones, and then starts the traffic.
func (s *stage) gather(habits ...habit) *crowd {
	s.t.Helper()
	c := &crowd{s: s}
	for i := range *size {
		one := &client{s: s, habit: habits[i%len(habits)], failed: make(map[string]int),
			auth: auth{Name: fmt.Sprint("raw", i), Rooms: someRooms()}}
		c.raw = append(c.raw, one)
		s.running.Go(one.live)
	}
	c.official = s.startOfficial()
	edgetest.Eventually(s.t, "all clients have come", func() bool {
		return !slices.ContainsFunc(c.raw, func(one *client) bool { return !one.hasCome() }) && c.official.isComplete()
	})
	c.begin()
	s.running.Go(s.watch)
	s.running.Go(s.keepLog)
	c.traffic = s.publish(c.received)
	return c
}

// received returns the position of the newest event that the client of a socket has.
func (c *crowd) received(id string) (at judge.Pos) {
	name, offset := c.s.service.nameOf(id), ""
	if i := slices.IndexFunc(c.raw, func(one *client) bool { return one.auth.Name == name }); i >= 0 {
		c.raw[i].mu.Lock()
		offset = c.raw[i].offset
		c.raw[i].mu.Unlock()
	} else {
		offset = c.official.offset(name)
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	at, _ = (&judge.Log{Epochs: c.s.eras}).Parse(offset)
	return at
}

// someRooms returns three rooms.
func someRooms() (some []string) {
	for _, n := range rand.Perm(roomCount)[:3] {
		some = append(some, room(n))
	}
	return some
}

// begin demands of new sessions all events from now on.
func (c *crowd) begin() {
	c.s.t.Helper()
	from := c.s.here()
	for _, one := range c.raw {
		one.mu.Lock()
		if last := one.sessions[len(one.sessions)-1]; last.SureFrom == judge.Never {
			last.SureFrom = from
		}
		one.mu.Unlock()
	}
	c.official.begin(from)
}

// settled waits until the deployment is whole, and each client has received an event that was published since.
func (c *crowd) settled() {
	c.s.t.Helper()
	c.s.whole()
	c.reached()
	c.begin()
}

// reached waits until each client has received an event that is published now, or later, and returns the position of
// the latest.
func (c *crowd) reached() (at judge.Pos) {
	c.s.t.Helper()
	number, at := c.s.probe("all")
	have := func() bool {
		return !slices.ContainsFunc(c.raw, func(one *client) bool { return !one.has(number) }) && c.official.have(number)
	}
	next := time.Now()
	for end := next.Add(edgetest.Patience); !have(); time.Sleep(50 * time.Millisecond) {
		if time.Since(next) > 2*time.Second { // who was not recovered has missed it
			_, at = c.s.probe("all")
			next = time.Now()
		}
		if time.Now().After(end) {
			c.report()
			c.s.t.Fatal("not all clients receive events")
		}
	}
	return at
}

// finish ends the traffic, waits for what is under way, and judges. Up to refusals sessions may have ended without
// being recovered.
func (c *crowd) finish() *judge.Verdict {
	c.s.t.Helper()
	c.traffic.hush()
	close(c.s.calm)
	edgetest.Eventually(c.s.t, "all clients are back", func() bool {
		return !slices.ContainsFunc(c.raw, func(one *client) bool { return !one.isConnected() })
	})
	log := c.s.readLog(c.reached())
	var sum judge.Verdict
	for _, session := range c.sessions(log) {
		session.Rooms = append(session.Rooms, c.s.service.roomsOf(session.ID)...)
		v := log.Judge(session)
		if v.Lost+v.Foreign > 0 {
			v.Examples = append(v.Examples, fmt.Sprintf("rooms %v", session.Rooms))
			v.Examples = append(v.Examples, c.s.service.story(session.ID)...)
			v.Examples = append(v.Examples, c.historyOf(session)...)
		}
		sum.Add(v)
	}
	recoveries, refused := c.report()
	c.s.t.Logf("RECOVERY: %s: %d entries, %d room changes, %d recoveries, %d refused; %s", c.s.t.Name(), len(log.Entries),
		c.traffic.moves, recoveries, refused, &sum)
	if !*plain && (!sum.OK() || refused > c.refusals) {
		c.s.t.Errorf("clients have missed something, or were not recovered:\n%s", strings.Join(first(sum.Examples, 500), "\n"))
		c.s.t.Log(c.s.copies.lackOf(log))
	}
	return &sum
}

// historyOf returns the visits of a session's client, if it is a raw one.
func (c *crowd) historyOf(session *judge.Session) []string {
	for _, one := range c.raw {
		if strings.HasPrefix(session.Client, one.auth.Name+" ") {
			one.mu.Lock()
			defer one.mu.Unlock()
			return slices.Clone(one.history)
		}
	}
	return nil
}

// sessions returns what all clients recorded. Without recovery there are no offsets: the log has them.
func (c *crowd) sessions(log *judge.Log) []*judge.Session {
	all := c.official.recorded()
	for _, one := range c.raw {
		all = append(all, one.recorded()...)
	}
	if *plain {
		offsets := make(map[string]string)
		for _, e := range log.Entries {
			offsets[e.ID] = log.Offset(e.Pos)
		}
		for _, session := range all {
			for i := range session.Got {
				session.Got[i].Offset = offsets[session.Got[i].ID]
			}
		}
	}
	return all
}

// report logs how the clients fared, and returns how often they were recovered, and how often not.
func (c *crowd) report() (recoveries, refused int) {
	c.s.t.Helper()
	var away []time.Duration
	failed := make(map[string]int)
	var notes []string
	for _, one := range c.raw {
		one.mu.Lock()
		recoveries += one.comeBack
		refused += len(one.refused)
		notes = append(notes, one.refused...)
		away = append(away, one.away...)
		for why, n := range one.failed {
			failed[why] += n
		}
		for _, why := range one.wrong {
			c.s.t.Errorf("%s (%s): %s", one.auth.Name, one.habit.name, why)
		}
		one.mu.Unlock()
	}
	more, others := c.official.count()
	recoveries += more
	refused += len(others)
	notes = append(notes, others...)
	if slices.Sort(away); len(away) > 0 {
		c.s.t.Logf("away for %v typically, %v at the most", away[len(away)/2].Round(time.Millisecond), away[len(away)-1].Round(time.Millisecond))
	}
	for _, why := range slices.Sorted(maps.Keys(failed)) {
		c.s.t.Logf("%d times: %s", failed[why], why)
	}
	for _, e := range c.s.edges {
		_, text := e.Page("/metrics")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "partyline_recoveries_total{") && len(notes) > 0 {
				c.s.t.Logf("%s: %s", e.Name, strings.TrimSpace(line))
			}
		}
	}
	if len(notes) > 0 {
		c.s.t.Logf("not recovered:\n%s", strings.Join(first(notes, 20), "\n"))
	}
	return recoveries, refused
}

func first[T any](all []T, n int) []T { return all[:min(n, len(all))] }
