package backend

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/natsd/natsdtest"
	"partyline/wire/msg"
)

// A process that was stopped goes on in all of its goroutines at once: only one of them takes a new name. When two did, both
// subscribed the newer one, and every event came twice.
func TestAnInstanceTakesOneNewName(t *testing.T) {
	closed := make(chan struct{})
	nc, err := nats.Connect(natsdtest.Start(t).ClientURL(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { nc.Close(); <-closed }()
	s, err := New(nc, "chat")
	if err != nil {
		t.Fatal(err)
	}
	chat := s.Of("/chat", Owned())
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.abandon()
	s.mu.Lock()
	before, subscriptions := s.instance, len(s.ownSubs)
	s.mu.Unlock()
	so := &Socket{ns: chat, id: "k3f9a0zz.AAAAAAAAAAAAAAAAAAAA", own: s.newOwnership()}
	s.owners.add(so, before, msg.State{})
	for range 50 { // the beat may confirm the instance at any moment
		long := time.Now().Add(-time.Minute)
		s.fence.confirmed.Store(&long)
		var both sync.WaitGroup
		for range 2 {
			both.Go(s.mayFence)
		}
		both.Wait()
		if s.Instance() != before {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.instance == before || len(s.ownSubs) != subscriptions {
		t.Errorf("the name was %s and is %s; %d subscriptions, want %d", before, s.instance, len(s.ownSubs), subscriptions)
	}
}
