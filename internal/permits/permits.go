// Package permits keeps what NATS must permit a connection, and what it refuses.
//
// A refusal arrives as an error of nats.go that belongs to no call. So the caller tries again what is refused, makes a
// round trip for each new connection and each new requirement, and takes what has not been refused until then as
// permitted:
//
//	connection, or Expect ──▶ Due ──▶ Ask ──▶ round trip ──▶ Conclude ──▶ Ready          Refuse may come at any time
package permits

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

	"partyline/internal/throttle"
)

const (
	// askEvery is how often Ask tries again what NATS has refused.
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

// Right is a publish or a subscription that NATS may refuse.
type Right struct {
	Publish bool
	Subject string // may have wildcards if it is a subscription
}

// Need is how much the edge depends on a right.
type Need uint8

// The needs.
const (
	foreign  Need = iota // others chose the subject: it is tried again while NATS refuses it, and is forgotten then
	Optional             // the edge works without
	Required             // the edge is not ready without
)

// grant is what is known about a right on this connection.
type grant struct {
	need    Need
	probe   func() // publishes a message to find out; nil for a subscription
	known   bool   // NATS has permitted or refused it
	refused bool
	asked   bool // Ask is finding out; NATS has not refused it since
	doubted bool // NATS has refused a similar subject: the permission may have been taken away
}

// Settings is what a Table needs.
type Settings struct {
	Log        *slog.Logger
	Complaints *throttle.Logger
	Wake       func()                    // Due, Report or Ask has something to do; must not block
	Renew      func(subject string)      // subscribes once more what NATS has refused, if it is still wanted
	Lacks      func(subject string) bool // whether a subject is wanted and not subscribed yet
}

// Table is what NATS must permit a connection, and what it refuses. Only subjects that the edge alone chose affect
// Ready: clients choose the names of events, and publishers choose reply subjects, so a refusal of those must not make
// the edge unready. It is safe for concurrent use, but Ask and Conclude belong to one goroutine.
type Table struct {
	set Settings

	mu       sync.Mutex
	patterns map[bool][]string // guarded by mu: permissions by whether they are for publishing, to name what is missing; nil at first
	grants   map[Right]*grant  // guarded by mu
	pending  bool              // guarded by mu: a right is not known yet
	retry    bool              // guarded by mu: a right is refused or doubted
	askedAt  time.Time         // guarded by mu: when Ask was called last; zero: it must be called again now
	unlogged time.Time         // guarded by mu: when the first refusal came that the log has not named; zero: there is none
	logged   bool              // guarded by mu: the log has named missing permissions, and not yet that none is missing
}

// New makes a Table that expects nothing.
func New(set Settings) *Table { return &Table{set: set, grants: make(map[Right]*grant)} }

// Name sets, as patterns, what NATS must permit, so that the log can name what is missing. Until then every
// subscription that is refused counts as required.
func (t *Table) Name(publish, subscribe []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.patterns = map[bool][]string{true: publish, false: subscribe}
}

// Expect adds a right that the edge needs. NATS may have refused it already. probe publishes something harmless there,
// called within Ask; nil for a subscription.
func (t *Table) Expect(r Right, need Need, probe func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.grants[r]
	if g == nil {
		g = &grant{}
		t.grants[r] = g
	}
	g.need, g.probe, g.known, g.asked = need, probe, g.refused, false
	t.pending = true
	t.set.Wake()
}

// Forget takes back what Expect said of subjects.
func (t *Table) Forget(subjects ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, subject := range subjects {
		delete(t.grants, Right{Publish: true, Subject: subject})
		delete(t.grants, Right{Subject: subject})
	}
	t.set.Wake()
}

// Reset forgets what NATS answered on an earlier connection.
func (t *Table) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.grants, func(_ Right, g *grant) bool { return g.need == foreign })
	for _, g := range t.grants {
		*g = grant{need: g.need, probe: g.probe}
	}
	t.pending, t.retry, t.askedAt, t.unlogged = len(t.grants) > 0, false, time.Time{}, time.Time{}
}

// Ready returns why NATS's permissions make the edge unusable: nothing if they do not.
func (t *Table) Ready() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if publish, subscribe, _, isUseless := lacking(t.grants, t.patterns); isUseless {
		return []string{fmt.Sprintf("%s: publish [%s], subscribe [%s]", notPermitted, publish, subscribe)}
	}
	if t.pending {
		return []string{"NATS has not been asked yet whether it permits what this edge needs"}
	}
	return nil
}

// violation finds in an error of nats.go what the server has refused.
var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to ("(?:[^"\\]|\\.)*")`)

// violationOf returns the right that an error of nats.go refuses; the zero Right if it names none.
func violationOf(err error) (r Right) {
	if found := violation.FindStringSubmatch(err.Error()); found != nil {
		r.Publish = strings.EqualFold(found[1], "publish")
		r.Subject, _ = strconv.Unquote(found[2])
	}
	return r
}

// Refuse processes a refusal. It logs one of a subject that others chose, unless the permission is missing for the
// edge, too. shown is the error's text for the log.
func (t *Table) Refuse(err error, shown string) {
	r := violationOf(err)
	if !t.note(r) {
		return
	}
	what := "NATS refused a subscription of this edge, so what is published there does not arrive (docs/subjects.md, Permissions)"
	attributes := []any{"subject", r.Subject}
	switch {
	case r.Subject == "":
		what, attributes = "NATS refused something", []any{"error", shown}
	case r.Publish:
		what = "NATS refused a publish of this edge (docs/subjects.md, Permissions)"
	}
	t.set.Complaints.Log(slog.LevelError, what, r.Subject, err.Error(), attributes...)
}

// note records a refusal, and returns false if the log names it within a second, or has.
func (t *Table) note(r Right) (isNews bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.grants[r]
	if g == nil && !r.Publish && r.Subject != "" && (t.patterns == nil || len(t.grants) < maxRights) {
		g = &grant{}
		if t.patterns == nil { // NATS was faster than Name
			g.need = Required
		}
		t.grants[r] = g
	}
	if g != nil {
		if g.need != foreign && !g.refused && t.unlogged.IsZero() {
			t.unlogged = time.Now()
		}
		g.known, g.refused, g.asked, t.retry = true, true, false, true
	}
	if g != nil && g.need != foreign {
		t.set.Wake()
		return false
	}
	for similar, g := range t.grants {
		if r.Publish && similar.Publish && strings.HasPrefix(r.Subject, parent(similar.Subject)) {
			g.doubted, t.retry = true, true
		}
	}
	pattern := patternOf(r, t.patterns)
	for known, g := range t.grants {
		if g.need != foreign && g.refused && known.Publish == r.Publish && patternOf(known, t.patterns) == pattern {
			return false
		}
	}
	return true
}

// parent returns a subject without its last token.
func parent(subject string) string { return subject[:strings.LastIndexByte(subject, '.')+1] }

// patternOf returns the permission that covers a subject, or the subject itself.
func patternOf(r Right, patterns map[bool][]string) string {
	for _, pattern := range patterns[r.Publish] {
		if covers(pattern, r.Subject) {
			return pattern
		}
	}
	return r.Subject
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

// lacking lists, for people, the permissions to publish and to subscribe that the edge needs and NATS refuses. One
// that NATS grants in part is narrowed to the missing part. count is the number of rights. isUseless reports whether
// the edge cannot do without one.
func lacking(grants map[Right]*grant, patterns map[bool][]string) (publish, subscribe string, count int, isUseless bool) {
	lists := map[bool][]string{}
	for r, g := range grants {
		if !g.refused || g.need == foreign {
			continue
		}
		count++
		isUseless = isUseless || g.need == Required
		pattern := patternOf(r, patterns)
		for other, g := range grants {
			if r.Publish && other.Publish && !g.refused && covers(pattern, other.Subject) {
				pattern = parent(r.Subject) + ">"
				break
			}
		}
		lists[r.Publish] = append(lists[r.Publish], pattern)
	}
	for _, list := range lists {
		slices.Sort(list)
	}
	join := func(list []string) string { return strings.Join(slices.Compact(list), ", ") }
	return join(lists[true]), join(lists[false]), count, isUseless
}
