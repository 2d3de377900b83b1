package contest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"partyline/bench/load"
	"partyline/bench/process"
)

// generators are the processes with a crowd's clients.
type generators struct {
	began   time.Time // from which the times of messages count
	clients int       // of each
	each    []*generator
}

type generator struct {
	command *exec.Cmd
	in      *json.Encoder
	lines   chan load.Line // closed when the process has ended
}

// gather starts as many generators as told, shares the clients among them, and waits until all are connected. It
// returns how long that took, from the first connect to the last client in its rooms.
func (p *Programs) gather(count int, job load.Job) (*generators, time.Duration, error) {
	g := &generators{began: time.Now(), clients: job.Clients / count}
	job.Kind, job.Clients, job.Began = load.Crowd, g.clients, g.began.UnixNano()
	begin := time.Now()
	for i := range count {
		job.First = i * g.clients
		one, err := p.generator(job)
		if err != nil {
			g.stop()
			return nil, 0, err
		}
		g.each = append(g.each, one)
	}
	lines, err := g.await()
	for i := range lines {
		if err == nil && lines[i].Connected == nil {
			err = errors.New("a generator does not say that its clients are there")
		}
	}
	if err != nil {
		g.stop()
		return nil, 0, err
	}
	return g, time.Since(begin), nil
}

func (p *Programs) generator(job load.Job) (*generator, error) {
	g := &generator{command: exec.Command(p.self, "generate"), lines: make(chan load.Line, 10)}
	g.command.Stderr, g.command.SysProcAttr = os.Stderr, orphans
	in, err := g.command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("generator: %w", err)
	}
	out, err := g.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("generator: %w", err)
	}
	if err := g.command.Start(); err != nil {
		return nil, fmt.Errorf("generator: %w", err)
	}
	go g.follow(out)
	g.in = json.NewEncoder(in)
	if err := g.in.Encode(job); err != nil {
		g.stop()
		return nil, fmt.Errorf("generator: %w", err)
	}
	return g, nil
}

func (g *generator) follow(out io.Reader) {
	defer close(g.lines)
	for lines := json.NewDecoder(bufio.NewReader(out)); ; {
		var line load.Line
		if lines.Decode(&line) != nil {
			return
		}
		g.lines <- line
	}
}

func (g *generator) stop() {
	_ = g.command.Process.Kill()
	for range g.lines {
	}
	_ = g.command.Wait() // it is killed, so its status does not matter
}

func (g *generators) stop() {
	for _, one := range g.each {
		one.stop()
	}
}

// order sends an Order to all generators. Its messages are divided among them.
func (g *generators) order(o load.Order) error {
	o.Speak /= float64(len(g.each))
	for _, one := range g.each {
		if err := one.in.Encode(o); err != nil {
			return fmt.Errorf("generator: %w", err)
		}
	}
	return nil
}

// await returns the next line of each generator.
func (g *generators) await() (lines []load.Line, err error) {
	for _, one := range g.each {
		line, ok := <-one.lines
		switch {
		case !ok:
			return nil, errors.New("a generator has ended")
		case line.Failed != "":
			return nil, errors.New(line.Failed)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// heard returns the result of an order, of all generators together.
func (g *generators) heard() (*load.Heard, error) {
	lines, err := g.await()
	if err != nil {
		return nil, err
	}
	sum := &load.Heard{Latency: &load.Histogram{}, Last: map[int]int64{}}
	for _, line := range lines {
		h := line.Heard
		if h == nil {
			return nil, errors.New("a generator does not say what its clients heard")
		}
		sum.Sent += h.Sent
		sum.Left += h.Left
		sum.Delivered += h.Delivered
		sum.Lost += h.Lost
		sum.Doubled += h.Doubled
		sum.Reordered += h.Reordered
		sum.Misplaced += h.Misplaced
		sum.Attempts += h.Attempts
		sum.Refused += h.Refused
		sum.Latency.Merge(h.Latency)
		for number, at := range h.Last {
			sum.Last[number] = max(sum.Last[number], at)
		}
	}
	return sum, nil
}

// cpu returns the CPU time in seconds of all generators.
func (g *generators) cpu() (sum float64, err error) {
	for _, one := range g.each {
		seconds, err := process.CPU(one.command.Process.Pid)
		if err != nil {
			return 0, fmt.Errorf("generator: %w", err)
		}
		sum += seconds
	}
	return sum, nil
}
