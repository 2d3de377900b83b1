package recovery

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"time"

	"partyline/eventlog"
	"partyline/wire/msg"
	"partyline/wire/recovery"
)

// Errors of Wire.Yield.
var (
	// ErrDead is returned when no edge is there to yield.
	ErrDead = errors.New("its edge is gone")
	// ErrNotHeld is returned when the holder of the record does not have the socket any more.
	ErrNotHeld = errors.New("its edge does not have the socket")
)

// Errors of coming back, for the log.
var (
	errNothing = errors.New("there is no such session, or it was away for too long")
	errBusy    = errors.New("its edge does not answer")

	// ErrTooMuch is the error of a client that has missed more than may wait for it.
	ErrTooMuch = errors.New("it missed more than limits.queue_bytes")
)

// claimTimeout is how long the edge that has a socket may take to give it up, and yieldTimeout one question.
const (
	claimTimeout = 4 * time.Second
	yieldTimeout = 500 * time.Millisecond
	// informFor is how long another edge is asked to note that a socket has moved.
	informFor = time.Minute
	// deadWithin is how long an edge without a subscriber must not have announced itself to be dead.
	deadWithin = msg.BeatEvery + msg.BeatEvery/5
)

// Claimed is a record that was taken over, or is about to be.
type Claimed struct {
	Record recovery.Record
	Seq    uint64    // of the record
	Alive  time.Time // when the connection was there for certain; set by Claim
	From   uint64    // what the client has got; set by Claim

	claim string
}

// Claim takes over the socket of a client that shows a pid and, or "", an offset. It calls done on a goroutine of its own, with an error if that
// cannot be: see Passes. It waits while NATS is away, for wait at most.
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
			places: places{r.Start, maps.Clone(r.Rooms), slices.Clone(r.Past), r.Renewed}, saving: saving{seq: c.Seq},
			given: &State{User: r.User, Data: r.Data, Group: r.Group, Owner: r.Owner, Assignment: r.Assignment, Rev: r.Rev},
		}
		k.Waits.Store(true)
		k.Deaf.Store(true)
		t.keep(k, token)
		t.mu.Lock()
		delete(t.moved, k.ID)
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
	c, err := t.seize(ctx, recovery.Hash(pid), name, lasts)
	for range claimsAgain { // another edge was faster, perhaps for the same client: it is asked then
		if !errors.Is(err, eventlog.ErrClaimed) {
			break
		}
		c, err = t.seize(ctx, recovery.Hash(pid), name, lasts)
	}
	if err != nil {
		return nil, err
	}
	switch c.From = c.Record.Start; {
	case isOffset && position.Epoch == c.Record.Epoch:
		c.From = max(c.From, position.Seq)
	case c.Record.Renewed: // the end of the old log may be missing
		return nil, eventlog.ErrHole
	}
	c.Alive = c.Alive.Add(-t.set.Silence)
	return c, nil
}

// claimsAgain is how often a claim that lost is repeated.
const claimsAgain = 3

// seize finds a socket, has its edge give it up, and takes it over.
func (t *Table) seize(ctx context.Context, hash, name string, lasts time.Duration) (*Claimed, error) {
	holder, c, err := t.look(ctx, hash, name, lasts)
	if err != nil {
		return nil, err
	}
	if err := t.yield(ctx, holder, hash, lasts, c); err != nil {
		return nil, err
	}
	if !fits(&c.Record, name, t.set.Store.Epoch()) {
		return nil, errNothing
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

// yield has the edge that has a socket give it up. If that edge is gone, the record counts.
func (t *Table) yield(ctx context.Context, holder, hash string, lasts time.Duration, c *Claimed) error {
	for end := time.Now().Add(claimTimeout); time.Now().Before(end) && ctx.Err() == nil; {
		asking, stop := context.WithTimeout(ctx, yieldTimeout)
		latest, err := t.ask(asking, holder, hash, c.Record.SID)
		stop()
		switch {
		case err == nil:
			latest.Alive = time.Now()
			*c = latest
			return nil
		case c.Record.Left > 0: // it was only to know. Else it would answer for the socket
			if !errors.Is(err, ErrNotHeld) {
				t.running.Go(func() { t.inform(holder, hash, c.Record.SID) })
			}
			return nil
		case errors.Is(err, ErrNotHeld), errors.Is(err, ErrDead) && !t.set.Wire.IsHeard(holder, deadWithin), !t.set.Wire.IsHeard(holder, msg.DeadAfter):
			has, latest, failed := t.look(ctx, hash, c.Record.Namespace, lasts) // the last word of the edge may be that the connection is gone
			if failed != nil {
				return failed
			}
			if *c = *latest; has != holder { // another edge was faster, and has the socket
				holder = has
				continue
			}
			switch {
			case c.Record.Left > 0:
				return nil
			case !errors.Is(err, ErrNotHeld): // else it is about to write, or to take the socket over
				return t.died(ctx, holder, lasts, c)
			}
		}
		t.rest(ctx, holder, errors.Is(err, ErrDead))
	}
	return errBusy
}

// inform tells an edge that another one has a socket, until it has heard that, or is gone.
func (t *Table) inform(holder, hash, id string) {
	ctx, stop := context.WithTimeout(t.life, informFor)
	defer stop()
	for ctx.Err() == nil {
		asking, end := context.WithTimeout(ctx, yieldTimeout)
		_, err := t.ask(asking, holder, hash, id)
		end()
		if err == nil || errors.Is(err, ErrNotHeld) || errors.Is(err, ErrDead) && !t.set.Wire.IsHeard(holder, deadWithin) {
			return
		}
		pause(ctx, yieldTimeout)
	}
}

// rest waits before an edge is asked once more. If no edge was there, it waits until that edge counts as dead. It is no claim under way meanwhile.
func (t *Table) rest(ctx context.Context, holder string, isAway bool) {
	<-t.claims
	defer func() { t.claims <- struct{}{} }()
	pause(ctx, yieldTimeout/5)
	for end := time.Now().Add(deadWithin); isAway && t.set.Wire.IsHeard(holder, deadWithin) && time.Now().Before(end); {
		pause(ctx, yieldTimeout/10)
	}
}

// died sets when the connection was there last, which the edge that had it has not told.
func (t *Table) died(ctx context.Context, holder string, lasts time.Duration, c *Claimed) error {
	beat, err := t.lastBeat(ctx, holder)
	switch {
	case errors.Is(err, eventlog.ErrNoRecord): // it died too early for one
		return nil
	case err != nil:
		return err
	case time.Since(beat) > lasts+beatEvery:
		return errNothing
	}
	c.Alive = beat
	return nil
}

// lastBeat is when an edge that is gone noted last that it lives.
func (t *Table) lastBeat(ctx context.Context, edge string) (time.Time, error) {
	t.mu.Lock()
	beat, known := t.beats[edge]
	t.mu.Unlock()
	if known && time.Since(beat) < time.Minute { // a crowd comes at once
		return beat, nil
	}
	beat, err := t.set.Store.LastBeat(ctx, edge)
	if err == nil {
		t.mu.Lock()
		if len(t.beats) > maxBeats {
			clear(t.beats)
		}
		t.beats[edge] = beat
		t.mu.Unlock()
	}
	return beat, err
}

// ask asks for a socket; of this edge it does so in memory.
func (t *Table) ask(ctx context.Context, holder, hash, id string) (Claimed, error) {
	if holder != t.set.Edge {
		return t.set.Wire.Yield(ctx, holder, hash, id)
	}
	type answer struct {
		Claimed
		err error
	}
	got := make(chan answer, 1)
	t.Yield(hash, id, func(c Claimed, err error) { got <- answer{c, err} })
	select {
	case a := <-got:
		return a.Claimed, a.err
	case <-ctx.Done():
		return Claimed{}, ctx.Err()
	}
}

// Yield gives up a socket for the edge that asks for it, and calls answer with the record once it is written. answer must not wait. From
// now on that edge answers for the socket.
func (t *Table) Yield(hash, id string, answer func(Claimed, error)) {
	t.mu.Lock()
	waiting, isBusy := t.seizing[hash]
	if isBusy {
		t.seizing[hash] = append(waiting, func() { t.Yield(hash, id, answer) })
	}
	k := t.tickets[hash]
	t.hasMoved(id)
	t.mu.Unlock()
	if k == nil || isBusy {
		if !isBusy {
			answer(Claimed{}, ErrNotHeld)
		}
		return
	}
	state := k.describe() // before its owner is forgotten
	k.mu.Lock()
	isFirst := k.state == present || k.state == left
	if isFirst {
		k.state, k.leftAt, k.given = yielded, time.Now(), state
	}
	k.mu.Unlock()
	if isFirst {
		t.set.Wire.Drop(k)
	}
	k.Save(func(saved bool) {
		if !saved {
			answer(Claimed{}, errBusy)
			return
		}
		k.mu.Lock()
		c := Claimed{Seq: k.seq, Record: k.latest}
		k.mu.Unlock()
		answer(c, nil)
	})
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
