package owner

import (
	"log/slog"
	"slices"
	"time"

	"partyline/wire/msg"
)

// How doubts about an instance end. An instance that lost its connection gives up what it owns before deadAfterDoubt
// is over, so that no other one owns it by then (docs/subjects.md, Groups and owners).
const (
	// TickEvery is how often Tick must be called. A doubtful instance is pinged as often.
	TickEvery      = 250 * time.Millisecond
	deadAfterDoubt = time.Second
)

// Doubt takes NATS's word that no subscriber got an event of a socket: its owner may have gone. A ping shows. It never
// waits.
func (t *Table) Doubt(s *Socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, now := s.instance, t.set.Now(); i != nil && i.state == serving && now.Sub(i.pinged) >= TickEvery {
		i.pinged = now
		t.wire.Do(func() { t.wire.Ping(i.group, i.name) })
	}
}

// Pong takes the answer to a ping, or NATS's word that no subscriber got it. It never waits.
func (t *Table) Pong(instance string, noResponders bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range t.instances.byName[instance] {
		switch {
		case i.state == leaving:
		case !noResponders:
			i.trust(t)
		case i.state == serving:
			i.state, i.doubted = doubtful, t.set.Now()
			eachOf(t, i, (*Socket).hold)
		}
	}
}

// trust ends a doubt, if there is one.
func (i *Instance) trust(t *Table) {
	if i.state == doubtful {
		i.state = serving
		eachOf(t, i, t.release)
	}
}

// eachOf runs fn on the worker for each socket that an instance owns then.
func eachOf(t *Table, i *Instance, fn func(*Socket)) {
	t.wire.Do(func() {
		t.mu.Lock()
		sockets := slices.Clone(i.sockets)
		t.mu.Unlock()
		for _, s := range sockets {
			fn(s)
		}
	})
}

// NotOwner takes an instance's word that it got an event of a socket that it does not own. The event is lost: if
// instances could send it back, a service that may answer a connect request could speak for clients. The socket is
// assigned again, to the same instance if it wants it. number is that of the assignment that the instance knew last; 0
// if it knew none. It never waits.
func (t *Table) NotOwner(s *Socket, from string, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := s.instance
	if s.request == nil && i != nil && i.name == from && i.state != leaving && (number == 0 || s.accepted <= number && number <= s.number) {
		t.reassign([]*Socket{s}, true)
	}
}

// OwnsNothing takes the word of an instance that it took this edge for dead: it owns none of its sockets. It never
// waits.
func (t *Table) OwnsNothing(instance string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range t.instances.byName[instance] {
		if now := t.set.Now(); now.Sub(i.disowned) >= msg.BeatEvery { // it says so once for each time that the edge was away
			i.disowned = now
			assignAgain(t, i)
		}
	}
}

// Missed says that services may have taken this edge for dead, and with it the sockets that they owned. told says that
// another edge said so; else this edge may have noticed by itself just before. It never waits.
func (t *Table) Missed(told bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.set.Now(); told || now.Sub(t.again) > msg.DeadAfter {
		t.fear(now)
	}
}

func assignAgain(t *Table, i *Instance) {
	if i.state == leaving || len(i.sockets) == 0 { // the sockets of one that leaves go to others anyway
		return
	}
	t.set.Log.Log(slog.LevelInfo, "sockets are assigned again: their owner may have taken this edge for dead", i.name, "",
		"group", i.group, "instance", i.name, "sockets", len(i.sockets))
	t.reassign(slices.Clone(i.sockets), true)
}

// fearFor holds the events of a socket after this edge was away, and reports whether they are held: an instance owns
// the socket.
func fearFor(t *Table, s *Socket) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.instance == nil && s.request == nil {
		return false
	}
	t.fear(t.set.Now())
	return true
}

// fear has all sockets assigned again after this edge was away. Until all events of owned sockets are held, the clock
// does not tick, so that none is published meanwhile. mu must be held.
func (t *Table) fear(now time.Time) {
	if t.fearing || !t.wire.Connected() { // without NATS there is no one to ask; Tick fears when it is back
		return
	}
	t.fearing = true
	t.again = now
	for _, r := range t.all { // an answer that waits to be read may be older than what the instance did since
		if len(r.assignments) > 0 && now.Sub(r.asked) > t.Clock.Away(now)-TickEvery {
			for n := range r.assignments {
				r.assignments[n].isVoid = true
			}
			t.hasten(r, Reconnected)
		}
	}
	for _, i := range t.instances.all {
		assignAgain(t, i)
	}
	t.wire.Do(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.Clock.Tick(t.set.Now())
		t.fearing = false
	})
}

// Tick does what time brings. deaf says that this edge could not hear for a while: it had no connection, or did not
// run. It never waits.
func (t *Table) Tick(deaf bool) {
	online := t.wire.Connected()
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.set.Now()
	if isAway(t) {
		t.fear(now)
	} else if online {
		t.Clock.Tick(now)
	}
	for _, i := range slices.Clone(t.instances.all) {
		if deaf {
			i.heard = now
		}
		switch {
		case now.Sub(i.heard) > msg.DeadAfter || i.state == doubtful && now.Sub(i.doubted) > deadAfterDoubt:
			if i.owns && (i.state != leaving || len(i.sockets) > 0) {
				t.stats.died.Inc()
				t.set.Log.Log(slog.LevelWarn, "an instance has died", i.name, "", "group", i.group, "instance", i.name)
			}
			t.abandon(i, true, true)
			t.wire.Died(i.name)
		case i.state == doubtful:
			t.wire.Do(func() { t.wire.Ping(i.group, i.name) })
		}
	}
	for _, s := range t.ended { // for their last events no owner was found
		if r := s.request; r != nil && now.Sub(r.since) > lastEvents {
			t.wire.Do(func() { t.Abandon(s) })
		}
	}
}
