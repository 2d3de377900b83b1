package bus

import (
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// errorsTimeout bounds the wait for nats.go's callback to have processed what NATS refused.
const errorsTimeout = time.Second

// due reports whether the worker must ask NATS now what it permits.
func (p *permits) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending || p.retry && now.Sub(p.askedAt) >= askEvery
}

// ask does again, on the worker, what NATS may refuse. The caller then flushes and calls conclude. Of the refused subscriptions it
// tries only one that the edge chose and one that others chose: NATS's own log would have forty lines otherwise, every few seconds.
func (p *permits) ask() {
	var renew []string
	probes := make(map[string]func() (Header, []byte))
	p.mu.Lock()
	p.askedAt = time.Now()
	tried := make(map[bool]bool) // by whether others chose the subject
	for r, g := range p.grants {
		switch {
		case r.publish:
			if g.asked = !g.known || g.refused || g.doubted; g.asked {
				g.doubted, probes[r.subject] = false, g.probe
			}
		case !g.known:
			g.asked = !p.bus.interests.lacks(r.subject) // else it waits until it is subscribed
		case g.refused && !tried[g.need == foreign]:
			tried[g.need == foreign], g.asked = true, true
			renew = append(renew, r.subject)
		}
	}
	p.mu.Unlock()
	for subject, probe := range probes {
		header, body := probe()
		_ = p.bus.Publish([]byte(subject), nil, header, body) // without a connection it is tried again with the next
	}
	for _, subject := range renew {
		p.bus.interests.renew(subject)
	}
}

// conclude ends what ask began. answered reports whether a round trip succeeded after it: what was asked and has not been refused is
// permitted then.
func (p *permits) conclude(answered bool) {
	if answered {
		p.awaitErrors()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending, p.retry = false, false
	for r, g := range p.grants {
		if g.asked && answered {
			if g.refused && !r.publish { // the others may be permitted as well
				p.askedAt = time.Time{}
			}
			g.known, g.refused = true, false
		}
		g.asked = false
		if g.need == foreign && !g.refused {
			delete(p.grants, r)
		}
		p.pending = p.pending || !g.known
		p.retry = p.retry || g.refused || g.doubted
	}
	if answered && (p.pending || p.retry && p.askedAt.IsZero()) { // there is more to ask
		p.bus.out.wake.Raise()
	}
}

// awaitErrors waits until nats.go's callback has processed what NATS refused before the last round trip. nats.go keeps the last
// error before it calls back, on a goroutine of its own.
func (p *permits) awaitErrors() {
	for end := time.Now().Add(errorsTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		err, passed := p.bus.nc.LastError(), p.passed.Load()
		if !errors.Is(err, nats.ErrPermissionViolation) || passed != nil && *passed == err { // nats.go makes a new one each time
			return
		}
	}
}

// report logs what NATS does not permit, in one line, and when nothing is missing any more. It returns when to call it again.
func (p *permits) report(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	isNew, wait := !p.unlogged.IsZero(), p.unlogged.Add(gather).Sub(now)
	switch {
	case !isNew && !p.logged:
		return time.Hour
	case isNew && wait > 0:
		return wait
	}
	switch publish, subscribe, count, isUseless := lacking(p.grants, p.patterns); {
	case isNew && count > 0:
		level, what := slog.LevelError, notPermitted
		if !isUseless {
			level, what = slog.LevelWarn, lacksOptional
		}
		p.bus.complaints.Log(level, what, publish+" "+subscribe, "", "publish", publish, "subscribe", subscribe, "refused", count)
		p.logged = true
	case p.logged && count == 0 && !p.pending:
		p.bus.log.Info("NATS permits all that this edge needs again")
		p.logged = false
	}
	p.unlogged = time.Time{}
	return time.Hour
}
