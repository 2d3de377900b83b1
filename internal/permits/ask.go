package permits

import (
	"log/slog"
	"time"
)

// Due reports whether Ask must be called now.
func (t *Table) Due(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pending || t.retry && now.Sub(t.askedAt) >= askEvery
}

// Ask does again what NATS may refuse. The caller then makes a round trip and calls Conclude. Of the refused
// subscriptions Ask tries only one that the edge chose and one that others chose: NATS's own log would have forty
// lines otherwise, every few seconds.
func (t *Table) Ask() {
	var renew []string
	var probes []func()
	t.mu.Lock()
	t.askedAt = time.Now()
	tried := make(map[bool]bool) // by whether others chose the subject
	for r, g := range t.grants {
		switch {
		case r.Publish:
			if g.asked = !g.known || g.refused || g.doubted; g.asked {
				g.doubted, probes = false, append(probes, g.probe)
			}
		case !g.known:
			g.asked = !t.set.Lacks(r.Subject) // else it waits until it is subscribed
		case g.refused && !tried[g.need == foreign]:
			tried[g.need == foreign], g.asked = true, true
			renew = append(renew, r.Subject)
		}
	}
	t.mu.Unlock()
	for _, probe := range probes {
		probe()
	}
	for _, subject := range renew {
		t.set.Renew(subject)
	}
}

// Conclude ends what Ask began. answered reports whether a round trip succeeded after it, and Refuse was called for
// all that NATS refused before: what was asked and has not been refused is permitted then.
func (t *Table) Conclude(answered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending, t.retry = false, false
	for r, g := range t.grants {
		if g.asked && answered {
			if g.refused && !r.Publish { // the others may be permitted as well
				t.askedAt = time.Time{}
			}
			g.known, g.refused = true, false
		}
		g.asked = false
		if g.need == foreign && !g.refused {
			delete(t.grants, r)
		}
		t.pending = t.pending || !g.known
		t.retry = t.retry || g.refused || g.doubted
	}
	if answered && (t.pending || t.retry && t.askedAt.IsZero()) { // there is more to ask
		t.set.Wake()
	}
}

// Report logs what NATS does not permit, in one line, and when nothing is missing any more. It returns when to call it
// again.
func (t *Table) Report(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	isNew, wait := !t.unlogged.IsZero(), t.unlogged.Add(gather).Sub(now)
	switch {
	case !isNew && !t.logged:
		return time.Hour
	case isNew && wait > 0:
		return wait
	}
	switch publish, subscribe, count, isUseless := lacking(t.grants, t.patterns); {
	case isNew && count > 0:
		level, what := slog.LevelError, notPermitted
		if !isUseless {
			level, what = slog.LevelWarn, lacksOptional
		}
		t.set.Complaints.Log(level, what, publish+" "+subscribe, "", "publish", publish, "subscribe", subscribe, "refused", count)
		t.logged = true
	case t.logged && count == 0 && !t.pending:
		t.set.Log.Info("NATS permits all that this edge needs again")
		t.logged = false
	}
	t.unlogged = time.Time{}
	return time.Hour
}
