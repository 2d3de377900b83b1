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
)

// DrainConfig says how an edge sends its clients elsewhere.
type DrainConfig struct {
	Rate    int           `koanf:"rate"`    // transports closed each second; 0: all at once
	Timeout time.Duration `koanf:"timeout"` // what is left then is closed at once; 0: all at once
}

// DefaultDrain spreads 20,000 clients over the time that it has.
func DefaultDrain() DrainConfig { return DrainConfig{Rate: 2000, Timeout: 10 * time.Second} }

// ErrStopping is the answer to Return when the edge ends: it does not come back.
var ErrStopping = errors.New("the edge is shutting down and takes no clients any more")

// Why an edge takes no clients.
const (
	asked    = iota // the operator wants it
	cutOff          // this edge has no NATS, and others may have it
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
	Isolation time.Duration // how long the edge may be cut off from NATS before it sends its clients to others; 0: it never does
	Engine    *engine.Server
	Forward   *Forwarder
	Cluster   *Cluster
	Log       *slog.Logger
}

// Drainer sends the clients of an edge elsewhere, and lets them come again. An edge that drains is not ready, tells the
// others so, takes no new sessions, and closes the transports of those that it has and of what goes through it to other
// edges: a client that sees that comes back by itself, to another edge. Requests of the sessions that are left are
// answered, also those that other edges pass on. No socket is sent a DISCONNECT packet, after which its client would stay
// away.
type Drainer struct {
	set DrainSettings

	mu      sync.Mutex
	because [drainReasons]bool // guarded by mu
	cancel  context.CancelFunc // guarded by mu: stops the drain under way; nil while the edge takes clients
	closing sync.WaitGroup     // of the drain under way; added to with mu held

	stats struct{ drains, closed tally.Counter }
}

// NewDrainer makes a Drainer. Run is for it to watch over the connection to NATS; Stop ends it.
func NewDrainer(set DrainSettings) *Drainer { return &Drainer{set: set} }

// Drain begins to send the clients elsewhere and returns at once. Until Return it goes on.
func (d *Drainer) Drain() { d.change(asked, true) }

// Return takes clients again after a Drain, and stops closing the transports of those that are left. Its error is
// ErrStopping.
func (d *Drainer) Return() error {
	d.mu.Lock()
	ending := d.because[stopping]
	d.mu.Unlock()
	if ending {
		return ErrStopping
	}
	d.change(asked, false)
	return nil
}

// Stop drains the edge for the last time and returns when no session is left but those that wait for their client to
// notice. It begins anew with the time that it has, also while the edge is draining already.
func (d *Drainer) Stop() {
	d.change(stopping, true)
	d.closing.Wait()
}

// change notes a reason, or that it is over, and begins or ends the drain if that makes the difference.
func (d *Drainer) change(why int, holds bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.because[why] == holds || d.because[stopping] && why != stopping {
		return
	}
	before := d.leaving()
	d.because[why] = holds
	switch now := d.leaving(); {
	case now && (!before || why == stopping):
		d.begin(drainWords[why])
	case before && !now:
		d.cancel()
		d.cancel = nil
		d.set.Engine.Return()
		d.set.Forward.Return()
		d.set.Cluster.SetDraining(false)
		d.set.Log.Info("taking clients again", "sessions", d.set.Engine.Sessions())
	}
}

// leaving needs mu.
func (d *Drainer) leaving() bool { return d.because != [drainReasons]bool{} }

// begin starts a drain, in the place of one that is under way. It needs mu.
func (d *Drainer) begin(why string) {
	if d.cancel != nil {
		d.cancel()
	}
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(context.Background())
	d.set.Engine.Leave()
	d.set.Forward.Leave()
	d.set.Cluster.SetDraining(true)
	d.stats.drains.Inc()
	d.set.Log.Info("sending clients to other edges", "because", why, "sessions", d.set.Engine.Sessions(), "passing", d.set.Forward.Held())
	d.closing.Go(func() { d.closeAll(ctx) })
}

// closeAll closes the transports of the edge's own sessions, and of what goes through it to sessions elsewhere, mixed, so
// that no kind has to wait for the other.
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

// Ready says why clients should go elsewhere, and how many have yet to.
func (d *Drainer) Ready() []string {
	d.mu.Lock()
	because := d.because
	d.mu.Unlock()
	for why := len(because) - 1; why >= 0; why-- {
		if because[why] {
			return []string{fmt.Sprintf("%s: %d sessions are left, and %d connections to sessions on other edges",
				drainWords[why], d.set.Engine.Sessions(), d.set.Forward.Held())}
		}
	}
	return nil
}

// draining says whether the edge sends clients elsewhere.
func (d *Drainer) draining() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.leaving()
}

// Metrics lists what the drainer counts.
func (d *Drainer) Metrics() *tally.Set {
	set := &tally.Set{}
	set.Func(tally.KindGauge, "draining", "1 while the edge sends its clients elsewhere.", func() float64 {
		if d.draining() {
			return 1
		}
		return 0
	})
	set.Func(tally.KindGauge, "drain_left", "Sessions, and connections to sessions on other edges, that an edge which drains still has; 0 otherwise.", func() float64 {
		if !d.draining() {
			return 0
		}
		return float64(d.set.Engine.Sessions() + d.set.Forward.Held())
	})
	set.Counter(&d.stats.drains, "drains_total", "Times the edge began to send its clients elsewhere.")
	set.Counter(&d.stats.closed, "drain_closed_total", "Transports closed to send their clients elsewhere.")
	return set
}
