package faults

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"partyline/internal/edgetest"
)

// roomSize is how many clients are in a room.
const roomSize = 10

// crowd is all clients. Every other room is in /relay, where the edge relays what they emit. The others are in /owned,
// where the instance that owns the socket does.
type crowd struct {
	t       *testing.T
	address string
	all     []*client
	rooms   map[string][]*client
	windows []*window // the faults, in their order

	quiet, over chan struct{} // closed to end the emitting, and to end the clients
	silence     sync.Once
	end         sync.Once
	talking     sync.WaitGroup
	running     sync.WaitGroup

	mu    sync.Mutex
	conns map[*websocket.Conn]struct{} // guarded by mu; nil when it is over
}

// gather connects clients that each emit a message per interval. It returns when each receives from its room.
func gather(t *testing.T, address string, size int, every time.Duration) *crowd {
	t.Helper()
	c := &crowd{
		t: t, address: address, rooms: make(map[string][]*client), conns: make(map[*websocket.Conn]struct{}),
		quiet: make(chan struct{}), over: make(chan struct{}),
	}
	for i := range size {
		number := i / roomSize
		one := &client{
			crowd: c, name: fmt.Sprint("client ", i), room: fmt.Sprint("room-", number), ns: []string{"/relay", "/owned"}[number%2],
			heard: make(map[string]map[int]int), newest: make(map[string]int), latest: make(map[string]int), answers: make(map[int]chan string),
		}
		one.head = one.ns + ","
		c.all = append(c.all, one)
		c.rooms[one.room] = append(c.rooms[one.room], one)
		c.running.Go(one.live)
	}
	t.Cleanup(c.disperse)
	c.complete("all clients have come")
	for _, one := range c.all {
		c.talking.Go(func() { one.talk(every) })
	}
	c.served("all clients receive from their rooms")
	return c
}

// hold registers a connection, unless the test is over.
func (c *crowd) hold(conn *websocket.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns != nil {
		c.conns[conn] = struct{}{}
	}
	return c.conns != nil
}

func (c *crowd) drop(conn *websocket.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

// disperse ends all clients.
func (c *crowd) disperse() {
	c.hush()
	c.end.Do(func() {
		close(c.over)
		c.mu.Lock()
		for conn := range c.conns {
			_ = conn.Close()
		}
		c.conns = nil
		c.mu.Unlock()
		c.running.Wait()
	})
}

// hush ends the emitting.
func (c *crowd) hush() {
	c.silence.Do(func() { close(c.quiet) })
	c.talking.Wait()
}

// complete waits until every client is in its room.
func (c *crowd) complete(what string) {
	c.t.Helper()
	for _, one := range c.all {
		edgetest.Eventually(c.t, what, func() bool {
			one.mu.Lock()
			defer one.mu.Unlock()
			return one.conn != nil && len(one.sent) == one.made
		})
	}
}

// made returns how many messages each client has made.
func (c *crowd) made() map[string]int {
	made := make(map[string]int)
	for _, one := range c.all {
		one.mu.Lock()
		made[one.name] = one.made
		one.mu.Unlock()
	}
	return made
}

// served waits until every client has received a newly made message of each client in its room.
func (c *crowd) served(what string) {
	c.t.Helper()
	now := c.made()
	for _, one := range c.all {
		edgetest.Eventually(c.t, what, func() bool {
			one.mu.Lock()
			defer one.mu.Unlock()
			return !slices.ContainsFunc(c.rooms[one.room], func(other *client) bool {
				latest, known := one.latest[other.name]
				return !known || latest < now[other.name]
			})
		})
	}
}

// window is a time in which messages may be lost: from before a fault until all clients are served again.
type window struct {
	at       time.Time
	from, to map[string]int // the numbers of the messages made in it, by sender
}

// within reports whether a message was made in the window.
func (w *window) within(sender string, n int) bool {
	return n >= w.from[sender] && (w.to == nil || n < w.to[sender])
}

// suffer checks that no message made before is lost, causes a fault, and waits until all clients are served again.
func (c *crowd) suffer(fault func()) {
	c.t.Helper()
	w := &window{from: c.made()}
	c.arrived(w.from)
	w.at = time.Now()
	c.windows = append(c.windows, w)
	fault()
	c.complete("all clients are there after the fault")
	c.served("all clients are served after the fault")
	w.to = c.made()
}

// arrived waits until all clients have the messages up to some numbers, except those made in windows.
func (c *crowd) arrived(upTo map[string]int) {
	c.t.Helper()
	for _, one := range c.all {
		var missing string
		for end := time.Now().Add(edgetest.Patience); ; time.Sleep(2 * time.Millisecond) {
			if missing = c.missing(one, upTo); missing == "" {
				break
			}
			if time.Now().After(end) {
				c.t.Fatal(missing)
			}
		}
	}
}

func (c *crowd) missing(one *client, upTo map[string]int) string {
	one.mu.Lock()
	defer one.mu.Unlock()
	for _, other := range c.rooms[one.room] {
		for n := range upTo[other.name] {
			if one.heard[other.name][n] == 0 && c.windowOf(other.name, n) == nil {
				return fmt.Sprintf("%s of %s has not heard message %d of %s, which no fault excuses", one.name, one.room, n, other.name)
			}
		}
	}
	return ""
}

// windowOf returns the fault during which a message was made, or nil.
func (c *crowd) windowOf(sender string, n int) *window {
	for _, w := range c.windows {
		if w.within(sender, n) {
			return w
		}
	}
	return nil
}

// sockets returns the current ids of the clients in /owned.
func (c *crowd) sockets() (now []string) {
	for _, one := range c.all {
		one.mu.Lock()
		if one.ns == "/owned" && one.conn != nil {
			now = append(now, one.ids[len(one.ids)-1])
		}
		one.mu.Unlock()
	}
	return now
}
