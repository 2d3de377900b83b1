package backend

import (
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
)

// fence keeps an instance from acting for sockets that others may own by now.
type fence struct {
	confirmed atomic.Pointer[time.Time] // when the last beat was said that NATS has confirmed; nil before Start
	stop      chan struct{}             // closed when the instance beats no more
}

// fenced tells whether this instance must fear that the edges gave it up.
func (s *Service) fenced() bool {
	at := s.fence.confirmed.Load()
	return at != nil && time.Since(*at) >= fenceAfter
}

// mayFence gives up all owned sockets if the edges must have given up this instance, and goes on under a new name: its
// old one is dead for them.
func (s *Service) mayFence() {
	if !s.fenced() || s.owners.count() == 0 || s.state.Load() != running {
		return
	}
	s.claiming.Lock()
	s.mu.Lock()
	old, subs := s.instance, s.ownSubs
	s.instance, s.ownSubs = newInstance(s.group), nil
	s.mu.Unlock()
	s.claiming.Unlock()
	s.log.Error("this instance was cut off from NATS and owns nothing any more; it goes on under a new name", "old", old, "new", s.Instance())
	for _, sub := range subs {
		_ = sub.Unsubscribe() // what comes there is not for this instance any more
	}
	for _, so := range s.owners.all() {
		if so.own.instance == old {
			s.lanes.always(laneKey{so.ns.token, so.id}, func() { s.release(so, ownerChanged) })
		}
	}
	if err := s.subscribeAll(&s.ownSubs, s.instanceSubjects(s.everyNamespace(), s.Instance())); err != nil {
		s.log.Error("the subjects of the new name could not be subscribed", "error", err)
	}
	// Edges that have not noticed yet need not wait.
	_ = s.publish(&nats.Msg{Subject: s.prefix.InstanceAnnouncement(s.group, old, subjects.WordBye), Data: s.ownAnnouncement().Body()})
	_ = s.say(subjects.WordHello)
}

// everyNamespace is all that handlers were registered for.
func (s *Service) everyNamespace() []*Namespace {
	all := append([]*Namespace(nil), s.patterns...)
	for _, n := range s.byToken {
		all = append(all, n)
	}
	return all
}
