package bus

import (
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
)

// due reports whether the worker must ask NATS now what it permits.
func (p *permits) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.proven || (len(p.refused)+len(p.others) > 0 || p.suspected) && now.Sub(p.asked) >= probeEvery
}

// question is what the worker asks NATS with a flush: what the edge must be able to do, done again.
type question struct {
	rights              []right // all that is tried
	probes              map[string]func() (Header, []byte)
	version, connection int  // of permits
	partial             bool // something required is not even subscribed yet
}

// begin makes a question. Of the refused subscriptions one is tried, and one of those that others chose: NATS's own log would have
// forty lines otherwise, every few seconds.
func (p *permits) begin(now time.Time) (q question) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q.probes = maps.Clone(p.probes)
	for subject := range q.probes {
		if r := (right{true, subject}); p.suspected || !p.granted[r] {
			q.rights = append(q.rights, r)
		}
	}
	p.asked, p.suspected, p.again = now, false, make(map[right]bool)
	for _, set := range []map[right]bool{p.refused, p.others} {
		for r := range set {
			if !r.publish {
				q.rights = append(q.rights, r)
				break
			}
		}
	}
	q.version, q.connection = p.version, p.connection
	return q
}

// ask does what a question is about, on the worker. The caller flushes, and then calls conclude.
func (b *Bus) ask() question {
	q := b.permits.begin(time.Now())
	q.partial = b.interests.lacks(b.permits.needs)
	for _, r := range q.rights {
		if r.publish {
			header, body := q.probes[r.subject]()
			// Without a connection the question is asked again with the next.
			_ = b.Publish([]byte(r.subject), nil, header, body)
		} else {
			b.interests.renew(r.subject)
		}
	}
	return q
}

// conclude takes NATS's answer to a question: answered reports whether a round trip came to an end after it.
func (p *permits) conclude(q question, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	again := p.again
	p.again = nil
	if !answered || q.connection != p.connection { // it is asked again
		return
	}
	p.proven = !q.partial && q.version == p.version
	for _, r := range q.rights {
		if again[r] {
			continue
		}
		if r.publish {
			p.granted[r] = true
		}
		if !p.refused[r] && !p.others[r] {
			continue
		}
		delete(p.refused, r)
		delete(p.others, r)
		if !r.publish { // the others may be permitted as well
			p.asked = time.Time{}
		}
	}
}

// awaitErrors waits until nats.go's callback has passed on what NATS refused before the last round trip. nats.go keeps the last
// error before it calls back, on a goroutine of its own.
func (b *Bus) awaitErrors() {
	for end := time.Now().Add(errorsTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		err := b.nc.LastError()
		if err == nil || !errors.Is(err, nats.ErrPermissionViolation) || b.permits.passedOn(err) {
			return
		}
	}
}

func (p *permits) passedOn(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last == err // nats.go makes a new one each time
}

// report logs what NATS does not permit, in one line, and when it does again. It returns in how long there will be something to
// report.
func (b *Bus) report(now time.Time) time.Duration {
	p := &b.permits
	p.mu.Lock()
	if len(p.refused) == 0 && !p.told && p.since.IsZero() {
		p.mu.Unlock()
		return time.Hour
	}
	publish, subscribe := p.lacking()
	lacks, count, what, level := len(p.refused) > 0, len(p.refused), notPermitted, slog.LevelError
	if !p.disabled() {
		what, level = lacksOptional, slog.LevelWarn
	}
	wait := p.since.Add(gather).Sub(now)
	switch {
	case !p.since.IsZero() && wait > 0:
		p.mu.Unlock()
		return wait
	case lacks && !p.since.IsZero():
		p.since, p.told = time.Time{}, true
		p.mu.Unlock()
		b.complaints.Log(level, what, publish+" "+subscribe, "", "publish", publish, "subscribe", subscribe, "refused", count)
		return time.Hour
	case !lacks && p.proven && p.told:
		p.told = false
		p.mu.Unlock()
		b.log.Info("NATS permits all that this edge needs again")
		return time.Hour
	}
	p.since = time.Time{}
	p.mu.Unlock()
	return time.Hour
}
