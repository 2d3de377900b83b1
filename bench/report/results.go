package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"partyline/bench/contest"
)

// Results is a whole run.
type Results struct {
	Time         time.Time             `json:"time"`
	Machine      Machine               `json:"machine"`
	Rounds       int                   `json:"rounds"`
	Quick        bool                  `json:"quick"`
	Measurements []contest.Measurement `json:"measurements"`
	Bars         []Verdict             `json:"bars"`
	Summary      *Summary              `json:"-"`
}

// NewResults summarises a run.
func NewResults(all []contest.Measurement, rounds int, quick bool) *Results {
	r := &Results{Time: time.Now().UTC(), Machine: ThisMachine(), Rounds: rounds, Quick: quick, Measurements: all,
		Summary: Summarise(all)}
	r.Bars = r.Summary.Judge()
	return r
}

// Store writes the results to a file as JSON.
func (r *Results) Store(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Text is the results for a terminal.
func (r *Results) Text() string {
	var b strings.Builder
	for _, phase := range r.Summary.Phases() {
		fmt.Fprintf(&b, "%s, %s\n%s\n", phase.Scenario, phase.Phase, r.Summary.PhaseTable(phase).Text())
	}
	if len(r.Bars) > 0 {
		b.WriteString(BarTable(r.Bars).Text())
	}
	for _, warning := range r.Summary.Warnings() {
		b.WriteString("\n" + warning)
	}
	return b.String()
}

// Thresholds of warnings, in cores.
const (
	busyGenerator = 0.9
	busyOthers    = 0.15
)

// Warnings lists the measurements that something other than the servers may have limited.
func (s *Summary) Warnings() (warnings []string) {
	worst := 0.
	for _, key := range s.Keys {
		f := s.Figures[key]
		if own := f[contest.OwnCores].Most; own > busyGenerator {
			warnings = append(warnings, fmt.Sprintf("THE GENERATOR WAS BUSY: %.2f cores in %s, %s, %s\n", own, key.Scenario,
				key.Phase, key.Server))
		}
		worst = max(worst, f[contest.OtherCores].Most)
	}
	if worst > busyOthers {
		warnings = append(warnings, fmt.Sprintf("THE MACHINE WAS BUSY: other programs took up to %.2f cores; rates are in doubt, CPU a delivery less so\n", worst))
	}
	return warnings
}
