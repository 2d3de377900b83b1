package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"partyline/bench/contest"
	"partyline/bench/report"
)

// scale measures many connections and many rooms. o.only selects parts.
func scale(root string, o options) error {
	parts := contest.Parts
	if only := split(o.only); only != nil {
		parts = slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return !slices.Contains(only, part) })
	}
	if len(parts) == 0 {
		return fmt.Errorf("no part is left of --only %q; there are %v", o.only, contest.Parts)
	}
	programs, _, err := contest.Build(root, false, nil, os.Stdout)
	if err != nil {
		return err
	}
	begin := time.Now()
	s := programs.NewScale(o.quick, os.Stdout)
	var failed error
	for _, part := range parts {
		if failed = s.Run(part); failed != nil {
			break
		}
	}
	if o.json == "" {
		o.json = filepath.Join(root, "bench", "results", "scale-"+begin.Format("20060102-150405")+".json")
	}
	if err := store(o.json, s.Facts); err != nil {
		return err
	}
	fmt.Printf("\n%.0f s; results in %s\n", time.Since(begin).Seconds(), o.json)
	if failed == nil && s.Faults > 0 {
		failed = fmt.Errorf("%d messages were lost, doubled, reordered or misplaced", s.Faults)
	}
	return failed
}

func store(file string, facts []contest.Fact) error {
	text, err := json.MarshalIndent(map[string]any{
		"time": time.Now().UTC(), "machine": report.ThisMachine(), "facts": facts,
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
