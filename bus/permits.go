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
	"sync/atomic"
	"time"
)

const (
	// askEvery is how often the bus tries again what NATS has refused.
	askEvery = 5 * time.Second
	// gather is how long refusals are gathered before the log names them, so that one line names all.
	gather = time.Second
	// maxRights bounds how many refused subscriptions that others chose are tried again.
	maxRights = 10_000
)

// notPermitted is the log line about missing permissions, and the beginning of the reason in Ready.
const notPermitted = "NATS does not permit all that this edge needs, so it is not ready; " +
	"give its user the permissions that docs/subjects.md lists for an edge (section Permissions)"

// lacksOptional is the log line if the edge works without each of the missing permissions.
const lacksOptional = "NATS does not permit all that an edge uses; it works without (docs/subjects.md, section Permissions)"

// right is a publish or a subscription that NATS may refuse.
type right struct {
	publish bool
	subject string // may have wildcards if it is a subscription
}

// need is how much the edge depends on a right.
type need uint8

const (
	foreign  need = iota // others chose the subject: it is tried again while NATS refuses it, and is forgotten then
	optional             // the edge works without
	required             // the edge is not ready without
)

// grant is what the bus knows about a right on this connection.
type grant struct {
	need    need
	probe   func() (Header, []byte) // makes the message that is published to find out; nil for a subscription
	known   bool                    // NATS has permitted or refused it
	refused bool
	asked   bool // the worker is finding out; NATS has not refused it since
	doubted bool // NATS has refused a similar subject: the permission may have been taken away
}

// permits is what NATS must permit the bus, and what it refuses. Only subjects that the edge alone chose affect Ready: clients choose
// the names of events, and publishers choose reply subjects, so a refusal of those must not make the edge unready.
//
// A refusal arrives as an error on nats.go's callback goroutine. The worker tries again what is refused, and makes a round trip for
// each new connection and each new requirement, so that the bus is never ready before NATS has answered.
type permits struct {
	bus    *Bus
	passed atomic.Pointer[error] // the last error that nats.go's callback has processed

	mu       sync.Mutex
	patterns map[bool][]string // guarded by mu: permissions by whether they are for publishing, to name what is missing; nil at first
	grants   map[right]*grant  // guarded by mu
	pending  bool              // guarded by mu: a right is not known yet
	retry    bool              // guarded by mu: a right is refused or doubted
	askedAt  time.Time         // guarded by mu: when the worker asked last; zero: it must ask again now
	unlogged time.Time         // guarded by mu: when the first refusal came that the log has not named; zero: there is none
	logged   bool              // guarded by mu: the log has named missing permissions, and not yet that none is missing
}

// RequirePublish makes the bus Ready only while NATS lets it publish on a subject. probe makes a message that may be
// published there at any time. It runs on the bus's worker, for each new connection and while NATS refuses the subject.
func (b *Bus) RequirePublish(subject string, probe func() (Header, []byte)) {
	b.permits.expect(right{true, subject}, required, probe)
}

// RequireSubscription makes the bus Ready only while NATS does not refuse a subscription. The bus need not have it.
func (b *Bus) RequireSubscription(subject string) {
	b.permits.expect(right{false, subject}, required, nil)
}

// SubscribeRequired is Subscribe for a subject that the edge is useless without.
func (b *Bus) SubscribeRequired(subject string) {
	b.RequireSubscription(subject) // before NATS can refuse it
	b.Subscribe(subject)
	b.RequireSubscription(subject) // NATS is asked after the subscription is made
}

// SubscribeOptional is Subscribe for a subject that the edge works without if NATS refuses it.
func (b *Bus) SubscribeOptional(subject string) {
	b.permits.expect(right{false, subject}, optional, nil)
	b.Subscribe(subject)
}

// Permissions sets, as patterns, what NATS must permit the edge, so that the log can name what is missing. It requires every
// subscription so far. Later ones may be refused without harm, unless another method requires them: others have chosen them.
func (b *Bus) Permissions(publish, subscribe []string) {
	for _, subject := range b.interests.subjects() {
		b.RequireSubscription(subject)
	}
	p := &b.permits
	p.mu.Lock()
	defer p.mu.Unlock()
	p.patterns = map[bool][]string{true: publish, false: subscribe}
}

// expect adds a right that the edge needs. NATS may have refused it already.
func (p *permits) expect(r right, need need, probe func() (Header, []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.grants[r]
	if g == nil {
		g = &grant{}
		p.grants[r] = g
	}
	g.need, g.probe, g.known, g.asked = need, probe, g.refused, false
	p.pending = true
	p.bus.out.wake.Raise()
}

// reset forgets what NATS answered on an earlier connection.
func (p *permits) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.grants, func(_ right, g *grant) bool { return g.need == foreign })
	for _, g := range p.grants {
		*g = grant{need: g.need, probe: g.probe}
	}
	p.pending, p.retry, p.askedAt, p.unlogged = len(p.grants) > 0, false, time.Time{}, time.Time{}
}

// ready returns why NATS's permissions make the bus unusable.
func (p *permits) ready() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if publish, subscribe, _, isUseless := lacking(p.grants, p.patterns); isUseless {
		return []string{fmt.Sprintf("%s: publish [%s], subscribe [%s]", notPermitted, publish, subscribe)}
	}
	if p.pending {
		return []string{"NATS has not been asked yet whether it permits what this edge needs"}
	}
	return nil
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

// refuse processes a refusal. It logs one of a subject that others chose, unless the permission is missing for the edge, too.
func (p *permits) refuse(err error) {
	r := violationOf(err)
	if !p.note(r) {
		return
	}
	what := "NATS refused a subscription of this edge, so what is published there does not arrive (docs/subjects.md, Permissions)"
	attributes := []any{"subject", r.subject}
	switch {
	case r.subject == "":
		what, attributes = "NATS refused something", []any{"error", p.bus.shown(err)}
	case r.publish:
		what = "NATS refused a publish of this edge (docs/subjects.md, Permissions)"
	}
	p.bus.complaints.Log(slog.LevelError, what, r.subject, err.Error(), attributes...)
}

// note records a refusal, and returns false if the log names it within a second, or has.
func (p *permits) note(r right) (isNews bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.grants[r]
	if g == nil && !r.publish && r.subject != "" && (p.patterns == nil || len(p.grants) < maxRights) {
		g = &grant{}
		if p.patterns == nil { // NATS was faster than Permissions
			g.need = required
		}
		p.grants[r] = g
	}
	if g != nil {
		if g.need != foreign && !g.refused && p.unlogged.IsZero() {
			p.unlogged = time.Now()
		}
		g.known, g.refused, g.asked, p.retry = true, true, false, true
	}
	if g != nil && g.need != foreign {
		p.bus.out.wake.Raise()
		return false
	}
	for similar, g := range p.grants {
		if r.publish && similar.publish && strings.HasPrefix(r.subject, parent(similar.subject)) {
			g.doubted, p.retry = true, true
		}
	}
	pattern := patternOf(r, p.patterns)
	for known, g := range p.grants {
		if g.need != foreign && g.refused && known.publish == r.publish && patternOf(known, p.patterns) == pattern {
			return false
		}
	}
	return true
}

// parent returns a subject without its last token.
func parent(subject string) string { return subject[:strings.LastIndexByte(subject, '.')+1] }

// patternOf returns the permission that covers a subject, or the subject itself.
func patternOf(r right, patterns map[bool][]string) string {
	for _, pattern := range patterns[r.publish] {
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

// lacking lists, for people, the permissions to publish and to subscribe that the edge needs and NATS refuses. One that NATS grants in
// part is narrowed to the missing part. count is the number of rights. isUseless reports whether the edge cannot do without one.
func lacking(grants map[right]*grant, patterns map[bool][]string) (publish, subscribe string, count int, isUseless bool) {
	lists := map[bool][]string{}
	for r, g := range grants {
		if !g.refused || g.need == foreign {
			continue
		}
		count++
		isUseless = isUseless || g.need == required
		pattern := patternOf(r, patterns)
		for other, g := range grants {
			if r.publish && other.publish && !g.refused && covers(pattern, other.subject) {
				pattern = parent(r.subject) + ">"
				break
			}
		}
		lists[r.publish] = append(lists[r.publish], pattern)
	}
	for _, list := range lists {
		slices.Sort(list)
	}
	join := func(list []string) string { return strings.Join(slices.Compact(list), ", ") }
	return join(lists[true]), join(lists[false]), count, isUseless
}
