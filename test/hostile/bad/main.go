// Command bad is many bad clients of an edge, for the tests of package hostile. It runs while no other program of
// its session wants the processor, so that it takes none from good clients on the same machine. At SIGTERM it prints how
// often clients of each kind began again, and ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"maps"
	"net"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// client is a bad client. Clients of one kind have neighbouring addresses.
type client struct {
	ctx     context.Context
	edge    string // host:port
	nats    string // URL
	number  int    // among those of its kind
	address net.IP
}

// kinds are what bad clients do, by name. Each function returns when its client has been cut off.
var kinds = map[string]func(*client){
	"pings":       pings,
	"events":      events,
	"relayed":     relayed,
	"large":       large,
	"connects":    connects,
	"auth":        auth,
	"joins":       joins,
	"comings":     comings,
	"churn":       churn,
	"deaf":        deaf,
	"attachments": attachments,
	"fragments":   fragments,
	"halves":      halves,
	"idle":        idle,
	"broken":      broken,
	"forged":      forged,
	"polls":       polls,
	"probes":      probes,
	"handshakes":  handshakes,
	"neighbours":  neighbours,
}

func main() {
	edge := flag.String("edge", "", "host:port of the edge")
	nats := flag.String("nats", "", "URL of NATS, for neighbours on the bus")
	clients := flag.Int("clients", 200, "how many, of all kinds together")
	only := flag.String("kinds", "", "kinds, separated by commas; default: all")
	lasts := flag.Duration("for", 5*time.Minute, "how long at most")
	flag.Parse()
	log.SetFlags(0)
	if err := yieldToAll(); err != nil {
		log.Fatalf("the policy SCHED_IDLE, without which bad clients take the processors of good ones: %v", err)
	}
	names := slices.Sorted(maps.Keys(kinds))
	if *only != "" {
		names = strings.Split(*only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *lasts)
	defer cancel()
	var all sync.WaitGroup
	began := make([]atomic.Int64, len(names))
	for i := range *clients {
		kind := i % len(names)
		run := kinds[names[kind]]
		if run == nil {
			log.Fatalf("there is no kind %q", names[kind])
		}
		c := &client{ctx: ctx, edge: *edge, nats: *nats, number: i / len(names), address: net.IPv4(127, 1, byte(kind+1), byte(i/len(names)%250+1))}
		all.Go(func() {
			for ctx.Err() == nil {
				began[kind].Add(1)
				run(c)
				c.pause(20 * time.Millisecond)
			}
		})
	}
	fmt.Println("here")
	all.Wait()
	for i, name := range names {
		fmt.Printf("%s began %d times\n", name, began[i].Load())
	}
	fmt.Println("gone")
}

// pause waits, or until the end.
func (c *client) pause(d time.Duration) {
	select {
	case <-c.ctx.Done():
	case <-time.After(d):
	}
}

// connect opens a TCP connection that lasts until the end at most, or returns nil.
func (c *client) connect() net.Conn {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: c.address}, Timeout: 10 * time.Second}
	conn, err := d.DialContext(c.ctx, "tcp", c.edge)
	if err != nil {
		c.pause(100 * time.Millisecond)
		return nil
	}
	context.AfterFunc(c.ctx, func() { _ = conn.Close() })
	return conn
}
