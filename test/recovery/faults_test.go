package recovery

import (
	"context"
	"syscall"
	"testing"
	"time"
)

// fault is something that goes wrong while clients receive.
type fault struct {
	name    string
	short   bool    // also without -recovery.full
	elects  bool    // the log gets another leader
	detours bool    // edges reach NATS over ways that can be cut
	habits  []habit // of the clients; nil: most stay
	happens func(*crowd)
}

var mixed = append([]habit{staysOnSocket, staysPolling, staysOnSocket}, restless...)

var faults = []fault{
	{name: "none", habits: []habit{staysOnSocket, staysPolling}, happens: func(*crowd) { time.Sleep(3 * time.Second) }},
	{name: "clients come and go", short: true, habits: restless, happens: func(*crowd) { time.Sleep(15 * time.Second) }},
	{name: "edges are killed", short: true, happens: func(c *crowd) {
		for _, e := range c.s.edges {
			_ = e.Kill(syscall.SIGKILL)
			time.Sleep(3 * time.Second)
			e.Restart(c.s.t)
			c.settled()
		}
	}},
	{name: "edges are killed and restarted at once", happens: func(c *crowd) {
		for _, e := range c.s.edges {
			_ = e.Kill(syscall.SIGKILL)
			e.Restart(c.s.t)
			time.Sleep(time.Second)
		}
	}},
	{name: "edges are drained", happens: func(c *crowd) {
		for _, e := range c.s.edges {
			if err := e.Kill(syscall.SIGTERM); err != nil {
				c.s.t.Errorf("%s ended with %v", e.Name, err)
			}
			e.Restart(c.s.t)
			c.settled()
		}
	}},
	{name: "an edge is stopped for 5 s", happens: func(c *crowd) {
		for _, e := range c.s.edges {
			e.Signal(syscall.SIGSTOP)
			time.Sleep(5 * time.Second)
			e.Signal(syscall.SIGCONT)
			c.settled()
		}
	}},
	{name: "edges lose NATS for a moment", detours: true, happens: func(c *crowd) { c.cut(300 * time.Millisecond) }},
	{name: "edges lose NATS for 5 s", detours: true, happens: func(c *crowd) { c.cut(5 * time.Second) }},
	{name: "a follower is killed", elects: true, happens: func(c *crowd) { c.stopServer(1, syscall.SIGKILL) }},
	{name: "the leader is stopped in order", elects: true, happens: func(c *crowd) { c.stopServer(0, syscall.SIGUSR2) }},
	{name: "the leader is killed", elects: true, happens: func(c *crowd) { c.stopServer(0, syscall.SIGKILL) }},
	{name: "the leader steps down", elects: true, happens: (*crowd).stepDown},
	{name: "a follower is stopped for 10 s", elects: true, happens: func(c *crowd) { c.freezeServer(1) }},
	{name: "the leader is stopped for 10 s", elects: true, happens: func(c *crowd) { c.freezeServer(0) }},
	{name: "the stream is deleted", happens: (*crowd).deleteStream},
}

// Whatever fails, clients that come back in time have all that is in the log, once and in order.
func TestNothingIsMissed(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			if !f.short && !*full {
				t.Skip("not in the short list; use -recovery.full")
			}
			t.Parallel()
			habits := f.habits
			if habits == nil {
				habits = mixed
			}
			c := begin(t, f.detours).gather(habits...)
			c.reached()
			for range *rounds {
				f.happens(c)
				c.settled()
			}
			if v := c.finish(); v.Late > 0 && !f.elects || v.Late > v.Received/1000 {
				t.Errorf("%d events came behind later ones: some may, and only if the log gets another leader", v.Late)
			}
		})
	}
}

// cut cuts each edge's path to NATS for some time.
func (c *crowd) cut(d time.Duration) {
	for i := range c.s.edges {
		c.s.ways[i].Stop()
		time.Sleep(d)
		c.s.ways[i].Mend()
		c.settled()
	}
}

// stopServer ends a NATS server, n behind that which leads the log, and restarts it.
func (c *crowd) stopServer(n int, signal syscall.Signal) {
	server := c.s.servers[(c.s.leader()+n)%3]
	_ = server.Kill(signal)
	time.Sleep(10 * time.Second) // an election takes up to 9 s
	server.Run(c.s.t)
	c.settled()
}

// stepDown has the log's leader hand over to another server, again and again. What is stored meanwhile is not always
// repeated.
func (c *crowd) stepDown() {
	for range 10 {
		if _, err := c.s.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+streamName, nil, 2*time.Second); err != nil {
			c.s.t.Log(err)
		}
		time.Sleep(time.Second)
		c.s.leader()
	}
	c.settled()
}

func (c *crowd) freezeServer(n int) {
	server := c.s.servers[(c.s.leader()+n)%3]
	server.Signal(syscall.SIGSTOP)
	time.Sleep(10 * time.Second)
	server.Signal(syscall.SIGCONT)
	c.settled()
}

// deleteStream deletes the log. What was in it is judged as far as it is read before. Sessions that were away
// meanwhile need not be recovered.
func (c *crowd) deleteStream() {
	t := c.s.t
	c.s.moving.Lock()
	defer c.s.moving.Unlock()
	c.s.readLog(c.s.here())
	c.s.reading.Lock() // nothing of the old stream is taken for the new one
	defer c.s.reading.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.s.js.DeleteStream(ctx, streamName); err != nil {
		t.Fatal(err)
	}
	if *plain {
		c.s.makeStream()
	}
	c.s.learnEra()
	c.refusals += len(c.raw) + officials
}
