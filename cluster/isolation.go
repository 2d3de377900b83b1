package cluster

import (
	"context"
	"time"
)

// askEvery is how often an edge that is cut off from NATS asks whether others are ready.
const askEvery = time.Second

// Run watches over the connection to NATS until ctx ends. An edge that has been cut off for as long as it may be sends its
// clients to others, as long as one of those says that it is ready: if NATS is gone for all, clients are best where they
// are. When NATS is back, the edge takes clients again.
func (d *Drainer) Run(ctx context.Context) {
	if d.set.Isolation == 0 {
		return
	}
	watch := time.NewTicker(min(watchEvery, d.set.Isolation))
	defer watch.Stop()
	var alone isolation
	for {
		select {
		case <-ctx.Done():
			return
		case <-watch.C:
		}
		switch alone.observe(d.set.Cluster.set.Bus.Connected(), time.Now(), d.set.Isolation) {
		case over:
			d.change(cutOff, false)
		case ask:
			d.change(cutOff, d.set.Forward.AnyReady(ctx) && ctx.Err() == nil)
		}
	}
}

// isolation is how long an edge has been cut off from NATS.
type isolation struct {
	since time.Time // zero while it is not
	asked time.Time // when others were asked last
}

// What there is to do about it.
const (
	wait = iota
	ask
	over
)

// observe notes whether the edge is connected now and says what to do.
func (i *isolation) observe(connected bool, now time.Time, patience time.Duration) int {
	switch {
	case connected:
		*i = isolation{}
		return over
	case i.since.IsZero():
		i.since = now
		return wait
	case now.Sub(i.since) < patience, now.Sub(i.asked) < askEvery:
		return wait
	}
	i.asked = now
	return ask
}
