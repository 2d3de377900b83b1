package backend

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/liveness"
	"partyline/subjects"
	"partyline/wire/msg"
)

// How long Start waits for the edges to tell of themselves: until they have been quiet for a moment, and not longer than
// helloAtMost.
const (
	helloQuiet  = 50 * time.Millisecond
	helloAtMost = 250 * time.Millisecond
)

// heardOf are the announcements of other instances that matter here. Pings are left out: whoever subscribes them hides
// from an edge that the instance is not there.
var heardOf = [...]string{subjects.WordHello, subjects.WordBeat, subjects.WordLeft, subjects.WordBye}

// announced are the announcements of edges and instances that an instance of a group needs.
func announced(p subjects.Prefix, group string) []interest {
	wanted := []interest{{p.EveryEdge(), ""}}
	for _, word := range heardOf {
		wanted = append(wanted, interest{p.InstanceAnnouncement(group, "*", word), ""})
	}
	return wanted
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
		if (sub.Word == subjects.WordHello || sub.Word == subjects.WordBeat) && s.edges.isBack(sub.Edge) {
			s.ownNothingOf(sub.Edge)
		}
	case sub.Kind == subjects.KindInstance && sub.Word == subjects.WordPing:
		s.pong(m, sub.Instance)
	case sub.Kind == subjects.KindInstance && sub.Instance != s.Instance():
		if sub.Word == subjects.WordLeft || sub.Word == subjects.WordBye {
			s.peers.leaves(sub.Instance, time.Now(), 0)
		} else if a, err := msg.ParseInstanceAnnouncement(m.Data); err == nil {
			s.peers.hear(sub.Instance, a.Namespaces, time.Now())
		}
	default:
		return
	}
	if sub.Word == subjects.WordHello && s.state.Load() == running {
		_ = s.say(subjects.WordBeat) // so that the edge has this instance before it is ready, and a peer has it at once
	}
}

// pong tells an edge that this instance lives.
func (s *Service) pong(m *nats.Msg, instance string) {
	to, ok := s.prefix.Parse(m.Reply)
	if !ok || to.Kind != subjects.KindPong || to.Instance != instance || instance != s.Instance() || s.fence.isCutOff() {
		return
	}
	_ = s.reply(m.Reply, nil, []byte("[]")) // if it does not get there, the edge asks again
}

// ownNothingOf tells an edge that this instance took it for dead and ended its sockets, so that the edge assigns them again.
func (s *Service) ownNothingOf(edge string) {
	s.log.Info("an edge that was taken for dead lives; it is told that its sockets have no owner here", "edge", edge)
	_ = s.publish(&nats.Msg{ // if it does not get there, the first event of each socket shows it
		Subject: s.prefix.Pong(edge, s.Instance()), Header: nats.Header{msg.HeaderError: {msg.ErrorNotOwner}}, Data: []byte("[]"),
	})
}

// announce says hello, and waits a little for the edges that answer.
func (s *Service) announce(ctx context.Context) error {
	answers, stop, err := s.questions.answers(ctx)
	if err != nil {
		return err
	}
	defer stop()
	m := s.announcement(s.Instance(), subjects.WordHello)
	m.Reply = answers.inbox
	if err := s.publish(m); err != nil {
		return err
	}
	if err := s.fence.confirm(ctx, s.connection, time.Now()); err != nil {
		return because(Offline, err, "Start")
	}
	atMost := time.NewTimer(helloAtMost)
	defer atMost.Stop()
	quiet := atMost.C
	for {
		select {
		case m := <-answers.messages:
			if a, _ := msg.ParseEdgeAnnouncement(m.Data); a.Edge != "" {
				s.edges.hear(a.Edge, subjects.WordHello, time.Now())
			}
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

// beat says every second that this instance lives, until the service closes; after a reconnect, as a newcomer does, so
// that edges tell of themselves.
func (s *Service) beat() {
	every := time.NewTicker(msg.BeatEvery)
	defer every.Stop()
	connects := s.nc.Stats().Reconnects
	for {
		select {
		case <-every.C:
		case <-s.fence.stop:
			return
		}
		word, now := subjects.WordBeat, s.nc.Stats().Reconnects
		if now != connects {
			word = subjects.WordHello
		}
		connects = now
		s.mayFence() // before this process, which may have been stopped, says that it lives
		s.buryFormer()
		// The moment before counts: NATS may take its time, and edges count from when they heard.
		said := time.Now()
		if s.say(word) == nil {
			ctx, cancel := context.WithTimeout(s.ctx, msg.BeatEvery*9/10)
			_ = s.fence.confirm(ctx, s.connection, said) // if not, the age of the last confirmed beat tells
			cancel()
		}
	}
}

// attendEvery is how often the instance looks whether it must give up what it owns, and who has died.
const attendEvery = 100 * time.Millisecond

// attend looks after what dies in silence, until the service closes.
func (s *Service) attend() {
	every := time.NewTicker(attendEvery)
	defer every.Stop()
	last, tidied, connects := time.Now(), time.Now(), s.nc.Stats().Reconnects
	var listener liveness.Listener
	for {
		select {
		case <-every.C:
		case <-s.fence.stop:
			return
		}
		now, reconnects := time.Now(), s.nc.Stats().Reconnects
		s.fence.look(s.nc.IsConnected(), last)
		if listener.WasDeaf(reconnects == connects && s.fence.disconnected.Load() == nil, now, msg.BeatEvery) {
			s.edges.forgive(now)
			s.peers.forgive(now)
		}
		last, connects = now, reconnects
		s.mayFence()
		for _, edge := range s.edges.expire(now) {
			s.edgeDied(edge)
		}
		s.peers.expire(now)
		if now.Sub(tidied) >= time.Second {
			tidied = now
			s.admissions.decisions.forget(now)
			s.unconfirmed.tidy(now)
			s.countLost(s.subs.lost() + s.clientSubs.lost() + s.ownSubs.lost())
		}
	}
}
