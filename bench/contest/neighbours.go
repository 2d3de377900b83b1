package contest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"partyline/bench/flood"
	"partyline/bench/load"
)

const (
	pairRate  = 200 // messages a second of the pair, each of one to the other
	pairTurns = 5   // quiet and flooded, alternately, so that other load on the machine affects both
)

// neighbours measures a pair of clients alone, and beside a flood in another namespace of the same edge.
func (s *Scale) neighbours(d *deployment) error {
	s.phase = "start"
	if err := s.programs.addNATS(d); err != nil {
		return err
	}
	if err := s.programs.addEdge(d, "edge", "--nats.url="+d.nats); err != nil {
		return err
	}
	c := &crowd{Scale: s, deployment: d}
	var err error
	if c.clients, _, err = s.programs.gather(1, load.Job{Addresses: d.addresses, Clients: 2, RoomSize: 2}); err != nil {
		return err
	}
	defer c.clients.stop()
	f, err := s.programs.flooder(d.addresses[0])
	if err != nil {
		return err
	}
	defer f.stop()
	lasts := s.lasts / pairTurns
	var all load.Heard
	quiet, flooded, sum := &load.Histogram{}, &load.Histogram{}, flood.Report{}
	for range pairTurns {
		for _, latency := range []*load.Histogram{quiet, flooded} {
			if latency == flooded {
				if err := f.begin(lasts + time.Second); err != nil {
					return err
				}
				time.Sleep(time.Second / 2) // the flood has begun, and ends behind the pair
			}
			if err := c.clients.order(load.Order{Speak: pairRate, Lasts: lasts}); err != nil {
				return err
			}
			heard, err := c.heard()
			if err != nil {
				return err
			}
			latency.Merge(heard.Latency)
			all.Lost += heard.Lost
			all.Doubled += heard.Doubled + heard.Reordered + heard.Misplaced
			if latency == flooded {
				if err := f.end(&sum); err != nil {
					return err
				}
			}
		}
	}
	return s.compare(d, quiet, flooded, sum, &all)
}

// compare notes the results.
func (s *Scale) compare(d *deployment, quiet, flooded *load.Histogram, f flood.Report, all *load.Heard) error {
	s.phase = "quiet"
	s.latency(quiet, "pair")
	s.phase = "flooded"
	s.latency(flooded, "pair")
	s.fact("flood, sent", float64(f.Sent)/f.Seconds, "1/s")
	s.fact("flood, received", float64(f.Received)/f.Seconds/1e6, "MB/s")
	s.fact("flood, connections closed", float64(f.Closed), "")
	for _, name := range []string{"partyline_nats_channel_overflows_total", "partyline_nats_channel_dropped_total"} {
		value, err := figure(d.programs[len(d.programs)-1].admin, name)
		if err != nil {
			return err
		}
		s.fact(name, value, "")
	}
	s.faults(all)
	s.fact("p99 flooded, beside quiet", float64(flooded.Quantile(.99))/float64(quiet.Quantile(.99)), "times")
	return nil
}

// figure reads a figure without labels from an edge's metrics.
func figure(admin, name string) (value float64, err error) {
	response, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		return 0, fmt.Errorf("metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if text, found := strings.CutPrefix(lines.Text(), name+" "); found {
			_, err = fmt.Sscan(text, &value)
			return value, err
		}
	}
	return 0, fmt.Errorf("the edge has no metric %s", name)
}

// flooder is the process of package flood.
type flooder struct {
	command *exec.Cmd
	in      io.Writer
	out     *json.Decoder
}

func (p *Programs) flooder(address string) (*flooder, error) {
	f := &flooder{command: exec.Command(p.self, "flood", address)}
	f.command.Stderr, f.command.SysProcAttr = os.Stderr, orphans
	in, err := f.command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("flood: %w", err)
	}
	out, err := f.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("flood: %w", err)
	}
	if err := f.command.Start(); err != nil {
		return nil, fmt.Errorf("flood: %w", err)
	}
	f.in, f.out = in, json.NewDecoder(out)
	if err := f.end(&flood.Report{}); err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

// begin starts a flood, which lasts for a time.
func (f *flooder) begin(lasts time.Duration) error {
	_, err := fmt.Fprintln(f.in, lasts)
	return err
}

// end waits for the end of a flood, and adds it to a sum.
func (f *flooder) end(sum *flood.Report) error {
	var one flood.Report
	if err := f.out.Decode(&one); err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	sum.Seconds += one.Seconds
	sum.Sent += one.Sent
	sum.Received += one.Received
	sum.Closed = one.Closed
	return nil
}

func (f *flooder) stop() {
	_ = f.command.Process.Kill()
	_ = f.command.Wait() // it is killed, so its status does not matter
}
