package cluster

import (
	"context"
	"time"
)

// heardBefore is how long before the connection to NATS ended another edge must have been heard to be counted on.
const heardBefore = time.Minute

// HadOthers reports whether another edge lived when this one lost NATS. Such an edge may have NATS still and can do more for clients.
func (c *Cluster) HadOthers() bool {
	lost := c.set.Bus.LostAt()
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.heard.IsZero() && lost.Sub(c.heard) <= heardBefore
}

// Run watches the connection to NATS until ctx ends. An edge that has been cut off for DrainSettings.Isolation sends its clients to
// others, if there were any. It cannot know whether NATS is gone for those, too: the operator chooses a time that outages of all of
// NATS do not reach. When NATS is back, the edge takes clients again.
func (d *Drainer) Run(ctx context.Context) {
	if d.set.Isolation == 0 {
		return
	}
	watch := time.NewTicker(min(watchEvery, d.set.Isolation))
	defer watch.Stop()
	c := d.set.Cluster
	for connected := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-watch.C:
			if c.set.Bus.Connected() {
				connected = now
			}
			d.change(cutOff, now.Sub(connected) >= d.set.Isolation && c.HadOthers())
		}
	}
}
