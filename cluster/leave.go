package cluster

import "partyline/internal/tally"

// beginUpgrade makes Abort wait for an upgrade, and reports whether it may go on: not while the edge is leaving. If
// so, the caller must call running.Done.
func (f *Forwarder) beginUpgrade() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.leaving {
		f.running.Add(1)
	}
	return !f.leaving
}

// add registers something that may take long, with what ends it. The caller must remove it. If Abort has listed the
// others already, or Leave forbids spliced connections, it ends at once.
func (f *Forwarder) add(end func(), isSpliced bool) *closer {
	c := &closer{end}
	f.mu.Lock()
	f.active[c] = struct{}{}
	tooLate := f.aborted || isSpliced && f.leaving
	f.mu.Unlock()
	if tooLate {
		end()
	}
	return c
}

func (f *Forwarder) remove(c *closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.active, c)
}

// Active returns how many spliced connections, upgrades and polls go through this edge to others.
func (f *Forwarder) Active() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.active)
}

// Leave stops splicing. Other requests are still forwarded. Return ends it.
func (f *Forwarder) Leave() { f.setLeaving(true) }

// Return allows WebSockets to be spliced again after a Leave.
func (f *Forwarder) Return() { f.setLeaving(false) }

func (f *Forwarder) setLeaving(leaving bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leaving = leaving
}

// Closers returns a function for each active connection and request, in no order, which ends it. Clients see the
// transport close, or read that their session is unknown, and come back.
func (f *Forwarder) Closers() []func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	closers := make([]func(), 0, len(f.active))
	for c := range f.active {
		closers = append(closers, c.end)
	}
	return closers
}

// Abort ends all that is active and waits for every goroutine of the forwarder. Leave must have been called.
func (f *Forwarder) Abort() {
	f.mu.Lock()
	f.aborted = true
	f.mu.Unlock()
	for _, end := range f.Closers() {
		end()
	}
	f.running.Wait()
	f.transport.CloseIdleConnections()
}

// Metrics returns the forwarder's metrics.
func (f *Forwarder) Metrics() *tally.Set {
	set, st := &tally.Set{}, &f.stats
	set.Counter(&st.forwarded, "forwarded_total",
		"Requests for sessions of other edges that were forwarded to them, upgrades included.")
	set.Counter(&st.failed, "forward_failed_total", "Forwarded requests that the other edge did not answer.")
	set.Gauge(&st.splicedNow, "spliced", "WebSockets of sessions on other edges that go through this one.")
	set.Counter(&st.spliced, "spliced_total", "WebSockets that were spliced to other edges.")
	set.Counter(&st.refused, "forwarded_refused_total",
		"Requests refused because they claimed to be forwarded by another edge and could not prove it.")
	f.complaints.Metrics(set, "forwarder")
	return set
}
