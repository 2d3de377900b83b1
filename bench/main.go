// Command bench compares Partyline with the Socket.IO reference server and a bare broadcaster, on one machine,
// alternately.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"partyline/bench/answer"
	"partyline/bench/contest"
	"partyline/bench/far"
	"partyline/bench/flood"
	"partyline/bench/limit"
	"partyline/bench/load"
	"partyline/bench/report"
	"partyline/bench/verify"
)

func main() {
	runtime.LockOSThread() // child processes end with this thread
	err := dispatch(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch runs the role that the first argument names. This program starts itself with these names.
func dispatch(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "generate":
			return load.Main()
		case "limit":
			return limit.Main()
		case "answer":
			return answer.Main(args[1])
		case "far":
			return far.Main(args[1], args[2])
		case "flood":
			return flood.Main(args[1])
		case "verify":
			return verify.Main(args[1])
		}
	}
	return bench(args)
}

// options are the flags.
type options struct {
	quick, write  bool
	scale         bool
	only, servers string
	rounds        int
	profile, json string
	soak          string
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "one short round of everything; writes no documents")
	flags.BoolVar(&o.write, "write", false, "write docs/performance.md, its charts and bench/README.md, after a whole run")
	flags.BoolVar(&o.scale, "scale", false, "measure many connections and many rooms instead; writes no documents")
	flags.StringVar(&o.only, "only", "", "`scenarios` to run, separated by commas: fanout, rooms, echo, nodeserver, nodeidle, twonode, far, idle, tokens, post, churn; with --scale "+strings.Join(contest.Parts, ", "))
	flags.StringVar(&o.servers, "servers", "", "`contestants`, separated by commas: "+strings.Join(contest.Servers, ", "))
	flags.IntVar(&o.rounds, "rounds", 0, "rounds of each scenario (default 3, with --quick 1)")
	flags.StringVar(&o.profile, "profile", "", "`folder` for CPU profiles of the edges and of NATS while they are measured")
	flags.StringVar(&o.json, "json", "", "`file` for the results (default bench/results/<time>.json)")
	flags.StringVar(&o.soak, "soak", "", "`file` with the results of make soak: measure nothing, and write them to docs/performance.md if they are of an hour")
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.rounds == 0 {
		if o.rounds = 3; o.quick {
			o.rounds = 1
		}
	}
	if o.quick || o.only != "" || o.servers != "" {
		o.write = false // the document must show one whole run
	}
	return o, err
}

func bench(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	root, err := contest.Root()
	if err != nil {
		return err
	}
	if o.scale {
		return scale(root, o)
	}
	if o.soak != "" {
		return soak(root, o.soak)
	}
	scenarios, err := chosen(contest.Scenarios(o.quick), o)
	if err != nil {
		return err
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return err
		}
	}
	var servers []string
	for _, s := range scenarios {
		servers = append(servers, s.Servers...)
	}
	programs, have, err := contest.Build(root, o.profile != "", slices.Compact(slices.Sorted(slices.Values(servers))),
		os.Stdout)
	if err != nil {
		return err
	}
	begin := time.Now()
	var all []contest.Measurement
	failed := 0
	for _, s := range scenarios {
		measured, failures := runScenario(programs, s, have, o)
		all = append(all, measured...)
		failed += failures
	}
	results := report.NewResults(all, o.rounds, o.quick)
	if o.json == "" {
		o.json = filepath.Join(root, "bench", "results", begin.Format("20060102-150405")+".json")
	}
	if err := results.Store(o.json); err != nil {
		return err
	}
	fmt.Print("\n", results.Text())
	fmt.Printf("\n%.0f s; results in %s\n", time.Since(begin).Seconds(), o.json)
	if faults := results.Summary.Faults(); failed > 0 || faults > 0 {
		return fmt.Errorf("%d rounds failed, %.0f messages were lost, doubled, reordered or misplaced", failed, faults)
	}
	if o.write {
		return results.WriteDocs(root)
	}
	return nil
}

// soak shows the results of a soak, and writes them to the document.
func soak(root, file string) error {
	s, err := report.LoadSoak(file)
	if err != nil {
		return err
	}
	all, edges := s.Tables()
	fmt.Print(all.Text(), "\n", edges.Text())
	written, err := s.WriteDocs(root)
	if err == nil && !written {
		fmt.Println("\nit was shorter than an hour, so docs/performance.md stays as it is")
	}
	return err
}

// chosen returns the scenarios that the flags select, each with the selected contestants.
func chosen(all []contest.Scenario, o options) (left []contest.Scenario, err error) {
	only := split(o.only)
	servers := split(o.servers)
	for _, name := range servers {
		if !slices.Contains(contest.Servers, name) {
			return nil, fmt.Errorf("there is no contestant %q; there are %s", name, strings.Join(contest.Servers, ", "))
		}
	}
	for _, s := range all {
		if only != nil && !slices.Contains(only, s.Name) {
			continue
		}
		s.Servers = slices.DeleteFunc(s.Servers, func(name string) bool {
			return servers != nil && !slices.Contains(servers, name)
		})
		if len(s.Servers) > 0 {
			left = append(left, s)
		}
	}
	if len(left) == 0 {
		return nil, fmt.Errorf("no scenario is left of --only %q and --servers %q", o.only, o.servers)
	}
	return left, nil
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// runScenario runs all rounds, each with all contestants.
func runScenario(programs *contest.Programs, s contest.Scenario, have []string, o options) (all []contest.Measurement,
	failed int) {
	rounds := o.rounds
	if s.Once {
		rounds = 1
	}
	for round := 1; round <= rounds; round++ {
		for _, server := range s.Servers {
			if !slices.Contains(have, server) {
				continue
			}
			begin := time.Now()
			measured, err := programs.Round(s, server, round, o.profile)
			fmt.Printf("%s, round %d of %d, %s: %.1f s\n", s.Name, round, rounds, server, time.Since(begin).Seconds())
			if err != nil {
				failed++
				fmt.Printf("FAILED: %v\n", err)
			}
			all = append(all, measured...)
		}
	}
	return all, failed
}
