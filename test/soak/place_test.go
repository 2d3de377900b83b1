package soak

import (
	"slices"
	"sync"
	"testing"
	"time"

	"partyline/internal/natsd/proxytest"
	"partyline/test/stand"
)

// settles is how long after an edge is ready the others may need to send it everything.
const settles = 3 * time.Second

// lateBy is how long after its cause a session may end, or a connect fail: a ping and its timeout.
const lateBy = 50 * time.Second

// place is where an edge is, also while it is restarted, with the faults that it suffered.
type place struct {
	name    string
	address string           // for clients, constant
	way     *proxytest.Proxy // its only path to NATS
	edge    *stand.Edge      // of the test's goroutine alone

	mu      sync.Mutex
	admin   string   // guarded by mu
	windows []window // guarded by mu
}

// window is a time in which messages may be lost. to is zero while it lasts.
type window struct {
	from, to time.Time
	isStall  bool // of the machine
}

func (w window) covers(from, to time.Time) bool {
	return !to.Before(w.from) && (w.to.IsZero() || from.Before(w.to))
}

// suffers reports whether a fault of the edge explains a loss at a time.
func (p *place) suffers(at time.Time) bool { return p.suffered(at, at) }

// suffered reports whether there was a fault of the edge between two times.
func (p *place) suffered(from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.windows, func(w window) bool { return w.covers(from, to) })
}

// stalledIn reports whether the machine stalled between two times.
func (p *place) stalledIn(from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.windows, func(w window) bool { return w.isStall && w.covers(from, to) })
}

// stalled notes that the edge, or what it needs, got no processor for some time: a fault of the machine.
func (p *place) stalled(from, to time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.windows = slices.Insert(p.windows, 0, window{from: from.Add(-underWay), to: to.Add(settles), isStall: true}) // the last may be under way
}

// suffer causes a fault that is over when the edge is ready.
func (p *place) suffer(t *testing.T, fault func()) {
	t.Helper()
	p.mu.Lock()
	p.windows = append(p.windows, window{from: time.Now().Add(-underWay)})
	p.mu.Unlock()
	fault()
	p.edge.WaitReady(t)
	p.mu.Lock()
	p.windows[len(p.windows)-1].to = time.Now().Add(settles)
	p.admin = p.edge.Admin
	p.mu.Unlock()
}

func (p *place) adminAddress() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.admin
}
