package edge

import (
	"cmp"

	"partyline/engine"
)

// Limits bounds what one client can make an edge keep. 0: no limit, except for the queue.
type Limits struct {
	RoomsPerSocket       int
	NamespacesPerSession int
	QueueBytes           int // what may wait for one session, also before its CONNECT; 0: engine.DefaultQueueBytes
	QueuePackets         int // the same; 0: engine.DefaultQueuePackets
}

// complete returns them with defaults in the place of what must not be 0.
func (l Limits) complete() *Limits {
	l.QueueBytes = cmp.Or(l.QueueBytes, engine.DefaultQueueBytes)
	l.QueuePackets = cmp.Or(l.QueuePackets, engine.DefaultQueuePackets)
	return &l
}
