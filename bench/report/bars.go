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
	IsMore          bool // the latency may be Ratio ms more than the other's, and no ratio counts
}

// compare returns the ratio of a figure to the other's, or what a latency in µs is more, in ms.
func (b *Bar) compare(figure, theirs float64) float64 {
	if b.IsMore {
		return (figure - theirs) / 1e3
	}
	return figure / theirs
}

// text formats a result or the limit.
func (b *Bar) text(v float64) string {
	if b.IsMore {
		return fmt.Sprintf("%+.2f ms", v)
	}
	return ratio(v)
}

// Bars are all bars.
func Bars() []Bar {
	ours := []string{contest.Edge, contest.Embedded}
	two := []string{contest.Edges}
	logged := []string{contest.Recovery}
	node := []string{contest.NodeEmbedded, contest.NodeEdge}
	return []Bar{
		{"fanout at full speed, deliveries/s", "fanout", "full", contest.PerSecond, ours, contest.SocketIO, true, 12, false},
		{"fanout at full speed, deliveries/s", "fanout", "full", contest.PerSecond, ours, contest.Limit, true, .65, false},
		{"fanout at full speed, CPU a delivery", "fanout", "full", contest.CPU, ours, contest.SocketIO, false, 1. / 12, false},
		{"fanout, one under way, deliveries/s", "fanout", "one", contest.PerSecond, ours, contest.SocketIO, true, 1.5, false},
		{"fanout paced, CPU a delivery", "fanout", "paced", contest.CPU, ours, contest.SocketIO, false, .68, false},
		{"fanout paced, CPU a delivery", "fanout", "paced", contest.CPU, ours, contest.Limit, false, 1.2, false},
		{"rooms at full speed, CPU a delivery", "rooms", "full", contest.CPU, ours, contest.SocketIO, false, .75, false},
		{"rooms at 1,000 messages/s, CPU a delivery", "rooms", "1k", contest.CPU, ours, contest.SocketIO, false, .75, false},
		{"rooms at 4,000 messages/s, CPU a delivery", "rooms", "4k", contest.CPU, ours, contest.SocketIO, false, .75, false},
		{"two nodes at full speed, deliveries/s", "twonode", "full", contest.PerSecond, two, contest.Redis, true, 8, false},
		{"echo paced, CPU an ack", "echo", "paced", contest.CPU, ours, contest.SocketIO, false, 1.9, false},
		{"echo at full speed, CPU an ack", "echo", "full", contest.CPU, ours, contest.SocketIO, false, 1.9, false},
		{"recovery, fanout paced, CPU a delivery", "fanout", "paced", contest.CPU, logged, contest.Edge, false, 1.15, false},
		{"recovery, rooms at 1,000 messages/s, p50", "rooms", "1k", contest.P50, logged, contest.Edge, false, .1, true},
		{"TLS and 20 ms, echo, p50", "far", "paced", contest.P50, []string{contest.EdgeFar}, contest.SocketIOFar, false, 1, true},
		{"TLS and 20 ms, connect, p50", "far", "connect", contest.P50, []string{contest.EdgeFar}, contest.SocketIOFar, false, 2, true},
		{"idle, memory a connection", "idle", "idle", contest.Memory, ours, contest.SocketIO, false, .65, false},
		{"idle, memory a connection", "idle", "idle", contest.Memory, ours, contest.Limit, false, .9, false},
		{"connect, CPU", "idle", "idle", contest.ConnectCPU, ours, contest.SocketIO, false, .35, false},
		{"Node server, echo at full speed, acks/s", "nodeserver", "full", contest.PerSecond, node, contest.SocketIO, true, .85, false},
		{"Node server, echo at full speed, CPU of Node.js an ack", "nodeserver", "full", contest.NodeCPU, node, contest.SocketIO, false, .5, false},
		{"Node server, echo paced, p50", "nodeserver", "paced", contest.P50, node, contest.SocketIO, false, .4, true},
		{"Node server, memory of Node.js a connection", "nodeidle", "idle", contest.NodeMemory, node, contest.SocketIO, false, .6, false},
		{"POST /v1/emit at full speed, requests/s", "post", "full", contest.PerSecond, []string{contest.Gateway}, contest.Express, true, 4, false},
		{"connect with a token, CPU", "tokens", "idle", contest.ConnectCPU, []string{contest.EdgeToken}, openAndVerified, false, 1, false},
	}
}

// openAndVerified stands for an open connect and 1.15 verifications of the library alone.
const openAndVerified = "edge + 1.15 × verify"

// against returns the figure that a bar compares with.
func (s *Summary) against(b Bar) (float64, bool) {
	if b.Against != openAndVerified {
		return s.Get(b.Scenario, b.Phase, b.Against, b.Figure)
	}
	open, measured := s.Get(b.Scenario, b.Phase, contest.Edge, b.Figure)
	verified, both := s.Get(b.Scenario, b.Phase, contest.Verify, b.Figure)
	return open + 1.15*verified, measured && both
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
		theirs, ok := s.against(b)
		if !ok || theirs == 0 {
			continue
		}
		judged := ""
		for _, name := range b.Ours {
			figure, ok := s.Get(b.Scenario, b.Phase, name, b.Figure)
			if !ok {
				continue
			}
			v.Ratios[name] = b.compare(figure, theirs)
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
				judged = name + " " + v.text(r)
			default:
				beside = append(beside, name+" "+v.text(r))
			}
		}
		t.Rows = append(t.Rows, []string{v.Name, v.Against, fmt.Sprintf("%s %s", sign, v.text(v.Ratio)), judged, met,
			strings.Join(beside, ", ")})
	}
	return t
}
