package soak

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// What clients do, on average. Each waits between half of these times and one and a half.
const (
	sayEvery  = 4 * time.Second  // a message to one of its rooms
	echoEvery = 5 * time.Second  // an event that a service acks
	moveEvery = 8 * time.Second  // it leaves a room and enters another
	stays     = 20 * time.Second // connected
	away      = time.Second      // until it comes back

	roomCount = 10 // of a namespace
	roomsEach = 2
)

// filler makes a message as long as usual ones.
const filler = "a message of about a hundred bytes, as people send them in a chat"

func vary(mean time.Duration) time.Duration { return mean/2 + rand.N(mean) }

// client comes and goes, each time as a new session, which talks in its rooms.
type client struct {
	s         *stage
	number    int
	namespace string
	visits    int
}

// live visits edges until the run is over.
func (c *client) live() {
	for {
		if v, err := c.enter(); err == nil {
			v.stay()
		}
		again := time.NewTimer(vary(away))
		select {
		case <-c.s.over:
			again.Stop()
			return
		case <-again.C:
		}
	}
}

// enter connects to any edge, and to the namespace.
func (c *client) enter() (*visit, error) {
	edge := c.s.edges[rand.IntN(len(c.s.edges))]
	c.visits++
	began := time.Now()
	v := &visit{s: c.s, gone: make(chan struct{}), session: &session{
		name: fmt.Sprintf("c%d.%d", c.number, c.visits), namespace: c.namespace, edge: edge,
		in: make(map[string]*membership), sent: make(map[string]int), calls: make(map[int]*call),
	}}
	err := v.connect(c.number/3%2 == 0)
	l := c.s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.sum.sessions++
		l.sessions[v.name] = v.session
		c.s.visits[v] = true
		c.s.running.Go(v.read)
	case edge.suffered(began, time.Now()):
		l.sum.refusedInFaults++
	default:
		l.sum.refused++
		l.wrong("%s cannot connect to %s: %v", v.name, edge.name, err)
	}
	return v, err
}
