package admin

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"partyline/internal/tally"
)

// metricPrefix begins the name of every metric of a tally.Set.
const metricPrefix = "partyline_"

// newRegistry registers the metrics of the runtime, the process and the packages.
func newRegistry(version string, ready func() []string, sets []*tally.Set) (*prometheus.Registry, error) {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: metricPrefix + "build_info", Help: "Always 1; the label is the program's version.",
		ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
	isReady := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: metricPrefix + "ready", Help: "1 while clients should come, as on /readyz.",
	}, func() float64 {
		if len(notReady(ready)) > 0 {
			return 0
		}
		return 1
	})
	tallies, err := newTallies(sets)
	if err != nil {
		return nil, err
	}
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build, isReady, tallies,
	} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return registry, nil
}

// tallies reads tally sets for Prometheus. It is static after construction.
type tallies struct{ figures []figure }

// figure is one time series.
type figure struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels []string // values
	read   func() float64
}

// newTallies returns an error if two metrics contradict each other: the same name with another help, label or kind,
// or the same name and label values twice.
func newTallies(sets []*tally.Set) (*tallies, error) {
	t := &tallies{}
	first, series := map[string]tally.Metric{}, map[string]bool{}
	descs := map[string]*prometheus.Desc{}
	for _, set := range sets {
		for _, m := range set.Metrics() {
			other, seen := first[m.Name]
			if seen && (other.Help != m.Help || !slices.Equal(labelNames(other), labelNames(m)) || other.Kind != m.Kind) {
				return nil, fmt.Errorf("metric %s is declared in two ways", m.Name)
			}
			if id := fmt.Sprintf("%s %q", m.Name, m.Labels); series[id] {
				return nil, fmt.Errorf("metric %s is declared twice", id)
			} else {
				series[id] = true
			}
			var values []string
			for _, l := range m.Labels {
				values = append(values, l.Value)
			}
			if descs[m.Name] == nil {
				first[m.Name] = m
				descs[m.Name] = prometheus.NewDesc(metricPrefix+m.Name, m.Help, labelNames(m), nil)
			}
			kind := prometheus.CounterValue
			if m.Kind == tally.KindGauge {
				kind = prometheus.GaugeValue
			}
			t.figures = append(t.figures, figure{descs[m.Name], kind, values, m.Read})
		}
	}
	return t, nil
}

func labelNames(m tally.Metric) []string {
	var names []string
	for _, l := range m.Labels {
		names = append(names, l.Name)
	}
	return names
}

// Describe sends each description once. It implements prometheus.Collector.
func (t *tallies) Describe(out chan<- *prometheus.Desc) {
	seen := map[*prometheus.Desc]bool{}
	for _, f := range t.figures {
		if !seen[f.desc] {
			seen[f.desc] = true
			out <- f.desc
		}
	}
}

// Collect reads every figure. It implements prometheus.Collector.
func (t *tallies) Collect(out chan<- prometheus.Metric) {
	for _, f := range t.figures {
		metric, err := prometheus.NewConstMetric(f.desc, f.kind, f.read(), f.labels...)
		if err != nil { // a bad name or label becomes an error on the page, not a panic
			metric = prometheus.NewInvalidMetric(f.desc, err)
		}
		out <- metric
	}
}
