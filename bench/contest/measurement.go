package contest

import (
	"partyline/bench/load"
	"partyline/bench/process"
)

// Measurement is the result of one phase of a scenario for one server in one round.
type Measurement struct {
	Scenario string             `json:"scenario"`
	Phase    string             `json:"phase"`
	Server   string             `json:"server"`
	Round    int                `json:"round"`
	Figures  map[string]float64 `json:"figures"`
}

// Figures of a measurement.
const (
	PerSecond  = "deliveries_per_second"
	CPU        = "cpu_us_per_delivery"         // servers and broker
	BrokerCPU  = "broker_cpu_us_per_delivery"  // of that
	ServiceCPU = "service_cpu_us_per_delivery" // not in that
	NodeCPU    = "node_cpu_us_per_delivery"    // of Node.js alone
	P50        = "latency_p50_us"
	P99        = "latency_p99_us"
	Most       = "latency_max_us"
	Cores      = "cores" // that servers, broker and service kept busy
	OwnCores   = "generator_cores"
	OtherCores = "other_cores" // that other programs kept busy
	Lost       = "lost"
	Doubled    = "doubled"
	Reordered  = "reordered"
	Misplaced  = "misplaced"
	Memory     = "bytes_per_connection"
	NodeMemory = "node_bytes_per_connection" // of Node.js alone
	ConnectCPU = "cpu_us_per_connect"
	PSSBefore  = "pss_before_bytes"
	PSSPeak    = "pss_peak_bytes"
	PSSAfter   = "pss_after_bytes"
)

// Faults are the figures that must be 0.
var Faults = []string{Lost, Doubled, Reordered, Misplaced}

// sums adds up CPU in seconds by role.
func (d *deployment) sums(cpu map[string]float64) map[string]float64 {
	sums := map[string]float64{}
	for _, one := range d.programs {
		sums[one.Role] += cpu[one.Name]
	}
	return sums
}

// figures of a phase.
func (d *deployment) figures(done *load.Done) map[string]float64 {
	sums := d.sums(done.CPU)
	each := 1e6 / max(1, float64(done.Delivered)) // µs
	f := map[string]float64{
		PerSecond: float64(done.Delivered) / done.Seconds,
		CPU:       (sums[process.Server] + sums[process.Broker]) * each,
		P50:       float64(done.P50) / 1e3, P99: float64(done.P99) / 1e3, Most: float64(done.Most) / 1e3,
		Cores:    (sums[process.Server] + sums[process.Broker] + sums[process.Service]) / done.Seconds,
		OwnCores: done.Own / done.Seconds, OtherCores: max(0, done.Others/done.Seconds),
		Lost: float64(done.Lost), Doubled: float64(done.Doubled), Reordered: float64(done.Reordered),
		Misplaced: float64(done.Misplaced),
	}
	if sums[process.Broker] > 0 {
		f[BrokerCPU] = sums[process.Broker] * each
	}
	if sums[process.Service] > 0 {
		f[ServiceCPU] = sums[process.Service] * each
	}
	return f
}

// connects are the figures of the clients' connects.
func (d *deployment) connects(c *load.Connected) map[string]float64 {
	sums := d.sums(c.CPU)
	return map[string]float64{
		PerSecond:  float64(c.Clients) / c.Seconds,
		ConnectCPU: (sums[process.Server] + sums[process.Broker]) * 1e6 / float64(c.Clients),
		Cores:      (sums[process.Server] + sums[process.Broker]) / c.Seconds,
		OwnCores:   c.Own / c.Seconds,
		P50:        float64(c.P50) / 1e3, P99: float64(c.P99) / 1e3, Most: float64(c.Most) / 1e3,
	}
}
