package cluster

import "partyline/internal/tally"

// begun counts an upgrade, so that Abort waits for it, unless the edge is leaving. The caller must call running.Done.
func (f *Forwarder) begun() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.leaving {
		f.running.Add(1)
	}
	return !f.leaving
}

func (f *Forwarder) isLeaving() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leaving
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

// Return lets WebSockets be spliced again after a Leave.
func (f *Forwarder) Return() {
	f.mu.Lock()
	f.leaving = false
	f.mu.Unlock()
}

// Closers lists, in no order, what ends each of the things that go through this edge to others now. Clients see the
// transport close, or read that their session is unknown, and come back.
func (f *Forwarder) Closers() []func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	closers := make([]func(), 0, len(f.held))
	for h := range f.held {
		closers = append(closers, h.end)
	}
	return closers
}

// Abort ends all that is left and waits for every goroutine of the forwarder. Leave must have been called.
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

// Metrics lists what the forwarder counts.
func (f *Forwarder) Metrics() *tally.Set {
	set, st := &tally.Set{}, &f.stats
	set.Counter(&st.forwarded, "forwarded_total", "Requests of sessions on other edges that were passed on to them, upgrades included.")
	set.Counter(&st.failed, "forward_failed_total", "Of these, those that the other edge did not answer.")
	set.Gauge(&st.splicedNow, "spliced", "WebSockets of sessions on other edges that go through this one.")
	set.Counter(&st.spliced, "spliced_total", "WebSockets that were spliced through to other edges.")
	set.Counter(&st.refused, "forwarded_refused_total", "Requests refused because they said that another edge had passed them on, and could not prove it.")
	f.complaints.Metrics(set, "forwarder")
	return set
}
