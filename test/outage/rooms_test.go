package outage

import (
	"fmt"
	"strings"
	"testing"
)

const (
	// rooms is the number of rooms with members in a test. One of them has all members.
	rooms   = 1000
	members = 50
	each    = rooms / members
	// swapped is the number of rooms that a member leaves during an outage, and of its neighbour's that it joins.
	swapped = 5
)

// crowd is sockets in rooms. in is the expected membership.
type crowd struct {
	s    *stage
	all  []*socket // the last is in every room
	in   []map[int]bool
	sent int // sequence number of the messages to rooms
}

// gather adds the members to their rooms, and one more socket to all of them.
func gather(s *stage) *crowd {
	s.t.Helper()
	c := &crowd{s: s}
	for i := range members + 1 {
		so, in := s.Enter(fmt.Sprintf("member %d", i), "/room"), map[int]bool{}
		first, count := i*each, each
		if i == members {
			first, count = 0, rooms
		}
		var names []string
		for room := first; room < first+count; room++ {
			in[room] = true
			names = append(names, roomName(room))
		}
		s.join(so, names)
		c.all, c.in = append(c.all, so), append(c.in, in)
	}
	return c
}

func roomName(n int) string { return fmt.Sprintf("room.%d", n) }

// swap makes each member leave some rooms and join some of its neighbour's, by relay rules. NATS is away, so the joins
// take effect at once and are not answered. The answer to a connect to an open namespace comes first.
func (c *crowd) swap() {
	c.s.t.Helper()
	for i, so := range c.all[:members] {
		for k := range swapped {
			out, to := i*each+k, (i+1)%members*each+each-1-k
			so.Emit(fmt.Sprint(2*k), fmt.Sprintf(`["leave",%q]`, roomName(out)))
			so.Emit(fmt.Sprint(2*k+1), fmt.Sprintf(`["join",%q]`, roomName(to)))
			delete(c.in[i], out)
			c.in[i][to] = true
		}
		so.Send("40/pair,")
		if got := so.Next(); !strings.HasPrefix(got, `40/pair,{"sid":"`) {
			c.s.t.Fatalf("without NATS a member got %q, want to be admitted to an open namespace", got)
		}
		so.Send("41/pair,")
	}
}

// swappedOver waits for the answers to swap.
func (c *crowd) swappedOver() {
	c.s.t.Helper()
	for _, so := range c.all[:members] {
		for k := range 2 * swapped {
			so.Expect(fmt.Sprintf(`43/room,%d[{"ok":true}]`, k))
		}
	}
}

// publish sends one message to each room, and returns what each socket must receive.
func (c *crowd) publish() [][]string {
	c.s.t.Helper()
	want := make([][]string, len(c.all))
	for room := range rooms {
		c.sent++
		body := fmt.Sprintf(`["news",%d]`, c.sent)
		c.s.Publish("sio.room.emit.room."+roomName(room), body)
		for i := range c.all {
			if c.in[i][room] {
				want[i] = append(want[i], body)
			}
		}
	}
	return want
}

// roundTrip publishes to each room, and checks that every message arrives at the members, once and in order.
func (c *crowd) roundTrip() {
	c.s.t.Helper()
	want := c.publish()
	c.s.Publish("sio.room.emit.all", `["end"]`)
	for i, so := range c.all {
		for _, body := range append(want[i], `["end"]`) {
			so.Gets(body)
		}
	}
}

// upward is numbered events of one socket to a service.
type upward struct {
	t      *testing.T
	so     *socket
	sent   int
	events chan string // what the service received
}

// listen starts the service that receives and acks them.
func (s *stage) listen(so *socket) *upward {
	s.t.Helper()
	u := &upward{t: s.t, so: so, events: make(chan string, 10_000)}
	s.Handle("sio.room.on.count", heard(u.events))
	return u
}

// emit sends n events and returns their numbers.
func (u *upward) emit(n int) []int {
	var numbers []int
	for range n {
		u.sent++
		u.so.Emit(fmt.Sprint(u.sent), fmt.Sprintf(`["count",%d]`, u.sent))
		numbers = append(numbers, u.sent)
	}
	return numbers
}

// arrive checks that n events arrive: each is the next that the service receives, and its ack the next that the socket
// receives.
func (u *upward) arrive(n int) {
	u.t.Helper()
	for _, number := range u.emit(n) {
		if got, want := <-u.events, fmt.Sprintf(`["count",%d]`, number); got != want {
			u.t.Fatalf("the service received %s, want %s", got, want)
		}
		u.so.Expect(fmt.Sprintf("43%s%d[]", u.so.Head, number))
	}
}
