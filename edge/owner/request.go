package owner

import (
	"math"
	"slices"
	"time"

	"partyline/internal/pace"
	"partyline/internal/tally"
)

// When a connect request is published again.
const (
	// firstPause follows a request without a taker: no responders, an instance that leaves, no NATS. It doubles up to
	// longestPause.
	firstPause   = 250 * time.Millisecond
	longestPause = 2 * time.Second
	// firstSilence follows a request to all services without any answer. It doubles up to longestSilence, so that a
	// slow service is not asked twice as much.
	firstSilence   = 5 * time.Second
	longestSilence = time.Minute
	// RepeatsPerSecond and ClosingsPerSecond bound what a crowd of waiting sockets causes.
	RepeatsPerSecond  = 2000
	ClosingsPerSecond = 1000
	// hurryAtOnce is how many requests are looked at before others get the lock.
	hurryAtOnce = 1000
)

// Reason is why a connect request is published again.
type Reason int

// The reasons.
const (
	First Reason = iota - 1 // it is the first time
	NoService
	Again
	Offline
	Silence
	Came
	Gone
	Reconnected
	reasons
)

var reasonWords = [reasons]string{
	NoService:   "no service",
	Again:       "again",
	Offline:     "no connection",
	Silence:     "silence",
	Came:        "an instance came",
	Gone:        "an instance went",
	Reconnected: "reconnected",
}

// requests are the connect requests without a decision, and when each is published again, or ends. Table.mu guards
// them, and is held when their methods are called.
type requests struct {
	set     *Settings // static
	all     []*request
	repeats *pace.Queue[*request]
	ends    *pace.Queue[*request]
	waiting tally.Gauge // those that are no handovers
}

// request is the connect request of a socket about which no service has decided yet, or that has no owner. It says
// when the request is published again, and until when the session waits. Table.mu guards it.
type request struct {
	socket   *Socket // static
	handover bool    // static: the socket was admitted before
	from     string  // static: in a handover, the instance that owned it; "": none did
	since    time.Time

	place   int                 // among requests.all
	repeat  pace.Item[*request] // queued unless the request is on its way, or an instance decides
	end     pace.Item[*request] // queued until the time is over; in a handover only of a client that waits
	onWay   bool                // the worker is to publish it
	why     Reason              // it is published, or was published last
	pause   time.Duration       // the latest after a failure; 0: none since the last silence, hello or reconnect
	silence time.Duration       // how long an answer to the latest request may take
	asked   time.Time           // when the latest was published; zero: not yet
	decider string              // the instance that says that it is deciding; "": none

	assignments []assignment // that instances were asked to accept
}

// assignment is what an instance was asked: to own a socket, under a number.
type assignment struct {
	to     *Instance
	number uint64
	isVoid bool // an answer counts no more
}

// hasAsked reports whether an instance was asked. r may be nil.
func (r *request) hasAsked(i *Instance) bool {
	return r != nil && slices.ContainsFunc(r.assignments, func(one assignment) bool { return one.to == i })
}

// find returns the instance that gave an answer to a request, or nil if none was asked that. r may be nil.
func (r *request) find(a Answer) *Instance {
	if r == nil || a.Number == 0 {
		return nil
	}
	for _, one := range r.assignments {
		if !one.isVoid && one.number == a.Number && (a.From == "" || a.From == one.to.name) {
			return one.to
		}
	}
	return nil
}

// add makes the request of a socket. The caller has it published soon.
func (rs *requests) add(s *Socket, handover bool, from string) *request {
	r := &request{socket: s, handover: handover, from: from, since: rs.set.Now(), onWay: true, why: First, place: len(rs.all)}
	r.repeat.Value, r.end.Value = r, r
	s.request = r
	rs.all = append(rs.all, r)
	if !handover {
		rs.waiting.Add(1)
		rs.limit(r)
	}
	return r
}

// limit ends the wait for a decision some time after now.
func (rs *requests) limit(r *request) {
	s := r.socket
	timeout := s.Client.ConnectTimeout()
	if !s.Client.Refuses() {
		// The official client begins its back-off anew at each close, so those who came together must not go together.
		timeout = timeout*3/4 + timeout*time.Duration(rs.set.Random(1000))/2000
	}
	rs.ends.Set(&r.end, rs.set.Now().Add(timeout))
}

// drop forgets a request: the socket is decided about, or has gone. The instances that were asked, except
// Socket.instance, are told that they do not own it: an answer of theirs may be lost.
func (rs *requests) drop(r *request) {
	for _, one := range r.assignments {
		if one.to != r.socket.instance {
			rs.set.Wire.Changed(r.socket, one.to.name, one.number)
		}
	}
	last := len(rs.all) - 1
	moved := rs.all[last]
	rs.all[r.place], moved.place = moved, r.place
	rs.all[last] = nil
	if rs.all = rs.all[:last]; last == 0 {
		rs.all = nil // a crowd has gone: its memory goes, too
	}
	rs.repeats.Remove(&r.repeat)
	rs.ends.Remove(&r.end)
	if !r.handover {
		rs.waiting.Add(-1)
	}
	r.socket.request = nil
}

// publishing notes that a request is published now, and returns why. Without an answer it is due again.
func (rs *requests) publishing(r *request, now time.Time) (why Reason) {
	if why = r.why; r.asked.IsZero() {
		why = First // the reasons so far were none to publish
	}
	s := r.socket
	r.onWay, s.repeated, r.asked = false, !r.asked.IsZero(), now
	toInstance := s.instance != nil
	s.open = s.open || !toInstance
	switch {
	case toInstance && s.instance.isFresh(s.Client.Namespace(), now):
		r.silence = silentAfter
	case toInstance: // it has enough to do as it is
		r.silence = min(max(2*r.silence, silentAfter), longestRepeat)
	case r.silence < firstSilence:
		r.silence = firstSilence
	case r.why == Silence:
		r.silence = min(2*r.silence, longestSilence)
	}
	r.why = Silence
	if toInstance || !s.Client.Refuses() {
		rs.repeats.Set(&r.repeat, now.Add(r.silence))
	}
	return why
}

// failed notes that a request found no taker, and when it is published again.
func (rs *requests) failed(r *request, why Reason, now time.Time) {
	if r.decider != "" && why != Again { // an earlier request failed, and the latest did not
		return
	}
	r.onWay, r.decider, r.why = false, "", why
	r.pause = min(max(firstPause, 2*r.pause), longestPause)
	rs.repeats.Set(&r.repeat, now.Add(r.pause))
}

// hasten makes a request due, unless it is on its way.
func (rs *requests) hasten(r *request, why Reason) {
	if r.onWay {
		return
	}
	r.decider, r.pause = "", 0
	if now := rs.set.Now(); !r.repeat.Queued() || r.repeat.At().After(now) {
		r.why = why
		rs.repeats.Set(&r.repeat, now)
	}
}

// hurry makes the requests due that match chooses. It releases the lock every hurryAtOnce requests.
func (t *Table) hurry(why Reason, match func(*request) bool) {
	// Backwards: a request that is removed meanwhile leaves its place to one that was looked at already.
	for next := math.MaxInt; next > 0; {
		t.mu.Lock()
		before := min(next, len(t.all))
		next = max(0, before-hurryAtOnce)
		for _, r := range t.all[next:before] {
			if !r.onWay && match(r) {
				t.hasten(r, why)
			}
		}
		t.mu.Unlock()
	}
}

// Due has the requests published that are due, and returns the sockets that have waited too long.
func (t *Table) Due() (over []*Socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.set.Now()
	var again []*Socket
	for i := t.repeats.Next(now); i != nil; i = t.repeats.Next(now) {
		r := i.Value
		if owner := r.socket.instance; owner != nil && r.why == Silence {
			t.passOver(r.socket, "it does not answer a connect request")
		}
		r.onWay = true
		again = append(again, r.socket)
	}
	for i := t.ends.Next(now); i != nil; i = t.ends.Next(now) {
		over = append(over, i.Value.socket)
	}
	if len(again) > 0 {
		t.wire.Do(func() {
			for _, s := range again {
				t.Ask(s)
			}
		})
	}
	return over
}

// Wait is how long nothing is due.
func (t *Table) Wait() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.set.Now()
	return min(t.repeats.Wait(now), t.ends.Wait(now))
}

// WaitNoLonger ends the time of a socket that waits.
func (t *Table) WaitNoLonger(s *Socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.request != nil {
		t.ends.Set(&s.request.end, t.set.Now())
	}
}

// WaitOn asks again about a socket that has waited too long: an instance that is deciding may have lost its answer.
func (t *Table) WaitOn(s *Socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := s.request; r != nil && r.decider != "" {
		t.hasten(r, Silence)
	}
}

// Reconnected has the requests published again that went out before the connection began: they, or answers to them,
// may have been lost with the one before.
func (t *Table) Reconnected(began time.Time) {
	t.hurry(Reconnected, func(r *request) bool { return !r.asked.After(began) })
}
