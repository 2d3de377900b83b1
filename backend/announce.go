package backend

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// How long Start waits for the edges to tell of themselves: until they have been quiet for a moment, and not longer than
// helloAtMost.
const (
	helloQuiet  = 50 * time.Millisecond
	helloAtMost = 250 * time.Millisecond
)

// watch subscribes to what edges and instances announce.
func (s *Service) watch() error {
	for _, subject := range []string{s.prefix.EveryEdge(), s.prefix.InstanceAnnouncement(s.group, "*", "*")} {
		sub, err := s.nc.Subscribe(subject, s.hear)
		if err != nil {
			return sendError(err, &nats.Msg{Subject: subject}, s.nc)
		}
		s.mu.Lock()
		s.subs = append(s.subs, sub)
		s.mu.Unlock()
	}
	return nil
}

// hear takes an announcement.
func (s *Service) hear(m *nats.Msg) {
	sub, ok := s.prefix.Parse(m.Subject)
	if !ok {
		return
	}
	switch {
	case sub.Kind == subjects.KindEdge:
		if s.edges.hear(sub.Edge, sub.Word, time.Now()) {
			s.edgeDied(sub.Edge)
		}
	case sub.Kind == subjects.KindInstance && sub.Word == subjects.WordPing:
		s.pong(m, sub.Instance)
	case sub.Kind == subjects.KindInstance && sub.Instance != s.Instance():
		s.peers.hear(sub.Instance, sub.Word, m.Data, time.Now())
		if sub.Word == subjects.WordHello && s.state.Load() == running {
			_ = s.say(subjects.WordBeat) // so that the new one knows of this one at once
		}
	}
}

// pong tells an edge that this instance lives.
func (s *Service) pong(m *nats.Msg, instance string) {
	to, ok := s.prefix.Parse(m.Reply)
	if !ok || to.Kind != subjects.KindPong || to.Instance != instance || instance != s.Instance() || s.fenced() {
		return
	}
	_ = s.reply(m.Reply, nil, []byte("[]")) // if it does not get there, the edge asks again
}

// say publishes an announcement of this instance.
func (s *Service) say(word string) error {
	return s.publish(&nats.Msg{
		Subject: s.prefix.InstanceAnnouncement(s.group, s.Instance(), word), Data: s.ownAnnouncement().Body(),
	})
}

// announce says hello, and waits a moment for the edges that answer.
func (s *Service) announce(ctx context.Context) error {
	answered := make(chan struct{}, 1)
	sub, err := s.hello(func() {
		select {
		case answered <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.confirm(ctx, time.Now()); err != nil {
		return because(Offline, err, "Start")
	}
	atMost := time.NewTimer(helloAtMost)
	defer atMost.Stop()
	quiet := atMost.C
	for {
		select {
		case <-answered:
			quiet = time.After(helloQuiet)
		case <-quiet:
			return nil
		case <-atMost.C:
			return nil
		case <-ctx.Done():
			return because(Offline, ctx.Err(), "Start")
		}
	}
}

// hello announces the instance with a reply subject, to which the edges answer. The caller ends the subscription.
func (s *Service) hello(answered func()) (*nats.Subscription, error) {
	inbox := s.nc.NewInbox()
	sub, err := s.nc.Subscribe(inbox, func(m *nats.Msg) {
		if a, err := msg.ParseEdgeAnnouncement(m.Data); err == nil {
			s.edges.hear(a.Edge, subjects.WordHello, time.Now())
		}
		answered()
	})
	if err != nil {
		return nil, sendError(err, &nats.Msg{Subject: inbox}, s.nc)
	}
	err = s.publish(&nats.Msg{
		Subject: s.prefix.InstanceAnnouncement(s.group, s.Instance(), subjects.WordHello), Reply: inbox, Data: s.ownAnnouncement().Body(),
	})
	if err != nil {
		_ = sub.Unsubscribe()
		return nil, err
	}
	return sub, nil
}

// confirm notes that what was said at a moment has reached NATS, once it has.
func (s *Service) confirm(ctx context.Context, said time.Time) error {
	if err := s.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	s.fence.confirmed.Store(&said)
	return nil
}

// beat announces the instance every second until the service closes, and looks who has died.
func (s *Service) beat() {
	every := time.NewTicker(msg.BeatEvery)
	defer every.Stop()
	last, connects := time.Now(), s.nc.Stats().Reconnects
	for {
		select {
		case <-every.C:
		case <-s.fence.stop:
			return
		}
		now := time.Now()
		reconnects := s.nc.Stats().Reconnects
		if now.Sub(last) > 2*msg.BeatEvery || reconnects != connects || !s.nc.IsConnected() {
			// This process did not run, or was cut off: the silence of the others was its own.
			s.edges.forgive(now)
			s.peers.forgive(now)
		}
		last = now
		s.mayFence()
		s.sayBeat(reconnects != connects)
		connects = reconnects
		for _, edge := range s.edges.expire(now) {
			s.edgeDied(edge)
		}
		s.peers.expire(now)
		s.recent.forget(now)
		s.countLost()
	}
}

// sayBeat says that this instance lives; after a reconnect, as a newcomer does, so
// that edges tell of themselves. It waits less than a beat for NATS to
// confirm it.
func (s *Service) sayBeat(reconnected bool) {
	ctx, cancel := context.WithTimeout(s.ctx, msg.BeatEvery*9/10)
	defer cancel()
	said, word := time.Now(), subjects.WordBeat
	if reconnected {
		word = subjects.WordHello
	}
	if s.say(word) == nil {
		_ = s.confirm(ctx, said) // if not, the age of the last confirmed beat tells
	}
}

// countLost notices messages that nats.go threw away because they came faster than they were taken.
func (s *Service) countLost() {
	lost := 0
	s.mu.Lock()
	for _, sub := range slices.Concat(s.subs, s.clientSubs, s.ownSubs) {
		if n, err := sub.Dropped(); err == nil {
			lost += n
		}
	}
	s.mu.Unlock()
	if before := s.stats.lost.Swap(uint64(lost)); uint64(lost) > before {
		s.log.Error("messages from edges were lost: this process did not read fast enough", "messages", uint64(lost)-before)
	}
}
