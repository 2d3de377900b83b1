package backend

import (
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/natsd/natsdtest"
	"partyline/wire/msg"
)

// A process that was stopped continues in all of its goroutines at once. Only one of them may take a new name. When
// two did, both subscribed under the newer one, and every event came twice.
func TestAnInstanceTakesOneNewName(t *testing.T) {
	t.Parallel()
	s := offstage(t)
	chat := s.Of("/chat", Owned())
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	before, subscriptions := s.instance, len(s.ownSubs.list)
	s.mu.Unlock()
	so := &Socket{ns: chat, id: "k3f9a0zz.AAAAAAAAAAAAAAAAAAAA", own: s.owners.ownership("aaaaaaaa")}
	s.owners.add(so, before, msg.State{})
	for range 50 { // the beat may confirm the instance at any time
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
	if s.instance == before || len(s.ownSubs.list) != subscriptions {
		t.Errorf("the name was %s and is %s; %d subscriptions, want %d", before, s.instance, len(s.ownSubs.list), subscriptions)
	}
}

// An instance that is cut off while it leaves releases its sockets, too. By then others own them, so the events that
// wait for its handlers must not be handled when it is back.
func TestAnInstanceThatLeavesIsFenced(t *testing.T) {
	t.Parallel()
	s := offstage(t)
	chat := s.Of("/chat", Owned())
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := s.Instance()
	s.owners.add(&Socket{ns: chat, id: "k3f9a0zz.AAAAAAAAAAAAAAAAAAAA", own: s.owners.ownership("aaaaaaaa")}, before, msg.State{})
	s.state.Store(leaving)
	for range 50 { // the beat may confirm the instance at any time
		long := time.Now().Add(-time.Minute)
		s.fence.confirmed.Store(&long)
		if s.mayFence(); s.Instance() != before {
			break
		}
	}
	if err := s.lanes.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Instance() == before || len(s.owners.all()) > 0 {
		t.Errorf("it is still %s, and owns %d sockets", s.Instance(), len(s.owners.all()))
	}
}

// A process may be stopped between an event's arrival and its handler, for so long that the socket has another owner
// when it goes on. When only its arrival was judged, some events of a burst were handled behind later ones.
func TestAnEventIsJudgedRightBeforeItsHandler(t *testing.T) {
	t.Parallel()
	s := offstage(t)
	chat := s.Of("/chat", Owned())
	var came, handled []string
	chat.UsePacket(func(_ *Socket, p *Packet) error {
		if came = append(came, p.Event); p.Event == "late" {
			long := time.Now().Add(-fenceAfter)
			s.fence.confirmed.Store(&long)
		}
		return nil
	})
	for _, event := range []string{"early", "late"} {
		chat.On(event, func() { handled = append(handled, event) })
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	const id = "k3f9a0zz.AAAAAAAAAAAAAAAAAAAA"
	s.owners.add(&Socket{ns: chat, id: id, own: s.owners.ownership("aaaaaaaa")}, s.Instance(), msg.State{})
	for _, event := range []string{"early", "late"} {
		s.handle(&nats.Msg{Subject: "sio.chat.own." + s.Instance() + "." + event, Reply: "sio.chat.emit.socket." + id, Data: []byte(`["` + event + `"]`)})
		if err := s.lanes.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(came, []string{"early", "late"}) || !slices.Equal(handled, []string{"early"}) {
		t.Errorf("%q came, and %q was handled", came, handled)
	}
}

// offstage is a service that has not been started.
func offstage(t *testing.T) *Service {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(natsdtest.Start(t).ClientURL(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	s, err := New(nc, "chat", Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.abandon)
	return s
}
