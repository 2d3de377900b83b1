package recovery

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"time"

	"partyline/eventlog"
	"partyline/wire/recovery"
)

// Errors of coming back, for the log.
var (
	errNothing = errors.New("there is no such session, or it was away for too long")
	errBusy    = errors.New("its edge does not answer")

	// ErrTooMuch is the error of a client that has missed more than may wait for it.
	ErrTooMuch = errors.New("it missed more than limits.queue_bytes")
)

// Claimed is a record that was taken over, or is about to be.
type Claimed struct {
	Record recovery.Record
	Seq    uint64    // of the record
	Alive  time.Time // when the connection was there for certain; set by Claim
	From   uint64    // what the client has got; set by Claim

	claim string
}

// Claim takes over the socket of a client that shows a pid and, or "", an offset. It calls done on a goroutine of its
// own, with an error if that cannot be: see Passes. It waits while NATS is away, for wait at most.
func (t *Table) Claim(wait time.Duration, pid, offset, name, token string, lasts time.Duration, done func(*Ticket, *Claimed, error)) {
	t.running.Go(func() {
		ctx, stop := context.WithTimeout(t.life, wait)
		defer stop()
		t.claims <- struct{}{}
		c, err := t.claim(ctx, pid, offset, name, lasts)
		<-t.claims
		if err != nil {
			t.count(err)
			done(nil, nil, err)
			return
		}
		r := &c.Record
		k := &Ticket{
			ID: r.SID, PID: pid, Recovered: true, identity: identity{claim: c.claim, namespace: name, lasts: lasts},
			places: recovery.Places{Start: r.Start, Rooms: maps.Clone(r.Rooms), Past: slices.Clone(r.Past), Renewed: r.Renewed}, saving: saving{seq: c.Seq},
			given: &State{User: r.User, Data: r.Data, Grant: r.Grant, Group: r.Group, Owner: r.Owner, Assignment: r.Assignment, Rev: r.Rev},
		}
		k.Waits.Store(true)
		k.Deaf.Store(true)
		t.keep(k, token)
		t.mu.Lock()
		delete(t.departed, k.ID)
		t.mu.Unlock()
		t.seized(k.hash)
		done(k, c, nil)
	})
}

// count counts a client that recovers, or why one does not.
func (t *Table) count(err error) {
	switch {
	case err == nil:
		t.stats.recovered.Inc()
	case errors.Is(err, eventlog.ErrClaimed):
		t.stats.taken.Inc()
	case errors.Is(err, eventlog.ErrHole), errors.Is(err, ErrTooMuch):
		t.stats.lateOffset.Inc()
	case errors.Is(err, errNothing), errors.Is(err, eventlog.ErrNoRecord):
		t.stats.refused.Inc()
	default:
		t.stats.busy.Inc()
		t.complaints.Warn("a client that came back could not be recovered now; it is sent away, and tries again", "", err)
	}
}

// Passes reports whether a client may have better luck if it comes back once more. Else it must begin again.
func Passes(err error) bool {
	for _, final := range []error{errNothing, eventlog.ErrHole, ErrTooMuch, eventlog.ErrNoRecord, eventlog.ErrClaimed} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

func (t *Table) claim(ctx context.Context, pid, offset, name string, lasts time.Duration) (*Claimed, error) {
	position, isOffset := recovery.ParseOffset(offset)
	if !recovery.IsPID(pid) || offset != "" && !isOffset {
		return nil, errNothing
	}
	for t.set.Store.Epoch() == "" { // an edge that has just started
		if pause(ctx, yieldTimeout/10); ctx.Err() != nil {
			return nil, errBusy
		}
	}
	c, err := t.seize(ctx, recovery.Hash(pid), position, name, lasts)
	for range claimsAgain { // another edge was faster, perhaps for the same client: it is asked then
		if !errors.Is(err, eventlog.ErrClaimed) {
			break
		}
		c, err = t.seize(ctx, recovery.Hash(pid), position, name, lasts)
	}
	return c, err
}

// claimsAgain is how often a claim that lost is repeated.
const claimsAgain = 3

// seize finds a socket, has its edge give it up, and takes it over. Without an error the caller must call seized.
func (t *Table) seize(ctx context.Context, hash string, offset recovery.Offset, name string, lasts time.Duration) (*Claimed, error) {
	began := time.Now()
	holder, c, err := t.look(ctx, hash, name, lasts)
	switch {
	case err != nil:
	case !t.wasDead(holder, began):
		err = t.yield(ctx, holder, hash, lasts, c)
	case c.Record.Left == 0:
		err = t.died(ctx, holder, lasts, c)
	}
	if err != nil {
		return nil, err
	}
	c.Alive = c.Alive.Add(-t.set.Silence)
	switch c.From = c.Record.Start; {
	case !fits(&c.Record, name, t.set.Store.Epoch()):
		return nil, errNothing
	case offset.Epoch == c.Record.Epoch:
		c.From = max(c.From, offset.Seq)
	case c.Record.Renewed: // the end of the old log may be missing
		return nil, eventlog.ErrHole
	}
	if err := t.begin(ctx, hash); err != nil {
		return nil, err
	}
	if err = t.take(hash, c); err != nil {
		t.seized(hash)
	}
	return c, err
}

// begin has those wait who ask for a record that is about to be this edge's: until seized.
func (t *Table) begin(ctx context.Context, hash string) error {
	for ; ctx.Err() == nil; pause(ctx, yieldTimeout/50) {
		t.mu.Lock()
		_, isBusy := t.seizing[hash]
		if !isBusy {
			t.seizing[hash] = nil
		}
		t.mu.Unlock()
		if !isBusy {
			return nil
		}
	}
	return errBusy
}

// seized answers those who have asked for a record meanwhile.
func (t *Table) seized(hash string) {
	t.mu.Lock()
	waiting := t.seizing[hash]
	delete(t.seizing, hash)
	t.mu.Unlock()
	for _, ask := range waiting {
		ask()
	}
}

// fits reports whether a record is that of a socket in a namespace whose events are in the log.
func fits(r *recovery.Record, name, epoch string) bool {
	return !r.Ended && r.Namespace == name && r.Epoch == epoch
}

// look reads a record. holder is the edge that wrote it.
func (t *Table) look(ctx context.Context, hash, name string, lasts time.Duration) (holder string, c *Claimed, err error) {
	found, err := t.set.Store.Record(ctx, hash)
	for errors.Is(err, eventlog.ErrAway) && ctx.Err() == nil {
		pause(ctx, yieldTimeout)
		found, err = t.set.Store.Record(ctx, hash)
	}
	if err != nil {
		return "", nil, err
	}
	r, err := recovery.ParseRecord(found.Body)
	if err != nil || !fits(&r, name, t.set.Store.Epoch()) {
		return "", nil, errNothing
	}
	c = &Claimed{Record: r, Seq: found.Seq, Alive: time.Now()}
	if r.Left > 0 {
		c.Alive = time.UnixMilli(r.Left)
		if time.Since(c.Alive) > lasts {
			return "", nil, errNothing
		}
	}
	return found.Holder, c, nil
}

// take writes a record in the name of this edge, unless another one was faster.
func (t *Table) take(hash string, c *Claimed) error {
	type result struct {
		seq uint64
		err error
	}
	written := make(chan result, 1)
	c.Record.Left, c.Record.Reason, c.claim = 0, "", rand.Text()
	t.set.Store.Write(eventlog.Write{
		Key: hash, Holder: t.set.Edge, Body: c.Record.JSON(), Claim: c.claim, Expected: c.Seq,
		Done: func(seq uint64, err error) { written <- result{seq, err} },
	})
	r := <-written
	c.Seq = r.seq
	return r.err
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
