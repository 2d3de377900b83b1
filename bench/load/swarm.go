package load

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"partyline/bench/process"
)

const (
	sources   = 8      // addresses of the loopback that clients connect from
	atOnce    = 64     // connects in progress, by default
	openFiles = 20_000 // limit of this process
	patience  = 20 * time.Second

	bareSettles = 300 * time.Millisecond
)

// swarm has all clients of a job and their loop, which runs on one goroutine.
type swarm struct {
	job     Job
	input   *bufio.Reader
	out     *json.Encoder
	poll    *poll
	targets []*unix.SockaddrInet4
	clients []*client // by file descriptor
	all     []*client // by index
	order   []int     // in which clients send, random
	buffer  []byte    // for reading, shared by all clients
	dirty   []*client // that have something to send
	at      int64     // when the current socket was read

	connecting, arrived int
	onReady             func(*client)
	released            bool // the standard input had a line

	posters map[int]*poster // by file descriptor
	byIndex []*poster
	failed  error // of a write that has no caller to return it to

	speech
	churning
	crowd
}

// Main runs the job that it reads from the standard input.
func Main() error {
	runtime.LockOSThread()
	s := &swarm{out: json.NewEncoder(os.Stdout), clients: make([]*client, openFiles), buffer: make([]byte, 1<<20)}
	if err := s.main(); err != nil {
		_ = s.out.Encode(Line{Failed: err.Error()})
		return err
	}
	return nil
}

func (s *swarm) main() error {
	s.input = bufio.NewReaderSize(os.Stdin, 1<<16)
	line, err := s.input.ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the job: %w", err)
	}
	if err := json.Unmarshal(line, &s.job); err != nil {
		return fmt.Errorf("the job: %w", err)
	}
	if s.poll, err = newPoll(); err != nil {
		return err
	}
	for _, a := range s.job.Addresses {
		target, err := address(a)
		if err != nil {
			return err
		}
		s.targets = append(s.targets, target)
	}
	switch s.job.Kind {
	case Churn:
		return s.churn()
	case Crowd:
		if s.job.Began != 0 {
			began = began.Add(time.Duration(s.job.Began - began.UnixNano()))
		}
		return s.assemble()
	}
	if err := s.gather(); err != nil {
		return err
	}
	if s.job.Kind == Idle {
		return s.stay()
	}
	s.prepare()
	if s.job.Kind == Post {
		if err := s.connectPosters(); err != nil {
			return err
		}
	}
	for _, p := range s.job.Phases {
		if err := s.speak(p); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

// gather connects all clients.
func (s *swarm) gather() error {
	count := s.job.Clients
	if s.job.Kind == Fanout {
		count++ // the last one is the speaker
	}
	cost, err := s.meter()
	if err != nil {
		return err
	}
	late := now() + int64(patience) + int64(count)*int64(5*time.Millisecond)
	begun, latency := make([]int64, count), &Histogram{}
	s.onReady = func(c *client) { latency.Add(now() - begun[c.index-s.job.First]) }
	for s.arrived < count {
		for s.connecting < cmp.Or(s.job.AtOnce, atOnce) && len(s.all) < count {
			index := s.job.First + len(s.all)
			begun[len(s.all)] = now()
			rooms, streams := s.place(index)
			c, err := s.connect(index, rooms, streams)
			if err != nil {
				return err
			}
			s.all = append(s.all, c)
		}
		if err := s.step(late); err != nil {
			return err
		}
		if now() > late {
			return fmt.Errorf("%d of %d clients are ready in time", s.arrived, count)
		}
	}
	s.onReady = nil
	spent, err := cost()
	if err != nil {
		return err
	}
	if s.job.Bare { // such a server does not confirm a client
		time.Sleep(bareSettles)
	}
	s.order = rand.New(rand.NewPCG(1, 2)).Perm(count) // the same in each run
	return s.out.Encode(Line{Connected: &Connected{Clients: count, Seconds: spent.seconds, CPU: spent.cpu,
		Own: spent.own, P50: latency.Quantile(.5), P99: latency.Quantile(.99), Most: latency.Most}})
}

// place returns the rooms that a client joins, and how many speakers it receives from.
func (s *swarm) place(index int) (rooms []string, streams int) {
	switch s.job.Kind {
	case Fanout:
		rooms, streams = []string{"hall"}, 1
	case Rooms:
		rooms, streams = []string{"room-" + strconv.Itoa(index/s.job.RoomSize)}, s.job.RoomSize
	case Echo:
		streams = 1
	case Post:
		rooms, streams = []string{hall}, s.job.Posters
	case Crowd:
		rooms, streams = []string{fmt.Sprintf("room-%07d", index/s.job.RoomSize), Hall}, s.job.RoomSize+1
	}
	return rooms, streams
}

// stay keeps clients connected until the standard input has a line, or ends.
func (s *swarm) stay() error {
	if err := s.poll.add(int(os.Stdin.Fd())); err != nil {
		return err
	}
	for !s.released {
		if err := s.step(now() + int64(time.Second)); err != nil {
			return err
		}
	}
	return nil
}

// step waits for events until a time, and handles them.
func (s *swarm) step(until int64) error {
	if s.job.Kind == Crowd {
		next, err := s.comeBack()
		if err != nil {
			return err
		}
		until = min(until, next)
	}
	if err := s.flushAll(); err != nil {
		return err
	}
	if s.failed != nil {
		return s.failed
	}
	events, err := s.poll.wait(until)
	if err != nil {
		return err
	}
	for _, e := range events {
		fd := int(e.Fd)
		switch c := s.clients[fd]; {
		case fd == s.poll.timer:
			s.poll.ring()
		case fd == int(os.Stdin.Fd()):
			s.released = true
		case s.posters[fd] != nil:
			if err := s.posted(s.posters[fd]); err != nil {
				return err
			}
		case c == nil:
		default:
			if e.Events&unix.EPOLLOUT != 0 {
				if err := s.unblock(c); err != nil {
					return err
				}
			}
			if e.Events&^unix.EPOLLOUT != 0 {
				if err := s.read(c); err != nil {
					return err
				}
			}
		}
	}
	return s.flushAll()
}

func (s *swarm) flushAll() error {
	for i := 0; i < len(s.dirty); i++ {
		c := s.dirty[i]
		if c.fd < 0 || !c.dirty {
			continue
		}
		if err := s.flush(c); err != nil {
			return err
		}
	}
	s.dirty = s.dirty[:0]
	return nil
}

// spent is the cost of a period, in seconds.
type spent struct {
	seconds     float64
	cpu         map[string]float64
	own, others float64
}

// meter begins a measurement. The function that it returns ends it.
func (s *swarm) meter() (func() (spent, error), error) {
	first, err := s.costs()
	if err != nil {
		return nil, err
	}
	return func() (spent, error) {
		last, err := s.costs()
		if err != nil {
			return spent{}, err
		}
		d := spent{seconds: last.seconds - first.seconds, cpu: map[string]float64{}, own: last.own - first.own}
		d.others = last.others - first.others - d.own
		for name, sum := range last.cpu {
			d.cpu[name] = sum - first.cpu[name]
			d.others -= d.cpu[name]
		}
		return d, nil
	}, nil
}

// costs returns the sums so far.
func (s *swarm) costs() (sums spent, err error) {
	sums = spent{seconds: float64(now()) / 1e9, cpu: map[string]float64{}}
	for _, w := range s.job.Watch {
		if sums.cpu[w.Name], err = process.CPU(w.PID); err != nil {
			return sums, fmt.Errorf("%s: %w", w.Name, err)
		}
	}
	if sums.own, err = process.CPU(os.Getpid()); err != nil {
		return sums, err
	}
	sums.others, err = process.Busy()
	return sums, err
}
