package report

import (
	"fmt"
	"strings"

	"partyline/bench/contest"
)

// Bar is a limit for a ratio within one run.
type Bar struct {
	Name            string
	Scenario, Phase string
	Figure          string
	Ours            []string // the first one is the bar's, the others are listed in addition
	Against         string
	AtLeast         bool // the ratio must be Ratio or more, and otherwise Ratio or less
	Ratio           float64
}

// Bars are all bars.
func Bars() []Bar {
	ours := []string{contest.Edge, contest.Embedded}
	two := []string{contest.Edges}
	return []Bar{
		{"fanout at full speed, deliveries/s", "fanout", "full", contest.PerSecond, ours, contest.SocketIO, true, 12},
		{"fanout at full speed, deliveries/s", "fanout", "full", contest.PerSecond, ours, contest.Limit, true, .65},
		{"fanout at full speed, CPU a delivery", "fanout", "full", contest.CPU, ours, contest.SocketIO, false, 1. / 12},
		{"fanout, one under way, deliveries/s", "fanout", "one", contest.PerSecond, ours, contest.SocketIO, true, 1.5},
		{"fanout paced, CPU a delivery", "fanout", "paced", contest.CPU, ours, contest.SocketIO, false, .68},
		{"fanout paced, CPU a delivery", "fanout", "paced", contest.CPU, ours, contest.Limit, false, 1.2},
		{"rooms at full speed, CPU a delivery", "rooms", "full", contest.CPU, ours, contest.SocketIO, false, .75},
		{"rooms at 1,000 messages/s, CPU a delivery", "rooms", "1k", contest.CPU, ours, contest.SocketIO, false, .75},
		{"rooms at 4,000 messages/s, CPU a delivery", "rooms", "4k", contest.CPU, ours, contest.SocketIO, false, .75},
		{"two nodes at full speed, deliveries/s", "twonode", "full", contest.PerSecond, two, contest.Redis, true, 8},
		{"echo paced, CPU an ack", "echo", "paced", contest.CPU, ours, contest.SocketIO, false, 1.9},
		{"echo at full speed, CPU an ack", "echo", "full", contest.CPU, ours, contest.SocketIO, false, 1.9},
		{"idle, memory a connection", "idle", "idle", contest.Memory, ours, contest.SocketIO, false, .65},
		{"idle, memory a connection", "idle", "idle", contest.Memory, ours, contest.Limit, false, .9},
		{"connect, CPU", "idle", "idle", contest.ConnectCPU, ours, contest.SocketIO, false, .35},
	}
}

// Verdict is the result for a bar.
type Verdict struct {
	Bar
	Met    bool
	Ratios map[string]float64 // by ours
}

// Judge returns the verdicts of the bars for which there are measurements.
func (s *Summary) Judge() (verdicts []Verdict) {
	for _, b := range Bars() {
		v := Verdict{Bar: b, Ratios: map[string]float64{}}
		theirs, ok := s.Get(b.Scenario, b.Phase, b.Against, b.Figure)
		if !ok || theirs == 0 {
			continue
		}
		judged := ""
		for _, name := range b.Ours {
			figure, ok := s.Get(b.Scenario, b.Phase, name, b.Figure)
			if !ok {
				continue
			}
			v.Ratios[name] = figure / theirs
			if judged == "" {
				judged = name
				v.Met = v.Ratios[name] >= b.Ratio == b.AtLeast || v.Ratios[name] == b.Ratio
			}
		}
		if judged != "" {
			verdicts = append(verdicts, v)
		}
	}
	return verdicts
}

// BarTable returns the verdicts as a table. The first of Ours that was measured decides.
func BarTable(verdicts []Verdict) *Table {
	t := &Table{Head: []string{"scenario", "against", "bar", "ratio", "", "beside"}}
	for _, v := range verdicts {
		sign := "≤"
		if v.AtLeast {
			sign = "≥"
		}
		met := "met"
		if !v.Met {
			met = "NOT MET"
		}
		judged := ""
		var beside []string
		for _, name := range v.Ours {
			r, ok := v.Ratios[name]
			switch {
			case !ok:
			case judged == "":
				judged = name + " " + ratio(r)
			default:
				beside = append(beside, name+" "+ratio(r))
			}
		}
		t.Rows = append(t.Rows, []string{v.Name, v.Against, fmt.Sprintf("%s %s", sign, ratio(v.Ratio)), judged, met,
			strings.Join(beside, ", ")})
	}
	return t
}
