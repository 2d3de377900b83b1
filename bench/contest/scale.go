package contest

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"partyline/bench/load"
	"partyline/bench/process"
)

// Parts of the measurement at scale.
const (
	Direct  = "direct"  // many connections, each at the edge of its session; then an edge is killed
	Same    = "same"    // as many as spliced ones fit, for comparison with them
	Spliced = "spliced" // connections behind a balancer that takes every request to any edge
	Spread  = "spread"  // so many edges that each member of a room is on another one
	Many    = "many"    // many rooms on one edge, and NATS restarts
	Cluster = "cluster" // the same with three NATS servers, one of which is killed
	Joins   = "joins"   // a fan-out, alone and while sockets join its room
	// Neighbours is a pair of clients, alone and beside a flood in another namespace.
	Neighbours = "neighbours"
	// Presence is joins and leaves where rooms show who is in them, and where they do not.
	Presence = "presence"
)

// Parts is all parts, in the order in which they are run.
var Parts = []string{Direct, Same, Spliced, Spread, Many, Cluster, Joins, Neighbours, Presence}

// Fact is one number that was measured.
type Fact struct {
	Part  string  `json:"part"`
	Phase string  `json:"phase"`
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// Scale measures many connections and many rooms.
type Scale struct {
	programs *Programs
	out      io.Writer
	Facts    []Fact
	Faults   int64 // messages that were lost, doubled, reordered or misplaced

	part, phase   string
	connections   int // of Direct
	spliced       int // of Same and Spliced
	spread        int // of Spread
	rooms         int
	lasts, settle time.Duration
}

// NewScale returns a measurement of the usual size, for processes that may open 20,000 files. A quick one is only a
// trial.
func (p *Programs) NewScale(quick bool, out io.Writer) *Scale {
	s := &Scale{programs: p, out: out, connections: 45_000, spliced: 24_000, spread: 9_000, rooms: 100_000,
		lasts: 20 * time.Second, settle: 12 * time.Second}
	if quick {
		s.connections, s.spliced, s.spread, s.rooms, s.lasts, s.settle = 3_000, 1_800, 600, 5_000, 3*time.Second, time.Second
	}
	return s
}

// Run runs one part.
func (s *Scale) Run(part string) (err error) {
	s.part = part
	d := &deployment{}
	defer d.stop()
	switch part {
	case Direct: // four edges: of three, the two that are left could not open files for all
		err = s.crowd(d, 4, s.connections, false)
	case Same:
		err = s.crowd(d, 3, s.spliced, false)
	// of three edges each needs a file for each of its sessions, and two for each that it splices: 7 for 9 connections
	case Spliced:
		err = s.crowd(d, 3, s.spliced, true)
	case Spread:
		err = s.crowd(d, crowdRoom, s.spread, false)
	case Many:
		err = s.manyRooms(d)
	case Cluster:
		err = s.manyRoomsInCluster(d)
	case Joins:
		err = s.joins(d)
	case Neighbours:
		err = s.neighbours(d)
	case Presence:
		err = s.presence(d)
	default:
		return fmt.Errorf("there is no part %q; there are %s", part, strings.Join(Parts, ", "))
	}
	if err != nil {
		return fmt.Errorf("%s, %s: %w\n%s", s.part, s.phase, err, d.tails())
	}
	return nil
}

func (s *Scale) fact(what string, value float64, unit string) {
	s.Facts = append(s.Facts, Fact{s.part, s.phase, what, value, unit})
	_, _ = fmt.Fprintf(s.out, "%-10s %-12s %-44s %12s %s\n", s.part, s.phase, what, strconv.FormatFloat(value, 'g', 5, 64),
		unit)
}

// spending is CPU time in seconds.
type spending struct{ seconds, edges, broker, clients, others float64 }

// meter begins a measurement. The function that it returns ends it.
func meter(d *deployment, g *generators) (func() (spending, error), error) {
	first, err := spent(d, g)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	return func() (spending, error) {
		last, err := spent(d, g)
		last.seconds = time.Since(begin).Seconds()
		last.edges -= first.edges
		last.broker -= first.broker
		last.clients -= first.clients
		last.others -= first.others + last.edges + last.broker + last.clients
		return last, err
	}, nil
}

func spent(d *deployment, g *generators) (sum spending, err error) {
	for _, one := range d.programs {
		seconds, err := process.CPU(one.PID)
		if err != nil {
			return sum, fmt.Errorf("%s: %w", one.Name, err)
		}
		if one.Role == process.Broker {
			sum.broker += seconds
		} else {
			sum.edges += seconds
		}
	}
	if g != nil {
		if sum.clients, err = g.cpu(); err != nil {
			return sum, err
		}
	}
	sum.others, err = process.Busy()
	return sum, err
}

func (s *Scale) cores(c spending) {
	s.fact("edges", c.edges/c.seconds, "cores")
	s.fact("NATS", c.broker/c.seconds, "cores")
	s.fact("clients", c.clients/c.seconds, "cores")
	s.fact("other programs", max(0, c.others/c.seconds), "cores")
}

// holdings is memory in bytes: of the edges, of NATS, and of the kernel's own structures, for both ends of a
// connection.
type holdings struct{ edges, broker, kernel int64 }

func (d *deployment) holdings() (h holdings, err error) {
	for _, one := range d.programs {
		bytes, err := process.PSS(one.PID)
		if err != nil {
			return h, fmt.Errorf("%s: %w", one.Name, err)
		}
		if one.Role == process.Broker {
			h.broker += bytes
		} else {
			h.edges += bytes
		}
	}
	h.kernel, err = process.Slab()
	return h, err
}

// lose kills one of the programs, and forgets it.
func (d *deployment) lose(one *program) {
	one.stop()
	d.programs = slices.DeleteFunc(d.programs, func(other *program) bool { return other == one })
}

func (s *Scale) latency(h *load.Histogram, name string) {
	s.fact(name+", p50", float64(h.Quantile(.5))/1e6, "ms")
	s.fact(name+", p99", float64(h.Quantile(.99))/1e6, "ms")
	s.fact(name+", max", float64(h.Most)/1e6, "ms")
}

func (s *Scale) faults(h *load.Heard) {
	n := h.Lost + h.Doubled + h.Reordered + h.Misplaced
	s.Faults += n
	s.fact("lost", float64(h.Lost), "")
	s.fact("doubled, reordered, misplaced", float64(n-h.Lost), "")
}

// files is how many files a process has open.
func files(pid int) (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list), err
}
