package report

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"partyline/bench/contest"
)

// Measures of a chart, in pixels.
const (
	chartWidth = 720
	labelWidth = 110
	valueWidth = 110
	barHeight  = 22
	barGap     = 8
	headHeight = 44
)

// line is one bar of a chart.
type line struct {
	label       string
	value       float64
	least, most float64 // of the rounds; drawn as a thin line if they differ
	ours        bool
}

// chart is an SVG with horizontal bars, readable on light and dark backgrounds.
func chart(title, unit string, lines []line) string {
	var most float64
	for _, l := range lines {
		most = max(most, l.value, l.most)
	}
	height := headHeight + len(lines)*(barHeight+barGap)
	scale := float64(chartWidth-labelWidth-valueWidth) / max(most, 1e-9)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		chartWidth, height, chartWidth, height, escape(title+", "+unit))
	b.WriteString(`<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .unit { fill: #59636e }
.ours { fill: #0969da } .theirs { fill: #9aa4af } .spread { stroke: #1f2328 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .unit { fill: #9198a1 }
  .ours { fill: #4493f8 } .theirs { fill: #656c76 } .spread { stroke: #f0f6fc }
}
</style>
`)
	fmt.Fprintf(&b, `<text x="0" y="16"><tspan class="title">%s</tspan> <tspan class="unit">%s</tspan></text>`+"\n",
		escape(title), escape(unit))
	for i, l := range lines {
		y := headHeight - barHeight/2 + i*(barHeight+barGap)
		class := "theirs"
		if l.ours {
			class = "ours"
		}
		width := max(l.value*scale, 1)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, y+16, escape(l.label))
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="3"/>`, class, labelWidth, y, width,
			barHeight)
		end := width
		if l.most > l.least {
			fmt.Fprintf(&b, `<path class="spread" d="M%.1f %dH%.1f"/>`, labelWidth+l.least*scale, y+barHeight/2,
				labelWidth+l.most*scale)
			end = max(end, l.most*scale)
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", labelWidth+end+8, y+16, escape(number(l.value)))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder does not fail
	return b.String()
}

// picture is a chart of the document.
type picture struct {
	file            string
	title, unit     string
	scenario, phase string
	figure          string
}

var pictures = []picture{
	{"fanout-rate.svg", "Fan-out at full speed", "deliveries/s, more is better", "fanout", "full", contest.PerSecond},
	{"fanout-cpu.svg", "Fan-out of 25 messages/s to 1,000", "CPU µs a delivery, less is better", "fanout", "paced",
		contest.CPU},
	{"rooms-cpu.svg", "Rooms of 10, at full speed", "CPU µs a delivery, less is better", "rooms", "full", contest.CPU},
	{"echo-cpu.svg", "Echo through a service, at full speed", "CPU µs an ack, less is better", "echo", "full",
		contest.CPU},
	{"twonode-rate.svg", "Fan-out over two servers at full speed", "deliveries/s, more is better", "twonode", "full",
		contest.PerSecond},
	{"idle-memory.svg", "Idle connections", "bytes a connection, less is better", "idle", "idle", contest.Memory},
}

// draw returns a chart of the measurements.
func (s *Summary) draw(p picture) string {
	phase := Key{Scenario: p.scenario, Phase: p.phase}
	var lines []line
	for _, server := range s.Servers(phase) {
		v := s.Figures[Key{p.scenario, p.phase, server}][p.figure]
		ours := slices.Contains([]string{contest.Edge, contest.Embedded, contest.Edges, contest.Recovery}, server)
		lines = append(lines, line{server, v.Median, v.Least, v.Most, ours})
	}
	return chart(p.title, p.unit, lines)
}
