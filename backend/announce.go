package backend

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/liveness"
	"partyline/subjects"
	"partyline/wire/msg"
)

// How long Start waits for the edges' answers to its hello: until none has come for helloQuiet, and not longer than
// helloAtMost.
const (
	helloQuiet  = 50 * time.Millisecond
	helloAtMost = 250 * time.Millisecond
)

// announced are the announcements of edges and instances that an instance of a group needs. Pings of other instances
// are left out: an edge whose ping has a subscriber does not learn from NATS that the instance is not there.
func announced(p subjects.Prefix, group string) []interest {
	wanted := []interest{{p.EveryEdge(), ""}}
	for _, word := range []string{subjects.WordHello, subjects.WordBeat, subjects.WordLeft, subjects.WordBye} {
		wanted = append(wanted, interest{p.InstanceAnnouncement(group, "*", word), ""})
	}
	return wanted
}

// hear processes an announcement. It must not block.
func (s *Service) hear(m *nats.Msg) {
	sub, ok := s.prefix.Parse(m.Subject)
	if !ok {
		return
	}
	switch {
	case sub.Kind == subjects.KindEdge:
		died, err := s.edges.hear(sub.Edge, sub.Word, m, time.Now())
		if err != nil {
			s.ignored(m, err)
			return
		}
		if died {
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
			s.peers.hear(sub.Instance, member{heard: time.Now(), namespaces: a.Namespaces})
		}
	default:
		return
	}
	if sub.Word == subjects.WordHello && s.state.Load() == running {
		_ = s.say(subjects.WordBeat) // so that the edge has this instance before it is ready, and a peer has it at once
	}
}

// pong answers the ping of an edge.
func (s *Service) pong(m *nats.Msg, instance string) {
	to, ok := s.prefix.Parse(m.Reply)
	if !ok || to.Kind != subjects.KindPong || to.Instance != instance || instance != s.Instance() || s.fence.isCutOff() {
		return
	}
	_ = s.reply(m.Reply, nil, []byte("[]")) // if it does not get there, the edge asks again
}

// ownNothingOf notifies an edge that its sockets have no owner here, because this instance counted it as dead and
// ended them. The edge assigns them again.
func (s *Service) ownNothingOf(edge string) {
	s.log.Info("an edge that was counted as dead lives; its sockets have no owner here", "edge", edge)
	header := nats.Header{msg.HeaderError: {msg.ErrorNotOwner}}
	_ = s.reply(s.prefix.Pong(edge, s.Instance()), header, []byte("[]")) // if it is lost, the first event of each socket shows it
}

// announce publishes hello, and waits for the edges that answer.
func (s *Service) announce(ctx context.Context) error {
	said := time.Now()
	bound, cancel := context.WithTimeout(ctx, helloAtMost)
	defer cancel()
	_, err := s.questions.gather(bound, s.announcement(s.Instance(), subjects.WordHello), &gathering{
		members: func() ([]string, <-chan struct{}) { return nil, nil }, quiet: helloQuiet,
		take: func(m *nats.Msg) (string, error) {
			a, err := msg.ParseEdgeAnnouncement(m.Data)
			if err != nil || a.Edge == "" {
				return "", nil // no answer of an edge
			}
			if _, err := s.edges.hear(a.Edge, subjects.WordBeat, m, time.Now()); err != nil {
				s.ignored(m, err)
			}
			return "", nil
		},
	})
	if err != nil {
		return err
	}
	if err := s.fence.confirm(ctx, s.connection, said); err != nil {
		return because(Offline, err, "Start")
	}
	return nil
}

// beat publishes the instance's beats, until the service closes. After a reconnect it publishes hello, as a new
// instance does, because edges answer that.
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
		s.mayFence() // before the beat, because this process may have been stopped
		s.buryFormer()
		// The time before publishing counts: NATS may be slow, and edges count from the beat's arrival.
		said := time.Now()
		if s.say(word) == nil {
			ctx, cancel := context.WithTimeout(s.ctx, msg.BeatEvery*9/10)
			_ = s.fence.confirm(ctx, s.connection, said) // if that fails, the last confirmed beat becomes older
			cancel()
		}
	}
}

// attendEvery is how often the instance checks whether it must give up what it owns, and which edges and peers have
// died.
const attendEvery = 100 * time.Millisecond

// attend detects what ends without a message, and forgets what is old, until the service closes.
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
