// Package flow bounds what the clients of one namespace have under way at NATS: published, and not handled by this edge when it
// comes back. Clients above the bound wait, so they cannot fill what all namespaces share: NATS's buffers and the edge's own.
package flow

import (
	"sync"
	"time"
)

// Cost counts what messages cost an edge that has their receivers: one for each, and some for the message itself.
const (
	perMessage = 32
	perBytes   = 16 // so many bytes cost one
	// Size is the cost that may be under way. At full speed, 32 messages to a room of 1,000 are.
	Size = 64 << 10
	// markEvery is the cost after which a marker is sent.
	markEvery = Size / 4
	// patience is how long a marker may be away. It is lost if NATS was lost meanwhile.
	patience = 2 * time.Second
)

// Cost returns the cost of a message with so many receivers on this edge. One message costs at most half a window.
func Cost(bytes, receivers int) int {
	return min(perMessage+bytes/perBytes+receivers, Size/2)
}

// Window is what one namespace has under way. It does not follow each message. From time to time the edge publishes a marker to
// itself: when that comes back, all earlier messages have come back, too. The zero Window is ready to use.
type Window struct {
	mu      sync.Mutex
	moved   sync.Cond   // signalled when there is room for one more
	waiting int         // guarded by mu: callers of Enter that wait
	costs   costs       // guarded by mu
	number  uint64      // guarded by mu: of the last marker
	lost    *time.Timer // guarded by mu: gives the marker up
}

// costs are what is under way.
type costs struct {
	open   int // since the last marker
	marked int // before the marker that is away; 0: none is
}

// isFull reports whether a further message must wait. Without a marker that is away none must: it has to send one.
func (c costs) isFull() bool { return c.marked > 0 && c.open+c.marked >= Size }

// Enter counts a message that will be published. If the window is full, Enter waits until there is room, one caller after the
// other, and returns true. It waits no longer than it takes to handle what is under way, or 2 seconds for each marker that is
// lost. If marker is not 0, the caller must publish that marker now.
func (w *Window) Enter(cost int) (marker uint64, waited bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if waited = w.waiting > 0 || w.costs.isFull(); waited {
		w.moved.L = &w.mu
		w.waiting++
		for isFirst := true; isFirst || w.costs.isFull(); isFirst = false {
			w.moved.Wait()
		}
		w.waiting--
	}
	if w.costs.marked == 0 && w.costs.open >= markEvery {
		w.number++
		marker = w.number
		w.costs = costs{marked: w.costs.open}
		w.lost = time.AfterFunc(patience, func() { w.Return(marker) })
	}
	w.costs.open += cost
	if !w.costs.isFull() {
		w.moved.Signal() // for the next one
	}
	return marker, waited
}

// Return is called when a marker is back, or cannot be published. An unknown number is ignored.
func (w *Window) Return(marker uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.costs.marked == 0 || marker != w.number {
		return
	}
	w.lost.Stop()
	w.costs.marked = 0
	w.moved.Signal()
}
