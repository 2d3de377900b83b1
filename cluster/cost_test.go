package cluster_test

import (
	"flag"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"partyline/internal/edgetest"
)

var hopCost = flag.Int("hop.cost", 0, "measure the cost of a WebSocket through another edge, with that many of them")

// TestCostOfAHop measures the figures in docs/how-to/deploy.md:
//
//	go test ./cluster -run CostOfAHop -v -hop.cost 1000
//
// Clients and both edges are in this process. So each figure is that of spliced connections minus that of as many
// direct ones.
func TestCostOfAHop(t *testing.T) {
	if *hopCost == 0 {
		t.Skip("only with -hop.cost")
	}
	s := begin(t, 2)
	owner, other := s.nodes[0], s.nodes[1]
	s.cost(owner, owner, 50) // what is allocated only once
	s.cost(owner, other, 50)
	direct := s.cost(owner, owner, *hopCost)
	spliced := s.cost(owner, other, *hopCost)
	n := float64(*hopCost)
	t.Logf("%d idle connections, each one costs the edge between: %.1f kB of memory, %.2f descriptors, %.2f goroutines",
		*hopCost, (spliced.memory-direct.memory)/n/1024, (spliced.descriptors-direct.descriptors)/n,
		(spliced.goroutines-direct.goroutines)/n)
	t.Logf("a message of 100 bytes there and back takes all together %v of CPU, spliced %v; one way costs the edge between %v",
		direct.processor, spliced.processor, (spliced.processor-direct.processor)/2)
}

// costs are those of idle connections, and of one message there and back.
type costs struct {
	memory, descriptors, goroutines float64 // bytes, and numbers
	processor                       time.Duration
}

// cost opens sessions of one edge through another, or the same, measures them, and ends them.
func (s *stage) cost(owner, through *edgetest.Node, connections int) costs {
	s.t.Helper()
	var sids []string
	for range connections {
		sids = append(sids, s.open(owner))
	}
	before := s.usage()
	var sockets []webSocket
	for _, sid := range sids {
		sockets = append(sockets, s.upgrade(through, sid))
	}
	edgetest.Eventually(s.t, "all have moved", func() bool { return owner.Figure("upgrades_total", "") >= connections })
	after := s.usage()
	c := costs{
		memory: after.memory - before.memory, descriptors: after.descriptors - before.descriptors,
		goroutines: after.goroutines - before.goroutines,
	}
	c.processor = s.roundTrips(sockets[0], 20_000)
	for _, ws := range sockets {
		_ = ws.Close()
	}
	edgetest.Eventually(s.t, "all have gone", func() bool {
		return owner.Engine.Sessions() == 0 && through.Forward.Active() == 0
	})
	return c
}

// usage returns what the idle process uses.
func (s *stage) usage() costs {
	s.t.Helper()
	s.http.CloseIdleConnections()
	var c costs
	same := 0
	edgetest.Eventually(s.t, "the process is idle", func() bool {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			s.t.Skip("only where there is /proc")
		}
		goroutines, descriptors := float64(runtime.NumGoroutine()), float64(len(open))
		if c.goroutines == goroutines && c.descriptors == descriptors {
			same++
		} else {
			same = 0
		}
		c = costs{memory: float64(m.HeapAlloc + m.StackInuse), descriptors: descriptors, goroutines: goroutines}
		return same >= 5
	})
	return c
}

// roundTrips sends WebSocket pings, one after another, which the session's edge answers by itself. It returns the CPU
// time of each. (Elapsed time means nothing here: all of it is one process.)
func (s *stage) roundTrips(ws webSocket, n int) time.Duration {
	s.t.Helper()
	_ = ws.SetReadDeadline(time.Time{})
	pong := make(chan struct{}, 1)
	ws.SetPongHandler(func(string) error { pong <- struct{}{}; return nil })
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		_, _, _ = ws.ReadMessage() // pongs are read on the way
	}()
	payload := []byte(strings.Repeat("x", 100))
	used := processorTime()
	for range n {
		if err := ws.WriteControl(websocket.PingMessage, payload, time.Now().Add(edgetest.Patience)); err != nil {
			s.t.Fatal(err)
		}
		<-pong
	}
	used = processorTime() - used
	_ = ws.Close()
	<-reading
	return used / time.Duration(n)
}

// processorTime returns the CPU time that the process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
