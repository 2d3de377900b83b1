package contest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"partyline/bench/load"
)

// Round runs a scenario once against one server. Profiles go to a folder, "" for none.
func (p *Programs) Round(s Scenario, server string, round int, profiles string) ([]Measurement, error) {
	if server == Verify {
		return p.verify(s, round)
	}
	d, err := p.deploy(server, s.job.Kind)
	if err != nil {
		return nil, err
	}
	defer d.stop()
	r := &run{programs: p, scenario: s, server: server, round: round, profiles: profiles, deployment: d}
	if err := r.all(); err != nil {
		return r.measured, fmt.Errorf("%w\n%s", err, d.tails())
	}
	return r.measured, nil
}

func (d *deployment) tails() (text string) {
	for _, one := range d.programs {
		if tail := one.tail(); tail != "" {
			text += one.Name + ": " + tail + "\n"
		}
	}
	return text
}

// run is one round of one server.
type run struct {
	*deployment
	programs *Programs
	scenario Scenario
	server   string
	round    int
	profiles string
	measured []Measurement
	fetching sync.WaitGroup // of profiles

	nodeBefore int64 // bytes of Node.js before the clients came, where it is measured alone
}

func (r *run) all() (err error) {
	defer r.fetching.Wait()
	job := r.scenario.job
	job.Addresses, job.Bare, job.Watch = r.addresses, r.bare, r.watch()
	job.Post = r.post
	job.PostHead = "POST /v1/emit HTTP/1.1\r\nHost: " + r.post + "\r\nAuthorization: Bearer " + postKey + "\r\nContent-Type: application/json\r\n"
	if r.server == EdgeToken {
		job.Auth = r.programs.auths()
	}
	keepsMemory := job.Kind == load.Idle || job.Kind == load.Churn
	var before int64
	if keepsMemory {
		if time.Sleep(time.Second); r.scenario.apart {
			time.Sleep(r.scenario.settles / 2) // Node.js returns the memory of its start late, which would hide growth
		}
		if before, err = r.memory(); err == nil {
			r.nodeBefore, err = r.nodeMemory()
		}
		if err != nil {
			return err
		}
	}
	peak := r.climb(job.Kind == load.Churn)
	if err = r.generate(job, before); err != nil || job.Kind != load.Churn {
		peak()
		return err
	}
	highest := peak()
	time.Sleep(r.scenario.settles)
	after, err := r.memory()
	f := r.measured[len(r.measured)-1].Figures
	f[PSSBefore], f[PSSPeak], f[PSSAfter] = float64(before), float64(max(highest, before)), float64(after)
	return err
}

// climb watches the servers' memory. The function that it returns ends that and returns the largest value, in bytes.
func (r *run) climb(wanted bool) func() int64 {
	over, highest := make(chan struct{}), make(chan int64, 1)
	go func() {
		var most int64
		for {
			select {
			case <-over:
				highest <- most
				return
			case <-time.After(500 * time.Millisecond):
				if wanted {
					if bytes, err := r.occupied(); err == nil {
						most = max(most, bytes)
					}
				}
			}
		}
	}()
	return func() int64 {
		close(over)
		return <-highest
	}
}

// generate runs the load generator.
func (r *run) generate(job load.Job, before int64) error {
	command := exec.Command(r.programs.self, "generate")
	command.Stderr = os.Stderr
	command.SysProcAttr = orphans
	in, err := command.StdinPipe()
	if err != nil {
		return err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	if job.Kind == load.Idle {
		r.profile("connect", 2*time.Second)
	}
	err = json.NewEncoder(in).Encode(job)
	for lines := json.NewDecoder(bufio.NewReader(out)); err == nil; {
		var line load.Line
		if err = lines.Decode(&line); err == nil {
			err = r.heed(line, in, before)
		}
	}
	if errors.Is(err, io.EOF) {
		return command.Wait()
	}
	_ = command.Process.Kill()
	_ = command.Wait()
	return err
}

// heed handles a line of the generator.
func (r *run) heed(line load.Line, in io.Writer, before int64) error {
	switch {
	case line.Failed != "":
		return errors.New(line.Failed)
	case line.Measuring != nil && line.Measuring.Phase != "":
		r.profile(line.Measuring.Phase, line.Measuring.Lasts)
	case line.Done != nil && line.Done.Phase == "":
		if d := line.Done; d.Lost+d.Doubled+d.Reordered+d.Misplaced > 0 {
			return fmt.Errorf("warming up: %d lost, %d doubled, %d reordered, %d misplaced", d.Lost, d.Doubled, d.Reordered,
				d.Misplaced)
		}
	case line.Done != nil:
		f := r.figures(line.Done)
		if r.scenario.apart {
			f[NodeCPU] = line.Done.CPU[node] * 1e6 / max(1, float64(line.Done.Delivered))
		}
		r.note(line.Done.Phase, f)
	case line.Connected != nil && r.scenario.connect:
		r.note("connect", r.connects(line.Connected))
	case line.Connected != nil && r.scenario.job.Kind == load.Idle:
		time.Sleep(r.scenario.settles)
		after, err := r.memory()
		if err != nil {
			return err
		}
		f := r.connects(line.Connected)
		f[Memory] = float64(after-before) / float64(line.Connected.Clients)
		if r.scenario.apart {
			nodeAfter, err := r.nodeMemory()
			if err != nil {
				return err
			}
			f[NodeMemory] = float64(nodeAfter-r.nodeBefore) / float64(line.Connected.Clients)
		}
		r.note("idle", f)
		_, err = fmt.Fprintln(in, "go")
		return err
	}
	return nil
}

func (r *run) note(phase string, figures map[string]float64) {
	r.measured = append(r.measured, Measurement{Scenario: r.scenario.Name, Phase: phase, Server: r.server, Round: r.round,
		Figures: figures})
}

// profile stores CPU profiles of the servers, beginning now.
func (r *run) profile(phase string, lasts time.Duration) {
	if r.profiles == "" {
		return
	}
	for _, one := range r.deployment.programs {
		if one.profile == "" {
			continue
		}
		name := fmt.Sprintf("%s-%s-%s-%s-%d.pprof", r.scenario.Name, phase, r.server, one.Name, r.round)
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", one.profile, max(1, int(lasts.Seconds())))
		r.fetching.Go(func() {
			if err := fetch(url, filepath.Join(r.profiles, name)); err != nil {
				fmt.Fprintf(os.Stderr, "profile of %s: %v\n", one.Name, err)
			}
		})
	}
}

func fetch(url, file string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, response.Body); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
