// Package memory measures the memory of the process.
package memory

import "runtime/metrics"

// names are what a Meter reads, in this order.
var names = [...]string{
	"/gc/cycles/total:gc-cycles", "/gc/heap/live:bytes", "/memory/classes/total:bytes", "/memory/classes/heap/objects:bytes",
	"/memory/classes/heap/free:bytes", "/memory/classes/heap/unused:bytes", "/memory/classes/heap/released:bytes",
}

// Meter measures. It is not safe for concurrent use.
type Meter struct{ samples [len(names)]metrics.Sample }

// NewMeter makes a Meter.
func NewMeter() *Meter {
	m := &Meter{}
	for i, name := range names {
		m.samples[i].Name = name
	}
	return m
}

// Read returns what the process uses, in bytes: what was live at the last collection of garbage, and what Go needs
// besides the heap. It also returns the number of collections so far. It takes some microseconds.
func (m *Meter) Read() (used, collections uint64) {
	metrics.Read(m.samples[:])
	value := func(i int) uint64 { return m.samples[i].Value.Uint64() }
	return value(1) + value(2) - value(3) - value(4) - value(5) - value(6), value(0)
}
