package owner

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// busyFor is for how long a connect request counts as load of the instance that got it.
	busyFor = 10 * time.Second
	// silentAfter is how long an instance may take to answer a connect request, or to say that it is deciding.
	silentAfter = 2 * time.Second
	// firstPass is how long an instance that did not answer is asked only if no other one is left. It doubles up to
	// longestPass.
	firstPass   = 2 * time.Second
	longestPass = time.Minute
	// longestRepeat bounds the time between two requests about a socket to instances that did not answer. It begins
	// with silentAfter, and doubles.
	longestRepeat = 8 * time.Second
)

// The state of an instance as an edge sees it.
type instanceState uint8

const (
	serving  instanceState = iota
	doubtful               // no subscriber got a ping; events for it are held
	leaving                // it wants no more; events are held for the next owner
)

// Instance is a running copy of a service, known from its announcements. The group is part of its identity because
// NATS permissions are given by groups: no other group can beat or leave in its name. Table.mu guards all but the
// names, and is held when its methods are called.
type Instance struct {
	group, name string // static
	owns        bool
	namespaces  []string // by name or pattern
	state       instanceState
	heard       time.Time            // when it announced itself last
	doubted     time.Time            // since when it is doubtful
	pinged      time.Time            // when it was pinged last
	sockets     []*Socket            // that it owns
	marked      []string             // namespaces in which it has owned a socket
	passed      map[string]passed    // by namespace: where it did not answer
	given       []time.Time          // when it got connect requests lately
	engaged     bool                 // it was asked about a socket, or decides about one
	spoke       map[string]time.Time // by word: when it said it last
	disowned    time.Time            // when it said last that it owns nothing here
}

// passed says until when an instance is passed over in a namespace.
type passed struct {
	until   time.Time
	pause   time.Duration
	notMine bool // it does not own sockets there: it is not asked at all
}

// Hello takes a hello or a beat. hello says that the instance has just come, or come back. It never waits.
func (t *Table) Hello(a msg.InstanceAnnouncement, hello bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.set.Now()
	isNew := t.instances.find(a.Group, a.Instance) == nil
	i := t.instances.add(a.Group, a.Instance, now)
	if i == nil {
		return
	}
	if i.heard = now; i.state == leaving {
		return
	}
	if a.Namespaces != nil { // else its body cannot be read, and it lives all the same
		i.owns, i.namespaces = a.Owns, a.Namespaces
	}
	i.trust(t)
	if decider := t.instances.find("", a.Instance); decider != nil {
		decider.heard = now
	}
	if hello || isNew {
		clear(i.passed)
		came(t, i, a.Namespaces, hello, now)
	}
}

// Leaving takes the word of an instance that it wants no more. Its sockets' events are held, an end marker goes out in
// every namespace, and answer is called on the worker. It never waits.
func (t *Table) Leaving(a msg.InstanceAnnouncement, answer func(sockets int, markers []string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.instances.add(a.Group, a.Instance, t.set.Now())
	if i == nil {
		return
	}
	i.state = leaving
	sockets := 0
	eachOf(t, i, func(s *Socket) {
		s.hold()
		sockets++
	})
	t.wire.Do(func() {
		t.mu.Lock()
		markers := slices.Clone(i.marked)
		t.mu.Unlock()
		slices.Sort(markers)
		for _, namespace := range markers {
			t.wire.Marker(i.name, namespace)
		}
		answer(sockets, markers)
	})
}

// Left takes the word of an instance that it has ended. Its sockets are assigned again. It never waits.
func (t *Table) Left(a msg.InstanceAnnouncement, bye bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	decider, i := t.instances.find("", a.Instance), t.instances.find(a.Group, a.Instance)
	if decider == nil && i == nil {
		return
	}
	if decider != nil {
		t.abandon(decider, true, false)
	}
	if i != nil && i != decider {
		i.state = leaving // it may beat until it says bye
		t.abandon(i, bye, false)
	}
	t.wire.Do(func() {
		t.hurry(Gone, func(r *request) bool {
			if r.decider != "" || bye { // it has said left before
				return r.decider == a.Instance
			}
			// What was on its way to it is lost without a word.
			return r.why == Silence && r.socket.instance == nil && serves(a.Namespaces, r.socket.Client.Namespace())
		})
	})
}

// abandon assigns the sockets of an instance to others, and forgets it if it has gone. One that is dead may live after
// all, and is notified. mu must be held.
func (t *Table) abandon(i *Instance, gone, dead bool) {
	if gone {
		t.instances.remove(i)
	}
	if n := len(i.sockets); n > 0 {
		t.set.Log.Log(slog.LevelInfo, "sockets look for another instance", i.name, "", "group", i.group, "instance", i.name, "dead", dead, "sockets", n)
	}
	for _, s := range i.sockets {
		if dead {
			t.wire.Changed(s, i.name, s.number)
		}
	}
	t.reassign(slices.Clone(i.sockets), false)
	if !i.engaged { // no request names it
		return
	}
	for _, r := range t.all {
		r.assignments = slices.DeleteFunc(r.assignments, func(one assignment) bool {
			if one.to == i && dead {
				t.wire.Changed(r.socket, i.name, one.number)
			}
			return one.to == i
		})
		isAsked := r.socket.instance == i
		if isAsked {
			r.socket.instance = nil
		}
		if isAsked || dead && r.decider == i.name {
			t.hasten(r, Gone)
		}
	}
}

// own makes an instance the owner of a socket.
func (i *Instance) own(s *Socket) {
	s.place = len(i.sockets)
	i.sockets = append(i.sockets, s)
	if namespace := s.Client.Namespace(); !slices.Contains(i.marked, namespace) {
		i.marked = append(i.marked, namespace)
	}
	delete(i.passed, s.Client.Namespace())
}

// disown takes a socket from its owner.
func (i *Instance) disown(s *Socket) {
	last := len(i.sockets) - 1
	moved := i.sockets[last]
	i.sockets[s.place], moved.place = moved, s.place
	i.sockets[last] = nil
	i.sockets = i.sockets[:last]
}

// choose picks the instance that is asked about a socket, nil if none can be. Of two drawn at random it takes the one
// with less to do: "fewest first" would send everything to an instance that hangs or refuses. An instance that was
// passed over is asked if no other one is left. A socket that was owned stays in its group. Within the group that is
// asked, the instance of a sibling comes first.
func (is *instances) choose(s *Socket, siblings []*Socket, set *Settings, now time.Time) *Instance {
	namespace := s.Client.Namespace()
	var all []candidate
	others := false
	for _, i := range is.all {
		pattern, found := subjects.BestPattern(i.namespaces, namespace)
		p := i.passed[namespace]
		switch {
		case !found || i.state == leaving || s.group != "" && i.group != s.group || p.notMine && now.Before(p.until):
		case !i.owns:
			others = true
		default:
			c := candidate{i, pattern, s.request.hasAsked(i), 0}
			if !i.isFresh(namespace, now) {
				c.rank = 1
				if c.asked {
					c.rank = 2
				}
			}
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil
	}
	if others {
		set.Log.Warn("services that own sockets and others serve the same namespace: only the owner gets a socket's events", namespace, nil)
	}
	first := slices.MinFunc(all, candidate.compare)
	if i := ofSibling(siblings, all, first); i != nil {
		return i
	}
	all = slices.DeleteFunc(all, func(c candidate) bool { return c.compare(first) != 0 })
	drawn := set.Random(len(all))
	best := all[drawn].Instance
	if len(all) > 1 {
		if other := all[(drawn+1+set.Random(len(all)-1))%len(all)]; other.load(now) < best.load(now) {
			best = other.Instance
		}
	}
	return best
}

// candidate is an instance that can be asked about a socket.
type candidate struct {
	*Instance
	pattern string // the namespace's
	asked   bool   // it was asked about this socket
	rank    int    // 0: it answers, as far as is known; 1: it does not; 2: nor has it about this socket
}

// compare puts those first that answer. Of these, the more specific pattern decides, and then the group's name.
func (a candidate) compare(b candidate) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), subjects.ComparePatterns(a.pattern, b.pattern), cmp.Compare(a.group, b.group))
}

// ofSibling returns the instance that owns another socket of the session or, if there is none, that is asked about
// one. It must be a candidate that would be asked instead of first if both answered alike, and was not asked about
// this socket.
func ofSibling(siblings []*Socket, all []candidate, first candidate) (found *Instance) {
	for _, sibling := range siblings {
		for _, c := range all {
			if c.Instance != sibling.instance || c.asked || c.pattern != first.pattern || c.group != first.group {
				continue
			}
			if sibling.request == nil {
				return c.Instance
			}
			found = c.Instance
		}
	}
	return found
}

// serves reports whether one of some patterns matches a namespace.
func serves(patterns []string, namespace string) bool {
	_, found := subjects.BestPattern(patterns, namespace)
	return found
}

// isFresh reports whether an instance answers about a namespace, as far as is known.
func (i *Instance) isFresh(namespace string, now time.Time) bool {
	return i.state == serving && !now.Before(i.passed[namespace].until)
}

// passOver has an instance asked about a namespace only if no other one is left, or not at all: it is not its own. It
// returns false if that is so already.
func (i *Instance) passOver(namespace string, now time.Time, notMine bool) bool {
	p := i.passed[namespace]
	if now.Before(p.until) && !notMine {
		return false
	}
	if p.pause = min(max(firstPass, 2*p.pause), longestPass); notMine {
		p.pause = longestPass
	}
	i.passed[namespace] = passed{now.Add(p.pause), p.pause, notMine}
	return true
}

// load is how busy an instance is with this edge: its sockets, and the connect requests that it got lately.
func (i *Instance) load(now time.Time) int {
	for len(i.given) > 0 && now.Sub(i.given[0]) > busyFor {
		i.given = i.given[1:]
	}
	return len(i.sockets) + len(i.given)
}
