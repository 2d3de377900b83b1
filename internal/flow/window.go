// Package flow bounds what the clients of one namespace have under way at NATS: published, and not handled by this
// edge when it comes back. Clients above the bound wait, so they cannot fill what all namespaces share: NATS's buffers
// and the edge's own.
package flow

import (
	"sync"
	"sync/atomic"
	"time"
)

// Cost counts what messages cost an edge that has their receivers: one for each, and some for the message itself.
const (
	perMessage = 4
	perBytes   = 16 // so many bytes cost one
	// Size is the cost that may be under way. At full speed, 32 messages to a room of 1,000 are.
	Size = 64 << 10
	// Share is the cost that may be under way while another namespace is active. It is handled in a millisecond or
	// two.
	Share = 4 << 10
	// active is how long a namespace counts as active after a message.
	active = 5 * time.Second
	// restTrips is how long a window that is small rests, in times that its checkpoint was away.
	restTrips = 3
	// patience is how long a checkpoint may be away. It is lost if NATS was lost meanwhile.
	patience = 2 * time.Second
)

// Cost returns the cost of a message with so many receivers on this edge. One message costs at most half a window.
func Cost(bytes, receivers int) int {
	return min(perMessage+bytes/perBytes+receivers, Size/2)
}

// Windows is what the windows of an edge share. The zero Windows is ready to use.
type Windows struct {
	last     atomic.Pointer[Window] // of the last message
	switched atomic.Int64           // when that was another one's, in unix nanoseconds
}

// most returns the cost that one namespace may have under way now.
func (a *Windows) most() int {
	if at := a.switched.Load(); at > 0 && time.Since(time.Unix(0, at)) < active {
		return Share
	}
	return Size
}

// Window is what one namespace has under way. It does not follow each message. From time to time the edge publishes a
// checkpoint to itself: when that comes back, all earlier messages have come back, too.
//
// While another namespace is active, the window is small, and it rests for some times as long as each checkpoint took.
// So a flood leaves most of the time to others, however slow the machine is.
type Window struct {
	all *Windows // static

	mu         sync.Mutex
	moved      sync.Cond   // signalled when there is room for one more
	waiting    int         // guarded by mu: callers of Enter that wait
	costs      costs       // guarded by mu
	checkpoint uint64      // guarded by mu: the number of the last one
	sent       time.Time   // guarded by mu: when that was
	rests      bool        // guarded by mu: it is back
	timer      *time.Timer // guarded by mu: gives it up, or ends the rest
}

// costs are what is under way.
type costs struct {
	open   int // since the last checkpoint
	marked int // before the checkpoint that is away, or after which the window rests; 0: there is none
	most   int // Size or Share
}

// isFull reports whether a further message must wait. Without a checkpoint none must: it has to send one.
func (c costs) isFull() bool { return c.marked > 0 && c.open+c.marked >= c.most }

// New returns the window of a namespace.
func (a *Windows) New() *Window {
	w := &Window{all: a}
	w.moved.L = &w.mu
	return w
}

// Touch notes that the namespace is active.
func (w *Window) Touch() {
	if last := w.all.last.Load(); last != w {
		w.all.last.Store(w)
		if last != nil {
			w.all.switched.Store(time.Now().UnixNano())
		}
	}
}

// Enter counts a message that will be published, if there is room for it. With wait it waits for that, one caller
// after the other: for some times as long as it takes to handle what is under way, or 2 seconds for each checkpoint
// that is lost. If checkpoint is not 0, the caller must publish that checkpoint now.
func (w *Window) Enter(cost int, wait bool) (checkpoint uint64, entered bool) {
	w.Touch()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting > 0 || w.costs.isFull() {
		if !wait {
			return 0, false
		}
		w.waiting++
		for isFirst := true; isFirst || w.costs.isFull(); isFirst = false {
			w.moved.Wait()
		}
		w.waiting--
	}
	if most := w.all.most(); w.costs.marked == 0 && w.costs.open >= most/4 {
		w.checkpoint++
		number := w.checkpoint // a closure over the result would allocate it in each call
		checkpoint = number
		w.costs, w.sent = costs{marked: w.costs.open, most: most}, time.Now()
		w.timer = time.AfterFunc(patience, func() { w.end(number) })
	}
	w.costs.open += cost
	if !w.costs.isFull() {
		w.moved.Signal() // for the next one
	}
	return checkpoint, true
}

// Return is called when a checkpoint is back, or cannot be published. An unknown number is ignored.
func (w *Window) Return(checkpoint uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case checkpoint != w.checkpoint || w.costs.marked == 0 || w.rests:
	case w.costs.most == Share:
		w.rests = true
		w.timer.Reset(restTrips * time.Since(w.sent))
	default:
		w.timer.Stop()
		w.costs.marked = 0
		w.moved.Signal()
	}
}

// end is called when the rest after a checkpoint is over, or the checkpoint must be lost.
func (w *Window) end(checkpoint uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if checkpoint == w.checkpoint {
		w.costs.marked, w.rests = 0, false
		w.moved.Signal()
	}
}
