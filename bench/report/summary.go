// Package report makes tables, bars and charts of what was measured.
package report

import (
	"slices"

	"partyline/bench/contest"
)

// Key identifies a figure in all rounds.
type Key struct{ Scenario, Phase, Server string }

// Value is a figure over all rounds.
type Value struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

// Summary is all figures over all rounds.
type Summary struct {
	Keys    []Key // in the order in which they were measured, rounds aside
	Figures map[Key]map[string]Value
}

// Summarise combines the rounds. Of figures that must be 0 it takes the maximum.
func Summarise(all []contest.Measurement) *Summary {
	s := &Summary{Figures: map[Key]map[string]Value{}}
	rounds := map[Key]map[string][]float64{}
	for _, m := range all {
		key := Key{m.Scenario, m.Phase, m.Server}
		if rounds[key] == nil {
			rounds[key] = map[string][]float64{}
			s.Keys = append(s.Keys, key)
		}
		for name, value := range m.Figures {
			rounds[key][name] = append(rounds[key][name], value)
		}
	}
	for key, figures := range rounds {
		s.Figures[key] = map[string]Value{}
		for name, values := range figures {
			slices.Sort(values)
			n := len(values)
			v := Value{Median: (values[(n-1)/2] + values[n/2]) / 2, Least: values[0], Most: values[n-1]}
			if slices.Contains(contest.Faults, name) {
				v.Median = v.Most
			}
			s.Figures[key][name] = v
		}
	}
	return s
}

// Phases are the scenarios' phases in order, without servers.
func (s *Summary) Phases() (phases []Key) {
	for _, key := range s.Keys {
		key.Server = ""
		if !slices.Contains(phases, key) {
			phases = append(phases, key)
		}
	}
	return phases
}

// Servers are those of a phase, in order.
func (s *Summary) Servers(phase Key) (servers []string) {
	for _, key := range s.Keys {
		if key.Scenario == phase.Scenario && key.Phase == phase.Phase {
			servers = append(servers, key.Server)
		}
	}
	return servers
}

// Get is the median of a figure.
func (s *Summary) Get(scenario, phase, server, figure string) (float64, bool) {
	v, ok := s.Figures[Key{scenario, phase, server}][figure]
	return v.Median, ok
}

// Faults returns how many messages were lost, doubled, reordered or misplaced in total.
func (s *Summary) Faults() (n float64) {
	for _, figures := range s.Figures {
		for _, name := range contest.Faults {
			n += figures[name].Median
		}
	}
	return n
}
