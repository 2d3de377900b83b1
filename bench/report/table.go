package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"partyline/bench/contest"
)

// Table is text in columns.
type Table struct {
	Head []string
	Rows [][]string
}

// Text is the table for a terminal.
func (t *Table) Text() string {
	widths := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		line := ""
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if isNumber(cell) || i > 0 && cell == t.Head[i] && t.numeric(i) {
				line += pad + cell + "  "
			} else {
				line += cell + pad + "  "
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// Markdown is the table for a document.
func (t *Table) Markdown() string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(t.Head)
	for i := range t.Head {
		if t.numeric(i) {
			b.WriteString("|---:")
		} else {
			b.WriteString("|---")
		}
	}
	b.WriteString("|\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}

func (t *Table) numeric(column int) bool {
	for _, row := range t.Rows {
		if row[column] != "" && !isNumber(row[column]) {
			return false
		}
	}
	return true
}

func isNumber(cell string) bool {
	return cell != "" && strings.Trim(cell, "0123456789.,-+% ±") == ""
}

// ratio formats a ratio. Below 1 it has three digits, because bars differ in the third.
func ratio(v float64) string {
	if v < 1 {
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
	return number(v)
}

// number formats a figure, with three significant digits and separated thousands.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// column is a figure in a table.
type column struct {
	head, figure string
	scale        float64
}

var (
	speech = []column{
		{"deliveries/s", contest.PerSecond, 1}, {"CPU µs a delivery", contest.CPU, 1},
		{"of it broker", contest.BrokerCPU, 1},
		{"of it Node.js", contest.NodeCPU, 1}, {"service, apart", contest.ServiceCPU, 1}, {"p50 ms", contest.P50, 1e-3}, {"p99 ms", contest.P99, 1e-3},
		{"max ms", contest.Most, 1e-3},
	}
	idle = []column{
		{"bytes a connection", contest.Memory, 1}, {"of it Node.js", contest.NodeMemory, 1}, {"connects/s", contest.PerSecond, 1},
		{"CPU µs a connect", contest.ConnectCPU, 1},
	}
	churn = []column{
		{"clients/s", contest.PerSecond, 1}, {"CPU µs a client", contest.CPU, 1}, {"of it broker", contest.BrokerCPU, 1},
		{"ready p50 ms", contest.P50, 1e-3}, {"p99 ms", contest.P99, 1e-3},
		{"MiB before", contest.PSSBefore, 1. / (1 << 20)}, {"most", contest.PSSPeak, 1. / (1 << 20)},
		{"after", contest.PSSAfter, 1. / (1 << 20)},
	}
	connects = []column{
		{"connects/s", contest.PerSecond, 1}, {"CPU µs a connect", contest.ConnectCPU, 1}, {"p50 ms", contest.P50, 1e-3},
		{"p99 ms", contest.P99, 1e-3}, {"max ms", contest.Most, 1e-3},
	}
	cores = []column{{"cores", contest.Cores, 1}, {"generator", contest.OwnCores, 1}, {"others", contest.OtherCores, 1}}
)

// PhaseTable returns the results of a phase for each server.
func (s *Summary) PhaseTable(phase Key) *Table {
	columns, main := speech, contest.CPU
	switch phase.Scenario {
	case "idle", "nodeidle":
		columns, main = idle, contest.Memory
	case "tokens":
		columns, main = idle, contest.ConnectCPU
	case "churn":
		columns = churn
	case "far":
		if phase.Phase == "connect" {
			columns, main = connects, contest.ConnectCPU
		}
	}
	columns = append(columns[:len(columns):len(columns)], cores...)
	t := &Table{Head: []string{"server"}}
	used := columns[:0:0]
	for _, c := range columns {
		for _, server := range s.Servers(phase) {
			if _, ok := s.Get(phase.Scenario, phase.Phase, server, c.figure); ok {
				used = append(used, c)
				t.Head = append(t.Head, c.head)
				break
			}
		}
	}
	t.Head = append(t.Head, "spread", "faults")
	for _, server := range s.Servers(phase) {
		row := []string{server}
		figures := s.Figures[Key{phase.Scenario, phase.Phase, server}]
		for _, c := range used {
			cell := ""
			if v, ok := figures[c.figure]; ok {
				cell = number(v.Median * c.scale)
			}
			row = append(row, cell)
		}
		var faults float64
		for _, name := range contest.Faults {
			faults += figures[name].Median
		}
		v := figures[main]
		spread := fmt.Sprintf("%.0f%%", 100*(v.Most-v.Least)/max(v.Median, 1e-9))
		t.Rows = append(t.Rows, append(row, spread, number(faults)))
	}
	return t
}
