package contest

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/bench/load"
	"partyline/bench/process"
)

const (
	clientProcesses = 3
	crowdRoom       = 10  // clients of a small room
	crowdRate       = 500 // messages a second to small rooms, all rooms together
)

// crowd is a run of one part with many connections.
type crowd struct {
	*Scale
	*deployment
	clients   *generators
	nats      *nats.Conn
	count     int
	announced int     // messages to the hall so far
	idle      float64 // cores that the edges need for connections on which nothing happens
	idleNATS  float64
}

// crowd measures many connections, at their own edges or across.
func (s *Scale) crowd(d *deployment, edges, connections int, across bool) error {
	s.phase = "start"
	if err := s.programs.addNATS(d); err != nil {
		return err
	}
	for range edges {
		args := []string{"--nats.url=" + d.nats}
		if across {
			port, err := freePort()
			if err != nil {
				return err
			}
			address := "127.0.0.1:" + strconv.Itoa(port)
			args = append(args, "--listen="+address, "--advertise=http://"+address, "--edges.secret=of this benchmark")
		}
		if err := s.programs.addEdge(d, "edge", args...); err != nil {
			return err
		}
	}
	service, err := nats.Connect(d.nats)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer service.Close()
	c := &crowd{Scale: s, deployment: d, nats: service, count: connections}
	if err := c.connect(across); err != nil {
		return err
	}
	defer c.clients.stop()
	steps := []func() error{c.stay, c.rooms, c.hall}
	if s.part == Direct {
		steps = append(steps, c.kill, c.hall)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// connect connects all clients, and reads the memory that they need.
func (c *crowd) connect(across bool) error {
	c.phase = "connect"
	time.Sleep(time.Second)
	before, err := c.holdings()
	if err != nil {
		return err
	}
	cost, err := meter(c.deployment, nil)
	if err != nil {
		return err
	}
	var lasted time.Duration
	c.clients, lasted, err = c.Scale.programs.gather(clientProcesses, load.Job{
		Addresses: c.addresses, Clients: c.count, RoomSize: crowdRoom, Across: across,
	})
	if err != nil {
		return err
	}
	sum, err := cost()
	if err != nil {
		return err
	}
	n := float64(c.count)
	c.fact("connections", n, "")
	c.fact("connects, two joins each", n/lasted.Seconds(), "1/s")
	c.fact("edges, a connect", sum.edges*1e6/n, "µs CPU")
	c.fact("NATS, a connect", sum.broker*1e6/n, "µs CPU")
	time.Sleep(c.settle)
	after, err := c.holdings()
	if err != nil {
		return err
	}
	c.fact("edges, a connection", float64(after.edges-before.edges)/n, "bytes PSS")
	c.fact("NATS, a connection", float64(after.broker-before.broker)/n, "bytes PSS")
	c.fact("kernel, a connection with both ends", float64(after.kernel-before.kernel)/n, "bytes slab")
	return c.openFiles()
}

func (c *crowd) openFiles() error {
	most := 0
	for _, one := range c.edges() {
		n, err := files(one.PID)
		if err != nil {
			return fmt.Errorf("%s: %w", one.Name, err)
		}
		most = max(most, n)
	}
	c.fact("open files of an edge, most", float64(most), "")
	return nil
}

func (c *crowd) edges() []*program {
	return slices.DeleteFunc(slices.Clone(c.deployment.programs),
		func(p *program) bool { return p.Role == process.Broker })
}

// heard returns the result of the last order. It fails if a client has lost its connection.
func (c *crowd) heard() (*load.Heard, error) {
	heard, err := c.clients.heard()
	if err == nil && heard.Left > 0 {
		err = fmt.Errorf("%d connections were lost", heard.Left)
	}
	return heard, err
}

// stay measures connections on which nothing happens but heartbeats.
func (c *crowd) stay() error {
	c.phase = "idle"
	cost, err := meter(c.deployment, c.clients)
	if err != nil {
		return err
	}
	// 25 seconds in a run of the usual size: each client has one heartbeat.
	if err := c.clients.order(load.Order{Lasts: c.lasts + 5*time.Second}); err != nil {
		return err
	}
	if _, err := c.heard(); err != nil {
		return err
	}
	sum, err := cost()
	c.idle, c.idleNATS = sum.edges/sum.seconds, sum.broker/sum.seconds
	c.cores(sum)
	return err
}

// rooms measures messages of clients to the others in their small rooms.
func (c *crowd) rooms() error {
	c.phase = "rooms"
	return c.exchange(load.Order{Speak: crowdRate, Lasts: c.lasts}, func() error { return nil })
}

// hall measures one message a second to all.
func (c *crowd) hall() error {
	if c.phase = "hall"; c.announced > 0 {
		c.phase = "hall again"
	}
	said := map[int]int64{}
	count := int(c.lasts / time.Second)
	return c.exchange(load.Order{Messages: count, Lasts: c.lasts + 30*time.Second}, func() error {
		time.Sleep(200 * time.Millisecond) // until all generators count
		for range count {
			at := time.Since(c.clients.began)
			said[c.announced] = int64(at)
			if err := c.nats.Publish("sio.bench.emit.room."+load.Hall, load.Announcement(c.announced, at)); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			c.announced++
			time.Sleep(time.Second - (time.Since(c.clients.began) - at))
		}
		return nil
	}, said)
}

// exchange measures an order under which messages are delivered.
func (c *crowd) exchange(o load.Order, speak func() error, said ...map[int]int64) error {
	cost, err := meter(c.deployment, c.clients)
	if err != nil {
		return err
	}
	if err := c.clients.order(o); err != nil {
		return err
	}
	if err := speak(); err != nil {
		return err
	}
	heard, err := c.heard()
	if err != nil {
		return err
	}
	sum, err := cost()
	if err != nil {
		return err
	}
	n := max(1, float64(heard.Delivered))
	c.fact("deliveries", float64(heard.Delivered)/sum.seconds, "1/s")
	c.fact("edges, a delivery, idle aside", (sum.edges-c.idle*sum.seconds)*1e6/n, "µs CPU")
	c.fact("NATS, a delivery, idle aside", (sum.broker-c.idleNATS*sum.seconds)*1e6/n, "µs CPU")
	c.cores(sum)
	c.latency(heard.Latency, "latency")
	for _, at := range said {
		last := &load.Histogram{}
		for number, when := range heard.Last {
			last.Add(when - at[number])
		}
		c.fact("until the last has it, median", float64(last.Quantile(.5))/1e6, "ms")
		c.fact("until the last has it, max", float64(last.Most)/1e6, "ms")
	}
	c.faults(heard)
	return nil
}

// kill kills an edge, and measures how its clients come back.
func (c *crowd) kill() error {
	c.phase = "kill"
	victim := c.edges()[0]
	address := c.addresses[0]
	if err := c.clients.order(load.Order{Lose: address, Lasts: time.Minute}); err != nil {
		return err
	}
	if _, err := c.clients.await(); err != nil { // no client connects there any more
		return err
	}
	begin := time.Now()
	c.lose(victim)
	cost, err := meter(c.deployment, c.clients)
	if err != nil {
		return err
	}
	heard, err := c.clients.heard()
	if err != nil {
		return err
	}
	lasted := time.Since(begin) - 50*time.Millisecond // in which generators wait for duplicates
	sum, err := cost()
	if err != nil {
		return err
	}
	c.fact("clients that lost their edge", float64(heard.Left), "")
	c.fact("until all are back in their rooms", lasted.Seconds(), "s")
	c.latency(heard.Latency, "away")
	c.fact("attempts", float64(heard.Attempts), "")
	c.fact("of these failed", float64(heard.Refused), "")
	c.fact("edges, a client that comes back", sum.edges*1e6/float64(heard.Left), "µs CPU")
	c.cores(sum)
	return c.openFiles()
}
