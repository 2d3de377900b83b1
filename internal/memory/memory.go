// Package memory measures and watches the memory of the process.
package memory

import (
	"context"
	"runtime"
	"runtime/metrics"
	"time"
)

// lookEvery is how often Watch looks at the memory of the process. The look takes some microseconds.
const lookEvery = 100 * time.Millisecond

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

// Watch calls seen every lookEvery with what the process uses, in bytes, until ctx ends. Above limit, seen must give
// memory back. Before Watch reports more than limit again, garbage is collected, so that what was given back is free.
func Watch(ctx context.Context, limit uint64, seen func(used uint64)) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	meter, freedBy := NewMeter(), uint64(0) // freedBy is the collection that finds free what was given back
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		used, collections := meter.Read()
		if used > limit && collections < freedBy {
			runtime.GC()
			used, collections = meter.Read()
		}
		if seen(used); used > limit {
			freedBy = collections + 2 // one may be under way
		}
	}
}
