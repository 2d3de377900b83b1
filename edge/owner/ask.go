package owner

import (
	"errors"
	"log/slog"
	"slices"

	"partyline/wire/msg"
)

// ErrOffline is returned by Wire.Ask when NATS is away.
var ErrOffline = errors.New("no connection to NATS")

// Kind is what an answer to a connect request says.
type Kind uint8

// The kinds of answers.
const (
	Admission Kind = iota
	Refusal
	Pending
	AskAgain // the instance leaves, or may not own anything now
	NotMine  // its group does not own sockets of this namespace
	NoResponders
)

// Answer is an answer to a connect request.
type Answer struct {
	Kind   Kind
	Number uint64 // of the assignment; 0 in an answer to a request to all services
	From   string // the instance; "": not said
}

// Outcome is what an answer means for the socket.
type Outcome struct {
	Verdict
	Open     bool // all services were asked
	Repeated bool // services were asked more than once
}

// Verdict is what an answer decides.
type Verdict uint8

// The verdicts.
const (
	None     Verdict = iota // it is no decision, or none that is needed
	Late                    // it is a decision, and somebody has decided before
	Admitted                // services handle its events
	Owned                   // the instance that was asked owns it
	Taken                   // another instance owns it now; it was admitted before
	Assigned                // an instance owns it now; it was admitted before, and had no owner
	Refused
)

// Begin makes the connect request of a socket. The caller has Ask called on the worker.
func (t *Table) Begin(c Client) *Socket {
	s := &Socket{Client: c, holding: true}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(s, false, "")
	return s
}

// Assign makes the request of a socket that the edge itself admits: a handover from no instance. number is that of its
// latest assignment, 0 for none. The caller has Ask called on the worker. It returns nil if no instance can own it:
// then all services get its events.
func (t *Table) Assign(c Client, number uint64) *Socket {
	s := &Socket{Client: c, holding: true, number: number}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.instances.choose(s, nil, &t.set, t.set.Now()) == nil {
		return nil
	}
	t.add(s, true, "")
	return s
}

// Waits reports whether services are asked about a socket.
func (t *Table) Waits(s *Socket) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return s.request != nil
}

// Ask publishes the connect request of a socket, for the first time or again: to an instance that owns sockets of the
// namespace, or, where none lives, to all services. It runs on the worker, which tells the socket's end as well: that
// must not overtake the request.
func (t *Table) Ask(s *Socket) {
	online, siblings := t.wire.Connected(), s.Client.Siblings()
	t.mu.Lock()
	r, now := s.request, t.set.Now()
	if r == nil {
		t.mu.Unlock()
		return // decided about, or gone
	}
	asked := s.instance
	if asked == nil || asked.state == leaving || t.instances.find(asked.group, asked.name) != asked {
		asked = t.instances.choose(s, siblings, &t.set, now)
	}
	if online && asked == nil && r.handover && r.from == "" { // none is left: its events go to all services, as if there had been none
		s.instance, s.open = nil, true // all have a notice of it
		t.drop(r)
		t.mu.Unlock()
		t.release(s)
		return
	}
	if !online || asked == nil && r.handover {
		why := NoService
		if !online {
			why = Offline
		}
		t.failed(r, why, now)
		t.mu.Unlock()
		r.undecided(t.wire, why)
		return
	}
	q := Request{Handover: r.handover, From: r.from}
	if asked != nil && !slices.Contains(r.assignments, assignment{asked, s.number, false}) {
		s.number++
		asked.given, asked.engaged = append(asked.given, now), true
		r.assignments = append(r.assignments, assignment{asked, s.number, false})
	}
	if s.instance = asked; asked != nil {
		q.To, q.Number = asked.name, s.number
	}
	why := t.publishing(r, now)
	if why != First {
		t.stats.asked[why].Inc()
	}
	t.mu.Unlock()
	if why == Silence && asked == nil {
		t.wire.Undecided(s, Silence, false)
	}
	rev, err := t.wire.Ask(s, q)
	if err != nil {
		t.mu.Lock()
		if s.request == r {
			t.failed(r, Offline, now)
		}
		t.mu.Unlock()
		r.undecided(t.wire, Offline)
		return
	}
	if r.handover {
		s.noteTold(rev, why == First)
	}
}

// noteTold notes the revision of the socket's rooms and data that a request for a handover has told.
func (s *Socket) noteTold(rev uint64, isFirst bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isFirst && s.told != toldNothing {
		s.told = rev // if it changes until an instance answers, release tells
	} else if s.told != rev {
		s.told = toldNothing // the answer to an earlier request may count
	}
}

// undecided tells the edge that the request found no taker.
func (r *request) undecided(w Wire, why Reason) {
	if !r.handover {
		w.Undecided(r.socket, why, r.socket.Client.Refuses())
	}
}

// Answer takes an answer to a connect request of a socket. It never waits.
func (t *Table) Answer(s *Socket, a Answer) Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := Outcome{None, s.open, s.repeated}
	r, i := s.request, s.instance
	decides := a.Kind == Admission || a.Kind == Refusal
	asked := r.find(a)
	// A decision counts from every instance that was asked: else a crowd at a busy one would never get in, because
	// each answer would come behind the next request.
	counts := asked != nil && (decides || a.Kind == Pending || asked == i && a.Number == s.number)
	switch {
	case r == nil || a.Number != 0 && !counts:
		if a.Kind == Admission && a.Number != 0 && a.From != "" && (i == nil || a.From != i.name) {
			t.wire.Changed(s, a.From, a.Number)
		}
		if decides {
			out.Verdict = Late
		}
	case a.Kind == NoResponders:
		t.next(r, NoService, "no subscriber gets its connect requests")
	case a.Kind == Pending:
		if len(t.instances.byName[a.From]) == 0 && t.instances.add("", a.From, t.set.Now()) == nil {
			break // nothing would show that it has died; the request is published again
		}
		for _, decider := range t.instances.byName[a.From] { // if it does not announce itself, it dies
			decider.engaged = true
		}
		r.decider, r.pause = a.From, 0
		t.repeats.Remove(&r.repeat)
	case a.Number == 0 && i != nil && !(decides && s.open):
		t.set.Log.Warn("an instance's answer to a connect request does not count", s.Client.Namespace(), errNumber)
	case a.Kind == AskAgain:
		t.next(r, Again, "it says again")
	case a.Kind == NotMine:
		r.assignments = slices.DeleteFunc(r.assignments, func(one assignment) bool { return one == assignment{asked, a.Number, false} })
		for _, other := range t.instances.all {
			if i != nil && other.group == i.group {
				other.passOver(s.Client.Namespace(), t.set.Now(), true)
			}
		}
		t.next(r, Again, "its group says not mine")
	default:
		out.Verdict = t.decided(r, a, asked)
	}
	return out
}

// Release sends the owner what was held, and all that follows, once the rooms that it has put the socket into are
// active. It must be called when Answer has returned Owned, Taken or Assigned. It never waits.
func (t *Table) Release(s *Socket) { t.wire.AfterSubscribed(func() { t.release(s) }) }

// passOver takes a request from an instance that does not answer, and prefers others from now on. mu must be held.
func (t *Table) passOver(s *Socket, why string) {
	if i, namespace := s.instance, s.Client.Namespace(); i.passOver(namespace, t.set.Now(), false) {
		t.set.Log.Log(slog.LevelWarn, "an instance is passed over: "+why, i.group+" "+namespace, "", "group", i.group, "instance", i.name, "namespace", namespace)
	}
	s.instance = nil
}

// next has another instance asked at once, or, if there is none, the request published again later. mu must be held.
func (t *Table) next(r *request, why Reason, text string) {
	s, now := r.socket, t.set.Now()
	if s.instance != nil {
		t.passOver(s, text)
		if other := t.instances.choose(s, nil, &t.set, now); other != nil && (other.isFresh(s.Client.Namespace(), now) || !r.hasAsked(other)) {
			r.onWay, r.decider = false, ""
			r.why = why
			t.repeats.Set(&r.repeat, now)
			return
		}
	}
	t.failed(r, why, now)
	t.wire.Do(func() { r.undecided(t.wire, why) })
}

// decided acts on an admission or a refusal that counts, of i or, if that is nil, of a service that owns nothing. mu
// must be held.
func (t *Table) decided(r *request, a Answer, i *Instance) Verdict {
	s := r.socket
	if s.instance = i; a.Kind == Refusal {
		s.instance = nil
	}
	t.drop(r)
	switch {
	case a.Kind == Refusal && r.handover:
		s.open = true // it was admitted, so all have a notice of it
		t.wire.Do(func() { t.Abandon(s) })
		return Refused
	case a.Kind == Refusal:
		return Refused
	case a.Number == 0:
		return Admitted
	}
	s.group, s.accepted = i.group, a.Number
	i.own(s)
	if i.state == leaving { // it should have said again
		t.reassign([]*Socket{s}, false)
	}
	switch {
	case !r.handover:
		return Owned
	case r.from == "":
		return Assigned
	}
	t.stats.handovers.Inc()
	return Taken
}

var errNumber = errors.New("it has no " + msg.HeaderAssignment)
