package faults

import (
	"fmt"
	"slices"
	"time"
)

// tally counts what happened to all messages and clients. A delivery is one message at one member of its room.
type tally struct {
	messages, deliveries       int
	lost                       int           // deliveries of messages made in windows; no others may be lost
	lossy                      time.Duration // of all windows, the longest from the fault to the last lost message
	doubled, reordered         int           // deliveries
	disconnects, failures      int           // connections that ended, and attempts to come back that failed
	awayTypically, awayLongest time.Duration // from the end of a connection to the room again
}

func (t tally) String() string {
	return fmt.Sprintf("%d messages, %d deliveries: %d lost (the last of a message sent %v after the fault), %d doubled, %d reordered; "+
		"%d disconnects (away for %v typically, %v at the most), %d attempts to come back failed",
		t.messages, t.deliveries, t.lost, t.lossy.Round(10*time.Millisecond), t.doubled, t.reordered,
		t.disconnects, t.awayTypically.Round(10*time.Millisecond), t.awayLongest.Round(10*time.Millisecond), t.failures)
}

// finish waits for what is under way, and counts. Nothing may be lost outside of windows, and nothing may be doubled
// or reordered.
// reordered ever.
func (c *crowd) finish() tally {
	c.t.Helper()
	c.hush()
	c.arrived(c.made())
	var sum tally
	var away []time.Duration
	for _, one := range c.all {
		one.mu.Lock()
		sum.messages += len(one.sent)
		sum.reordered += one.reorders
		sum.disconnects += len(one.lost)
		sum.failures += one.failures
		away = append(away, one.away...)
		one.mu.Unlock()
		c.countRoom(one, &sum)
	}
	if slices.Sort(away); len(away) > 0 {
		sum.awayTypically, sum.awayLongest = away[len(away)/2], away[len(away)-1]
	}
	c.t.Logf("FAULTS: %s: %s", c.t.Name(), sum)
	if sum.doubled > 0 || sum.reordered > 0 {
		c.t.Error("messages were doubled or reordered")
	}
	return sum
}

// countRoom counts what happened to one client's messages.
func (c *crowd) countRoom(sender *client, sum *tally) {
	sender.mu.Lock()
	sent := slices.Clone(sender.sent)
	sender.mu.Unlock()
	for _, one := range c.rooms[sender.room] {
		one.mu.Lock()
		for n, at := range sent {
			sum.deliveries++
			switch times := one.heard[sender.name][n]; {
			case times == 0:
				sum.lost++
				if w := c.windowOf(sender.name, n); w != nil {
					sum.lossy = max(sum.lossy, at.Sub(w.at))
				}
			case times > 1:
				sum.doubled++
			}
		}
		one.mu.Unlock()
	}
}

// heard returns the number of deliveries of messages with some numbers.
func (c *crowd) heard(from, to map[string]int) (deliveries int) {
	for _, one := range c.all {
		one.mu.Lock()
		for who, numbers := range one.heard {
			for n, times := range numbers {
				if from[who] <= n && n < to[who] {
					deliveries += times
				}
			}
		}
		one.mu.Unlock()
	}
	return deliveries
}
