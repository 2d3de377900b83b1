package edge

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"partyline/internal/liveness"
	"partyline/internal/pace"
	"partyline/internal/tally"
	"partyline/subjects"
	"partyline/wire/msg"
)

// When a connect request is published again.
const (
	// firstPause follows a request without a taker: no responders, an instance that leaves, no NATS. It doubles up to
	// longestPause.
	firstPause   = 250 * time.Millisecond
	longestPause = 2 * time.Second
	// firstSilence follows a request without any answer. It doubles up to longestSilence, so that a slow service is not
	// asked twice as much.
	firstSilence   = 5 * time.Second
	longestSilence = time.Minute
	// repeatsPerSecond and closingsPerSecond bound what a crowd of waiting sockets causes.
	repeatsPerSecond  = 2000
	closingsPerSecond = 1000
	// hurryAtOnce is how many requests are looked at before others get the lock.
	hurryAtOnce = 1000
)

// Why a connect request is published again.
const (
	repeatNot       = -1 // it is the first time
	repeatNoService = iota - 1
	repeatAgain
	repeatOffline
	repeatSilence
	repeatCame
	repeatGone
	repeatReconnected
	repeats
)

var repeatWords = [repeats]string{
	repeatNoService:   "no service",
	repeatAgain:       "again",
	repeatOffline:     "no connection",
	repeatSilence:     "silence",
	repeatCame:        "an instance came",
	repeatGone:        "an instance went",
	repeatReconnected: "reconnected",
}

// connectRequest is the connect request of a socket about which no service has decided yet. It says when the request is
// published again, and until when the session waits. connectRequests.mu guards its fields, unless they say otherwise.
type connectRequest struct {
	socket *socket // static

	place   int                        // among connectRequests.all
	repeat  pace.Item[*connectRequest] // queued unless the request is on its way, or an instance decides
	end     pace.Item[*connectRequest] // queued until the time is over
	onWay   bool                       // the bus's worker is to publish it
	why     int                        // it is published, or was published last: one of the repeat… reasons
	pause   time.Duration              // the latest after a failure; 0: none since the last silence, hello or reconnect
	silence time.Duration              // how long an answer to the latest request may take
	asked   time.Time                  // when the latest was published; zero: not yet
	decider string                     // the instance that says that it is deciding; "": none
	overdue bool                       // guarded by its connection's mu: the time is over, and the session has another live socket
}

// connectRequests holds the connect requests of all sockets that wait. Its lock may be taken while a connection's is held.
type connectRequests struct {
	wake chan struct{} // capacity 1: something is due earlier than Attend expects

	mu       sync.Mutex
	all      []*connectRequest            // guarded by mu
	repeats  *pace.Queue[*connectRequest] // guarded by mu
	ends     *pace.Queue[*connectRequest] // guarded by mu
	deciding *liveness.Table              // guarded by mu: instances that have said that they are deciding
	waiting  tally.Gauge
	repeated [repeats]tally.Counter
	closed   tally.Counter
}

func (q *connectRequests) init() {
	q.wake = make(chan struct{}, 1)
	q.repeats, q.ends = pace.NewQueue[*connectRequest](repeatsPerSecond), pace.NewQueue[*connectRequest](closingsPerSecond)
	q.deciding = liveness.New(msg.DeadAfter)
}

// add makes the request of a socket. The caller publishes it soon.
func (q *connectRequests) add(s *socket, now time.Time) *connectRequest {
	r := &connectRequest{socket: s, onWay: true, why: repeatNot}
	r.repeat.Value, r.end.Value = r, r
	timeout := s.Edge.rules.ConnectTimeout
	if !s.Edge.rules.Refuses() {
		// The official client begins its back-off anew at each close, so those who came together must not go together.
		timeout = time.Duration((0.75 + rand.Float64()/2) * float64(timeout))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	r.place = len(q.all)
	q.all = append(q.all, r)
	q.waiting.Add(1)
	q.nudge(q.ends.Set(&r.end, now.Add(timeout)))
	return r
}

// remove forgets the request of a socket that is decided about, or gone. It reports whether it was ever published.
func (q *connectRequests) remove(r *connectRequest) (asked bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := len(q.all) - 1
	moved := q.all[last]
	q.all[r.place], moved.place = moved, r.place
	q.all[last] = nil
	if q.all = q.all[:last]; last == 0 {
		q.all = nil
	}
	q.repeats.Remove(&r.repeat)
	q.ends.Remove(&r.end)
	q.waiting.Add(-1)
	return !r.asked.IsZero()
}

// nudge wakes Attend if something has become the earliest.
func (q *connectRequests) nudge(first bool) {
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// has reports whether the request still waits. mu must be held.
func (q *connectRequests) has(r *connectRequest) bool {
	return r.place < len(q.all) && q.all[r.place] == r
}

// publishing notes that the request is published now, and returns why. Without an answer it is published again. Call it before
// the publish: an answer may arrive before that returns. waits is false if the socket is decided about.
func (q *connectRequests) publishing(r *connectRequest, now time.Time) (why int, waits bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.has(r) {
		return repeatNot, false
	}
	if why = r.why; r.asked.IsZero() {
		why = repeatNot // the reasons so far were none to publish
	}
	r.onWay = false
	if r.asked = now; r.silence == 0 {
		r.silence = firstSilence
	} else if r.why == repeatSilence {
		r.silence = min(2*r.silence, longestSilence)
	}
	r.why = repeatSilence
	if !r.socket.Edge.rules.Refuses() {
		q.nudge(q.repeats.Set(&r.repeat, now.Add(r.silence)))
	}
	return why, true
}

// failed notes that the request found no taker, and when it is published again.
func (q *connectRequests) failed(r *connectRequest, why int, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.has(r) || r.decider != "" && why != repeatAgain { // an earlier request failed, and the latest did not
		return
	}
	r.onWay, r.decider = false, ""
	if r.why = why; r.pause == 0 {
		r.pause = firstPause
	} else {
		r.pause = min(2*r.pause, longestPause)
	}
	q.nudge(q.repeats.Set(&r.repeat, now.Add(r.pause)))
}

// decides notes that an instance is deciding. The request is not published again while that instance lives.
func (q *connectRequests) decides(r *connectRequest, instance string, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.has(r) {
		return
	}
	r.decider, r.pause = instance, 0
	q.repeats.Remove(&r.repeat)
	if !q.deciding.Lives(instance) {
		q.deciding.Heard(instance, now)
	}
}

// hurry makes the requests due that match chooses. Those that are on their way anyway are left alone. It runs on the bus's
// worker or on Attend's goroutine, and releases the lock every hurryAtOnce requests.
func (q *connectRequests) hurry(why int, now time.Time, match func(*connectRequest) bool) {
	// Backwards: a request that is removed meanwhile leaves its place to one that was looked at already.
	for next, more := math.MaxInt, true; more; {
		next, more = q.hurryPart(next, why, now, match)
	}
}

// hurryPart looks at hurryAtOnce requests in front of a place, and returns where to go on.
func (q *connectRequests) hurryPart(before, why int, now time.Time, match func(*connectRequest) bool) (next int, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before = min(before, len(q.all))
	next = max(0, before-hurryAtOnce)
	first := false
	for _, r := range q.all[next:before] {
		if r.onWay || !match(r) {
			continue
		}
		r.decider, r.pause = "", 0
		if !r.repeat.Queued() || r.repeat.At().After(now) {
			r.why = why
			first = q.repeats.Set(&r.repeat, now) || first
		}
	}
	q.nudge(first)
	return next, next > 0
}

// isSilent reports whether the latest request has no answer at all. The lock must be held.
func (r *connectRequest) isSilent() bool { return r.decider == "" && r.why == repeatSilence }

// due takes out what is to be published again now, and whose time is over.
func (q *connectRequests) due(now time.Time) (again, over []*connectRequest) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := q.repeats.Next(now); i != nil; i = q.repeats.Next(now) {
		i.Value.onWay = true
		again = append(again, i.Value)
	}
	for i := q.ends.Next(now); i != nil; i = q.ends.Next(now) {
		over = append(over, i.Value)
	}
	return again, over
}

// wait is how long nothing is due.
func (q *connectRequests) wait(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait := time.Hour
	for _, queue := range []*pace.Queue[*connectRequest]{q.repeats, q.ends} {
		if w, ok := queue.Wait(now); ok {
			wait = min(wait, w)
		}
	}
	return wait
}

// overNow ends the time of a request at once.
func (q *connectRequests) overNow(r *connectRequest, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.has(r) {
		q.nudge(q.ends.Set(&r.end, now))
	}
}

// expire returns the instances that were deciding and have died.
func (q *connectRequests) expire(now time.Time, forgive bool) (dead []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.all) == 0 {
		q.deciding = liveness.New(msg.DeadAfter)
		return nil
	}
	if forgive {
		q.deciding.Forgive(now)
	}
	return q.deciding.Expire(now)
}

// heard takes an announcement of an instance. It reports whether requests may have to be published again for it.
func (q *connectRequests) heard(instance string, lives bool, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(q.all) == 0:
		return false
	case !lives:
		q.deciding.Remove(instance)
	case q.deciding.Lives(instance):
		q.deciding.Heard(instance, now)
	}
	return true
}

// concerns reports whether one of an instance's namespaces, names or patterns, is the socket's.
func (r *connectRequest) concerns(namespaces []string) bool {
	return slices.ContainsFunc(namespaces, func(pattern string) bool { return subjects.Matches(pattern, r.socket.Namespace.Name) })
}

// metrics adds what is counted to a set.
func (q *connectRequests) metrics(set *tally.Set) {
	set.Gauge(&q.waiting, "connects_waiting", "Sockets about which no service has decided yet.")
	for i := range q.repeated {
		set.LabelledCounter(&q.repeated[i], "connects_asked_again_total", "Connect requests that were published again, by reason.", "reason", repeatWords[i])
	}
	set.Counter(&q.closed, "connects_given_up_total", "Sessions closed because no service decided about a socket in time; their clients come back.")
}
