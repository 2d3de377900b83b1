package backend

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"partyline/subjects"
	"partyline/wire/msg"
)

// fence keeps an instance from handling events of sockets that others may own by now.
type fence struct {
	confirmed    atomic.Pointer[time.Time] // when the last beat that NATS has confirmed was published; nil before Start
	disconnected atomic.Pointer[time.Time] // since when there is no connection to NATS; nil if there is one
	stop         chan struct{}             // closed when the instance beats no more
	mu           sync.Mutex                // held while the instance gives up what it owns and takes a new name
}

// When others may own the sockets of this instance. Edges give it up three and a half seconds after the last beat
// that they received, and a second after NATS reported that it has no subscriber.
const (
	fenceAfter        = 3 * time.Second
	fenceDisconnected = 750 * time.Millisecond
)

// isCutOff reports whether the edges may have given this instance up.
func (f *fence) isCutOff() bool {
	confirmed, disconnected := f.confirmed.Load(), f.disconnected.Load()
	return confirmed != nil && time.Since(*confirmed) >= fenceAfter ||
		disconnected != nil && time.Since(*disconnected) >= fenceDisconnected
}

// look records since when there is no connection. before is the last time at which there was one.
func (f *fence) look(isConnected bool, before time.Time) {
	switch {
	case isConnected:
		f.disconnected.Store(nil)
	case f.disconnected.Load() == nil:
		f.disconnected.Store(&before)
	}
}

// confirm waits until NATS has received all earlier messages, and records when the last beat was published: said.
func (f *fence) confirm(ctx context.Context, c *connection, said time.Time) error {
	if err := c.flushed(ctx); err != nil {
		return err
	}
	f.confirmed.Store(&said)
	return nil
}

// mayFence gives up all owned sockets if the edges may have given up this instance, which goes on under a new name:
// for the edges, the old one is dead.
//
// It is called by two goroutines, beat and attend: at once, when a stopped process goes on. The second call finds no
// socket that is owned under the new name. If both took a new name, both would subscribe the newer one, and every
// event would come twice.
func (s *Service) mayFence() {
	s.fence.mu.Lock()
	defer s.fence.mu.Unlock()
	s.assigning.Lock()
	state := s.state.Load()
	if !s.fence.isCutOff() || !s.owners.has(s.Instance()) || state != running && state != leaving {
		s.assigning.Unlock()
		return
	}
	s.mu.Lock()
	old, subs := s.instance, s.ownSubs.take()
	s.instance = newInstance(s.group)
	s.former = append(s.former, old)
	s.mu.Unlock()
	s.assigning.Unlock()
	s.log.Error("this instance was cut off from NATS and owns nothing any more; it goes on under a new name", "old", old, "new", s.Instance())
	for _, sub := range subs {
		_ = sub.Unsubscribe() // later messages there are for no instance
	}
	for _, so := range s.owners.all() {
		if so.own.instance == old {
			s.lanes.always(laneKey{so.ns.token, so.id}, func() { s.release(so, msg.ReasonOwnerChanged) })
		}
	}
	if err := s.takeName(); err != nil {
		s.log.Error("the subjects of the new name could not be subscribed", "error", err)
	}
	word := subjects.WordHello
	if state == leaving { // else its beats would make edges choose it
		word = subjects.WordLeaving
	}
	_ = s.say(word) // without a connection, the next beat does
	s.buryFormer()
}
