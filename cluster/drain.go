package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"partyline/engine"
	"partyline/internal/pace"
	"partyline/internal/tally"
	"partyline/wire/msg"
)

// DrainConfig is how fast an edge drains.
type DrainConfig struct {
	Rate    int           `koanf:"rate"`    // transports closed per second; 0: all at once
	Timeout time.Duration `koanf:"timeout"` // closes the rest at once when it has passed; 0: all at once
}

// DefaultDrain spreads 20,000 clients over its timeout.
func DefaultDrain() DrainConfig { return DrainConfig{Rate: 2000, Timeout: 10 * time.Second} }

// ErrStopping is returned by Return when the process ends: the edge takes no clients any more.
var ErrStopping = errors.New("the edge is shutting down and takes no clients any more")

// Reasons to drain.
const (
	asked    = iota // by the operator
	cutOff          // from NATS, which other edges may have
	stopping        // the process ends
	drainReasons
)

var drainWords = [drainReasons]string{
	asked:    "draining",
	cutOff:   "draining, because it is cut off from NATS",
	stopping: "shutting down",
}

// DrainSettings is what a Drainer needs.
type DrainSettings struct {
	DrainConfig
	Isolation time.Duration // how long the edge may be cut off from NATS before it drains; 0: without limit
	Engine    *engine.Server
	Forward   *Forwarder
	Cluster   *Cluster
	Log       *slog.Logger
}

// Drainer sends the clients of an edge to other edges, and takes them again. While an edge drains, it is not ready,
// announces that, and takes no new sessions. It closes the transports of its sessions and of what it forwards; such a
// client reconnects to another edge. Requests of the sessions that are left are answered, also forwarded ones. No
// socket gets a DISCONNECT packet, after which its client would not come back. It is safe for concurrent use.
type Drainer struct {
	set DrainSettings

	mu      sync.Mutex
	because [drainReasons]bool // guarded by mu: the reasons that hold
	cancel  context.CancelFunc // guarded by mu: stops the current drain; nil while the edge takes clients
	closing sync.WaitGroup     // the goroutines of drains; added to with mu held

	stats struct{ drains, closed tally.Counter }
}

// NewDrainer makes a Drainer. Run makes it watch the connection to NATS; Stop ends it.
func NewDrainer(set DrainSettings) *Drainer { return &Drainer{set: set} }

// Drain begins to send the clients elsewhere and returns at once. The edge drains until Return.
func (d *Drainer) Drain() { d.change(context.Background(), asked, true) }

// Return takes clients again after a Drain, and stops closing the transports that are left. Its error is ErrStopping.
func (d *Drainer) Return() error {
	d.mu.Lock()
	ending := d.because[stopping]
	d.mu.Unlock()
	if ending {
		return ErrStopping
	}
	d.change(context.Background(), asked, false)
	return nil
}

// Stop drains the edge for the last time, with a new timeout even if it drains already. It returns when every
// transport has been closed, or ctx has been cancelled; when ctx's deadline passes, the rest is closed at once. A
// polling session may last until its client notices.
func (d *Drainer) Stop(ctx context.Context) {
	d.change(ctx, stopping, true)
	d.closing.Wait()
}

// change sets whether a reason holds, and begins or ends the drain if that decides it. A drain is bounded by ctx.
func (d *Drainer) change(ctx context.Context, reason int, holds bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.because[reason] == holds || d.because[stopping] && reason != stopping {
		return
	}
	before := d.anyReason()
	d.because[reason] = holds
	switch now := d.anyReason(); {
	case now && (!before || reason == stopping):
		d.begin(ctx, drainWords[reason])
	case before && !now:
		d.cancel()
		d.cancel = nil
		d.set.Engine.Return()
		d.set.Forward.Return()
		d.set.Cluster.SetDraining(false)
		d.set.Log.Info("taking clients again", "sessions", d.set.Engine.Sessions())
	}
}

// anyReason reports whether a reason to drain holds. mu must be held.
func (d *Drainer) anyReason() bool { return d.because != [drainReasons]bool{} }

// begin starts a drain, and stops the current one. mu must be held.
func (d *Drainer) begin(ctx context.Context, why string) {
	if d.cancel != nil {
		d.cancel()
	}
	ctx, d.cancel = context.WithCancel(ctx)
	d.set.Engine.Leave()
	d.set.Forward.Leave()
	d.set.Cluster.SetDraining(true)
	d.stats.drains.Inc()
	d.set.Log.Info("sending clients to other edges",
		"because", why, "sessions", d.set.Engine.Sessions(), "passing", d.set.Forward.Active())
	d.closing.Go(func() { d.closeAll(ctx) })
}

// closeAll closes the transports of the edge's sessions, and what it forwards. They are mixed, so that neither kind
// waits for the other.
func (d *Drainer) closeAll(ctx context.Context) {
	ctx, done := context.WithTimeout(ctx, d.set.Timeout)
	defer done()
	closers := append(d.set.Engine.Closers(engine.ServerShutdown), d.set.Forward.Closers()...)
	rand.Shuffle(len(closers), func(i, j int) { closers[i], closers[j] = closers[j], closers[i] })
	pace.Spread(ctx, d.set.Rate, closers, func(end func()) {
		end()
		d.stats.closed.Inc()
	})
}

// Ready returns why clients should go elsewhere, and how many are left; nil if the edge does not drain.
func (d *Drainer) Ready() []string {
	d.mu.Lock()
	because := d.because
	d.mu.Unlock()
	for reason := len(because) - 1; reason >= 0; reason-- {
		if because[reason] {
			return []string{fmt.Sprintf("%s: %d sessions are left, and %d connections to sessions on other edges",
				drainWords[reason], d.set.Engine.Sessions(), d.set.Forward.Active())}
		}
	}
	return nil
}

// draining reports whether the edge drains.
func (d *Drainer) draining() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.anyReason()
}

// Run drains the edge while it has been cut off from NATS for DrainSettings.Isolation and had other edges. It returns
// when ctx ends. The edge cannot tell whether NATS is gone for the others, too: the operator should choose a time
// that outages of all of NATS do not reach.
func (d *Drainer) Run(ctx context.Context) {
	if d.set.Isolation == 0 {
		return
	}
	watch := time.NewTicker(min(watchEvery, d.set.Isolation))
	defer watch.Stop()
	c := d.set.Cluster
	var cut isolation
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-watch.C:
			lasts := cut.lasts(c.set.Bus.Connected(), now)
			d.change(context.Background(), cutOff, lasts >= d.set.Isolation && c.HadOthers())
		}
	}
}

// isolation measures for how long an edge has been cut off from NATS. Time in which its process did not run does not
// count: it had no chance to connect again. The zero isolation has not looked yet.
type isolation struct{ since, looked time.Time }

// lasts is called regularly. It returns 0 while the edge is connected.
func (i *isolation) lasts(connected bool, now time.Time) time.Duration {
	gap := now.Sub(i.looked)
	i.looked = now
	switch {
	case connected || i.since.IsZero():
		i.since = now
	case gap > msg.BeatEvery:
		i.since = i.since.Add(gap)
	}
	return now.Sub(i.since)
}

// Metrics returns the drainer's metrics.
func (d *Drainer) Metrics() *tally.Set {
	set := &tally.Set{}
	whileDraining := func(name, help string, figure func() int) {
		set.Func(tally.KindGauge, name, help, func() float64 {
			if !d.draining() {
				return 0
			}
			return float64(figure())
		})
	}
	whileDraining("draining", "1 while the edge sends its clients elsewhere.", func() int { return 1 })
	whileDraining("drain_left",
		"Sessions, and connections to sessions on other edges, of a draining edge; 0 if it does not drain.",
		func() int { return d.set.Engine.Sessions() + d.set.Forward.Active() })
	set.Counter(&d.stats.drains, "drains_total", "Times the edge began to send its clients elsewhere.")
	set.Counter(&d.stats.closed, "drain_closed_total", "Transports closed to send their clients elsewhere.")
	return set
}
