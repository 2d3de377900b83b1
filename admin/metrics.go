package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"partyline/internal/tally"
)

// metricPrefix begins the name of every metric of a tally.Set.
const metricPrefix = "partyline_"

// newRegistry registers the metrics of the runtime, the process and the packages. The error names two that contradict
// each other: the same name with another help or label, or the same name and label values twice.
func newRegistry(version string, ready func() []string, sets []*tally.Set) (*prometheus.Registry, error) {
	registry := prometheus.NewRegistry()
	all := []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: metricPrefix + "build_info", Help: "Always 1; the label is the program's version.",
			ConstLabels: prometheus.Labels{"version": version},
		}, func() float64 { return 1 }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: metricPrefix + "ready", Help: "1 while clients should come, as on /readyz.",
		}, func() float64 {
			if len(notReady(ready)) > 0 {
				return 0
			}
			return 1
		}),
	}
	for _, set := range sets {
		for _, m := range set.Fixed() {
			all = append(all, collector(m))
		}
		all = append(all, growing{set})
	}
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return registry, nil
}

// collector returns a metric of a package for Prometheus, which reads it for each page.
func collector(m tally.Metric) prometheus.Collector {
	labels := prometheus.Labels{}
	for _, l := range m.Labels {
		labels[l.Name] = l.Value
	}
	if m.Kind == tally.KindGauge {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricPrefix + m.Name, Help: m.Help, ConstLabels: labels}, m.Read)
	}
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: metricPrefix + m.Name, Help: m.Help, ConstLabels: labels}, m.Read)
}

// growing are the metrics of a set that become more while the process runs.
type growing struct{ *tally.Set }

// Describe describes none: which there will be is not known.
func (growing) Describe(chan<- *prometheus.Desc) {}

// Collect reads those that there are now.
func (g growing) Collect(to chan<- prometheus.Metric) {
	for _, m := range g.Later() {
		collector(m).Collect(to)
	}
}
