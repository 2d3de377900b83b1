package cluster

import (
	"context"
	"maps"
	"slices"
	"time"

	"partyline/internal/tally"
)

// closeSteps is in how many steps a second CloseAll spreads its work, as in the engine.
const closeSteps = 20

// begun counts an upgrade, so that Abort waits for it, unless the edge is leaving. The caller must call running.Done.
func (f *Forwarder) begun() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.leaving {
		f.running.Add(1)
	}
	return !f.leaving
}

// hold keeps in mind how to end something that goes on for long.
func (f *Forwarder) hold(end func()) *held {
	h := &held{end}
	f.mu.Lock()
	f.held[h] = struct{}{}
	aborted := f.aborted
	f.mu.Unlock()
	if aborted { // Abort has not seen it
		end()
	}
	return h
}

func (f *Forwarder) release(h *held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, h)
}

// Held is how many spliced connections, upgrades and polls of sessions elsewhere there are now.
func (f *Forwarder) Held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held)
}

// Leave splices nothing more from now on. Other requests are still passed on.
func (f *Forwarder) Leave() {
	f.mu.Lock()
	f.leaving = true
	f.mu.Unlock()
}

// CloseAll ends what goes through this edge to others, about perSecond each second and no fewer than closeSteps; what is
// left when ctx ends is ended at once. Clients see the transport close, or read that their session is unknown, and come
// back.
func (f *Forwarder) CloseAll(ctx context.Context, perSecond int) {
	ticks := time.NewTicker(time.Second / closeSteps)
	defer ticks.Stop()
	step := max(1, perSecond/closeSteps)
	for i, h := range f.all() {
		if i > 0 && i%step == 0 {
			select {
			case <-ticks.C:
			case <-ctx.Done():
			}
		}
		h.end()
	}
}

// Abort ends all that is left and waits for every goroutine of the forwarder. Leave must have been called.
func (f *Forwarder) Abort() {
	f.mu.Lock()
	f.aborted = true
	f.mu.Unlock()
	for _, h := range f.all() {
		h.end()
	}
	f.running.Wait()
	f.transport.CloseIdleConnections()
}

func (f *Forwarder) all() []*held {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.held))
}

// Metrics lists what the forwarder counts.
func (f *Forwarder) Metrics() *tally.Set {
	set, st := &tally.Set{}, &f.stats
	set.Counter(&st.forwarded, "forwarded_total", "Requests of sessions on other edges that were passed on to them, upgrades included.")
	set.Counter(&st.failed, "forward_failed_total", "Of these, those that the other edge did not answer.")
	set.Gauge(&st.splicedNow, "spliced", "WebSockets of sessions on other edges that go through this one.")
	set.Counter(&st.spliced, "spliced_total", "WebSockets that were spliced through to other edges.")
	set.Counter(&st.refused, "forwarded_refused_total", "Requests refused because they said that another edge had passed them on, and could not prove it.")
	return set
}
