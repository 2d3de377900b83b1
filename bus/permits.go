package bus

import (
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// probeEvery is how often the bus tries again what NATS has refused.
	probeEvery = 5 * time.Second
	// gather is how long refusals are gathered before the log names them, so that one line names all.
	gather = time.Second
	// errorsTimeout bounds the wait for nats.go's callback to have passed on what NATS refused.
	errorsTimeout = time.Second
	// maxOthers is how many refused subscriptions to what others chose are tried again.
	maxOthers = 10_000
)

// notPermitted is what the log says of it, and the begin of what Ready says.
const notPermitted = "NATS does not permit all that this edge needs, so it is not ready; " +
	"give its user the permissions that docs/subjects.md lists for an edge (section Permissions)"

// lacksOptional is what the log says if only such permissions lack that the edge can be without.
const lacksOptional = "NATS does not permit all that an edge uses; it works without (docs/subjects.md, section Permissions)"

// right is a publish or a subscription that NATS may refuse.
type right struct {
	publish bool
	subject string // may have wildcards if it is a subscription
}

// permits is what NATS must permit the bus, and what it refuses of that. Only subjects that the edge alone chose count:
// clients choose the names of events, and publishers where answers go, so a refusal of those is not about the edge, and
// must not make it unready.
//
// A refusal comes as an error on nats.go's callback goroutine. The worker tries what is refused again, and makes a round trip
// with each new connection and each new requirement, so that ready never reports true before NATS has answered.
type permits struct {
	mu         sync.Mutex
	patterns   map[bool][]string                  // guarded by mu: permissions by whether they are for publishing, to name what lacks
	probes     map[string]func() (Header, []byte) // guarded by mu: what must be published at will, by subject
	subs       map[string]bool                    // guarded by mu: subjects of subscriptions, by whether the edge is useless without
	refused    map[right]bool                     // guarded by mu: of those
	others     map[right]bool                     // guarded by mu: subscriptions that others chose and NATS refuses; tried again
	granted    map[right]bool                     // guarded by mu: publishes that NATS has permitted on this connection
	version    int                                // guarded by mu: counts requirements
	connection int                                // guarded by mu: counts connections
	complete   bool                               // guarded by mu: RequireSubscribed was called
	proven     bool                               // guarded by mu: NATS has answered for all that is required
	suspected  bool                               // guarded by mu: something near a probe was refused
	since      time.Time                          // guarded by mu: when the first refusal came that the log has not named; zero: it has all
	told       bool                               // guarded by mu: the log has named what lacks, and not yet that nothing does
	last       error                              // guarded by mu: the error that nats.go's callback passed on last
	again      map[right]bool                     // guarded by mu: refused since the worker began to ask; nil while it does not
	asked      time.Time                          // guarded by mu: when the worker asked last; zero: it must ask now
}

func newPermits() permits {
	return permits{probes: make(map[string]func() (Header, []byte)), subs: make(map[string]bool), refused: make(map[right]bool),
		others: make(map[right]bool), granted: make(map[right]bool), proven: true}
}

// Permissions names what NATS must permit the edge, as patterns, so that the log can name what lacks.
func (b *Bus) Permissions(publish, subscribe []string) {
	p := &b.permits
	p.mu.Lock()
	defer p.mu.Unlock()
	p.patterns = map[bool][]string{true: publish, false: subscribe}
}

// RequirePublish makes the bus Ready only while NATS lets it publish on a subject. probe makes a message that may be
// published there at any time; it runs on the bus's worker, with each new connection and while NATS refuses it.
func (b *Bus) RequirePublish(subject string, probe func() (Header, []byte)) {
	p := &b.permits
	p.mu.Lock()
	p.probes[subject], p.proven = probe, false
	p.version++
	p.mu.Unlock()
	b.out.nudge()
}

// SubscribeRequired is Subscribe for what the edge is useless without.
func (b *Bus) SubscribeRequired(subject string) {
	b.RequireSubscription(subject) // before NATS can refuse it
	b.Subscribe(subject)
	b.RequireSubscription(subject) // NATS is asked when it has been subscribed
}

// RequireSubscription makes the bus Ready only while NATS does not refuse a subscription. It need not be there.
func (b *Bus) RequireSubscription(subject string) { b.permits.expect(b, subject, true) }

// SubscribeOptional is Subscribe for what the edge can be without, if NATS refuses it.
func (b *Bus) SubscribeOptional(subject string) {
	b.permits.expect(b, subject, false)
	b.Subscribe(subject)
}

func (p *permits) expect(b *Bus, subject string, required bool) {
	p.mu.Lock()
	p.subs[subject], p.proven = required, false
	p.version++
	p.mu.Unlock()
	b.out.nudge()
}

// RequireSubscribed is RequireSubscription for all that is subscribed now. From now on a subscription may be refused without harm,
// unless one of the other methods names it: it is for what others have chosen.
func (b *Bus) RequireSubscribed() {
	for _, subject := range b.interests.subjects() {
		b.RequireSubscription(subject)
	}
	p := &b.permits
	p.mu.Lock()
	p.complete = true
	p.mu.Unlock()
}

// needs reports whether a subscription is among those that count.
func (p *permits) needs(subject string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, counts := p.subs[subject]
	return counts
}

// disabled reports whether something is refused that the edge is useless without. mu must be held.
func (p *permits) disabled() bool {
	for r := range p.refused {
		if r.publish || p.subs[r.subject] {
			return true
		}
	}
	return false
}

// reset forgets what an earlier connection was refused.
func (p *permits) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.refused)
	clear(p.others)
	clear(p.granted)
	p.connection++
	p.since, p.suspected, p.asked = time.Time{}, false, time.Time{}
	p.proven = len(p.probes)+len(p.subs) == 0
}

// ready returns why NATS's permissions make the bus unusable.
func (p *permits) ready() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.disabled():
		publish, subscribe := p.lacking()
		return []string{fmt.Sprintf("%s: publish [%s], subscribe [%s]", notPermitted, publish, subscribe)}
	case !p.proven:
		return []string{"NATS has not been asked yet whether it permits what this edge needs"}
	}
	return nil
}

// heard notes that an error has been dealt with.
func (p *permits) heard(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = err
}

// violation finds in an error of nats.go what the server has refused.
var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to ("(?:[^"\\]|\\.)*")`)

func violationOf(err error) (r right) {
	if found := violation.FindStringSubmatch(err.Error()); found != nil {
		r.publish = strings.EqualFold(found[1], "publish")
		r.subject, _ = strconv.Unquote(found[2])
	}
	return r
}

// refused takes a refusal.
func (b *Bus) refused(err error) {
	r := violationOf(err)
	own, lacking := b.permits.refuse(r)
	switch {
	case own:
		b.out.nudge()
	case lacking == "": // the log has it, or will have it within a second
	case r.subject == "":
		b.complaints.Log(slog.LevelError, "NATS refused something", "", err.Error(), "error", b.shown(err))
	case r.publish:
		b.complaints.Log(slog.LevelError, "NATS refused a publish of this edge (docs/subjects.md, Permissions)", r.subject, "", "subject", r.subject)
	default:
		b.complaints.Log(slog.LevelError, "NATS refused a subscription of this edge, so what is published there does not arrive (docs/subjects.md, Permissions)",
			r.subject, "", "subject", r.subject)
	}
}

// refuse notes a refusal. own reports whether the edge alone chose the subject. Otherwise lacking is the permission that
// would be needed, or "" if it is among those that lack anyway.
func (p *permits) refuse(r right) (own bool, lacking string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.publish {
		_, own = p.probes[r.subject]
	} else {
		if _, own = p.subs[r.subject]; !own && !p.complete { // NATS was faster than RequireSubscribed
			p.subs[r.subject], own = true, true
		}
	}
	if p.again != nil && (own || p.others[r]) {
		p.again[r] = true
	}
	if !own && !r.publish && len(p.others) < maxOthers {
		p.others[r] = true
	}
	if own {
		delete(p.granted, r)
		if !p.refused[r] {
			p.refused[r] = true
			if p.since.IsZero() {
				p.since = time.Now()
			}
		}
		return true, ""
	}
	if r.publish && slices.ContainsFunc(slices.Collect(maps.Keys(p.probes)), func(probe string) bool {
		return strings.HasPrefix(r.subject, probe[:strings.LastIndexByte(probe, '.')+1])
	}) {
		p.suspected = true // the permission may have been taken away
	}
	lacking = p.pattern(r)
	for known := range p.refused {
		if known.publish == r.publish && p.pattern(known) == lacking {
			return false, ""
		}
	}
	return false, lacking
}

// pattern is the permission that covers a subject, or the subject itself. mu must be held.
func (p *permits) pattern(r right) string {
	for _, pattern := range p.patterns[r.publish] {
		if covers(pattern, r.subject) {
			return pattern
		}
	}
	return r.subject
}

// covers reports whether every subject that matches b matches a, too.
func covers(a, b string) bool {
	for {
		tokenA, restA, moreA := strings.Cut(a, ".")
		tokenB, restB, moreB := strings.Cut(b, ".")
		switch {
		case tokenA == ">":
			return true
		case tokenB == ">", tokenA != "*" && tokenA != tokenB, moreA != moreB:
			return false
		case !moreA:
			return true
		}
		a, b = restA, restB
	}
}

// lacking lists the permissions for what is refused, for people. mu must be held.
func (p *permits) lacking() (publish, subscribe string) {
	lists := map[bool]map[string]bool{true: {}, false: {}}
	for r := range p.refused {
		lists[r.publish][p.narrow(r)] = true
	}
	join := func(set map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(set)), ", ") }
	return join(lists[true]), join(lists[false])
}

// narrow is pattern, but where NATS permits it in part, the part that lacks. mu must be held.
func (p *permits) narrow(r right) string {
	pattern := p.pattern(r)
	if !r.publish {
		return pattern
	}
	for subject := range p.probes {
		if covers(pattern, subject) && !p.refused[right{true, subject}] {
			return r.subject[:strings.LastIndexByte(r.subject, '.')+1] + ">"
		}
	}
	return pattern
}
