// Package tally counts what happens in the packages of an edge, so that they need no metrics library.
//
// A package declares its counters where it counts, and lists them in a Set. The package admin exposes all sets. Names
// are Prometheus names without the common prefix "partyline_".
package tally

import (
	"slices"
	"strings"
	"sync/atomic"
)

// Counter only goes up. The zero Counter is ready. It is safe for concurrent use.
type Counter struct{ n atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Add adds n.
func (c *Counter) Add(n int) { c.n.Add(uint64(n)) }

// Value returns the count since the start of the process.
func (c *Counter) Value() uint64 { return c.n.Load() }

// Gauge goes up and down. The zero Gauge is ready. It is safe for concurrent use.
type Gauge struct{ n atomic.Int64 }

// Add adds n, which may be negative, and returns the new value.
func (g *Gauge) Add(n int) int64 { return g.n.Add(int64(n)) }

// Set replaces the value.
func (g *Gauge) Set(n int) { g.n.Store(int64(n)) }

// Value returns the current value.
func (g *Gauge) Value() int64 { return g.n.Load() }

// Kind is how a metric changes over time.
type Kind uint8

// The kinds of metrics.
const (
	KindCounter Kind = iota // only goes up
	KindGauge               // goes up and down
)

// Metric is a named figure. One with labels is listed once for each combination of their values.
type Metric struct {
	Kind   Kind
	Name   string  // Prometheus name without prefix: "sessions_opened_total"
	Help   string  // one sentence
	Labels []Label // none for most
	Read   func() float64
}

// Label is a label of a metric, and its value.
type Label struct{ Name, Value string }

// Value returns the values of the metric's labels, with a space between them; "" without labels.
func (m Metric) Value() string {
	values := make([]string, len(m.Labels))
	for i, l := range m.Labels {
		values[i] = l.Value
	}
	return strings.Join(values, " ")
}

// Set is the list of a package's metrics. It is read-only once it has been built.
type Set struct {
	metrics []Metric
	growing []func(*Set)
}

// Counter adds a counter to the set.
func (s *Set) Counter(c *Counter, name, help string) {
	s.Func(KindCounter, name, help, func() float64 { return float64(c.Value()) })
}

// LabelledCounter adds the counter of one value of a label.
func (s *Set) LabelledCounter(c *Counter, name, help, label, value string) {
	s.Func(KindCounter, name, help, func() float64 { return float64(c.Value()) }, Label{label, value})
}

// LabelledCounters adds counters that differ in the value of one label.
func (s *Set) LabelledCounters(counters []Counter, name, help, label string, values []string) {
	for i, value := range values {
		s.LabelledCounter(&counters[i], name, help, label, value)
	}
}

// Gauge adds a gauge to the set.
func (s *Set) Gauge(g *Gauge, name, help string) {
	s.Func(KindGauge, name, help, func() float64 { return float64(g.Value()) })
}

// Func adds a figure that is computed when it is read. read must be safe for concurrent use.
func (s *Set) Func(kind Kind, name, help string, read func() float64, labels ...Label) {
	s.metrics = append(s.metrics, Metric{kind, name, help, labels, read})
}

// Growing adds metrics that become more while the process runs: list adds to a set those that there are now. It must be
// safe for concurrent use, and none of them may go away.
func (s *Set) Growing(list func(*Set)) { s.growing = append(s.growing, list) }

// Metrics returns the metrics of the set as they are now. The caller must not change the slice.
func (s *Set) Metrics() []Metric {
	if len(s.growing) == 0 {
		return s.metrics
	}
	all := Set{metrics: slices.Clone(s.metrics)}
	for _, list := range s.growing {
		list(&all)
	}
	return all.metrics
}

// Fixed returns the metrics that there are from the start on. The caller must not change the slice.
func (s *Set) Fixed() []Metric { return s.metrics }

// Later returns the metrics that Growing lists, as they are now.
func (s *Set) Later() []Metric { return s.Metrics()[len(s.metrics):] }
