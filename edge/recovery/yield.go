package recovery

import (
	"context"
	"errors"
	"time"

	"partyline/eventlog"
	"partyline/wire/msg"
)

// Errors of Wire.Yield.
var (
	// ErrDead is returned when no edge is there to yield.
	ErrDead = errors.New("its edge is gone")
	// ErrNotHeld is returned when the holder of the record does not have the socket any more.
	ErrNotHeld = errors.New("its edge does not have the socket")
)

// claimTimeout is how long the edge that has a socket may take to give it up, and yieldTimeout one question.
const (
	claimTimeout = 4 * time.Second
	yieldTimeout = 500 * time.Millisecond
	// deadWithin is how long an edge without a subscriber must not have announced itself to be dead.
	deadWithin = msg.BeatEvery + msg.BeatEvery/5
)

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
		case c.Record.Left > 0: // it was asked so that its notice of the end comes first
			return nil
		case errors.Is(err, ErrNotHeld), errors.Is(err, ErrDead) && !t.set.Wire.IsHeard(holder, deadWithin), !t.set.Wire.IsHeard(holder, msg.DeadAfter):
			if errors.Is(err, ErrDead) {
				t.foundDead(holder)
			}
			has, latest, failed := t.look(ctx, hash, c.Record.Namespace, lasts) // the last word of the edge may be that the connection is gone
			if failed != nil {
				return failed
			}
			isSame := latest.Seq == c.Seq
			if *c = *latest; has != holder { // another edge was faster, and has the socket
				holder = has
				continue
			}
			switch {
			case c.Record.Left > 0:
				return nil
			case errors.Is(err, ErrNotHeld) && isSame: // it has given up a claim that was stored all the same
				c.Alive = time.Time{}
				return nil
			case !errors.Is(err, ErrNotHeld) && !t.set.Wire.IsHeard(holder, deadWithin): // else it is about to write, or to take the socket over
				return t.died(ctx, holder, lasts, c)
			}
		}
		t.rest(ctx, holder, errors.Is(err, ErrDead))
	}
	return errBusy
}

// deadFor is how long it is known of an edge that it is gone. It may only have lost NATS: then the records say whose
// its sockets are.
const deadFor = 10 * time.Second

// foundDead notes that an edge is gone.
func (t *Table) foundDead(edge string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.dead) > maxBeats {
		clear(t.dead)
	}
	t.dead[edge] = time.Now()
}

// wasDead reports whether an edge was known to be gone at a time, so that what it has last written was there to be
// read. A crowd that comes from it need not ask for it one by one.
func (t *Table) wasDead(edge string, then time.Time) bool {
	t.mu.Lock()
	since, known := t.dead[edge]
	t.mu.Unlock()
	return known && then.After(since) && time.Since(since) < deadFor && !t.set.Wire.IsHeard(edge, deadWithin)
}

// rest waits before an edge is asked once more. If no edge was there, it waits until that edge counts as dead. It is
// no claim under way meanwhile.
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

// Yield gives up a socket for the edge that asks for it, and calls answer with the record once it is written. answer
// must not wait. From now on that edge answers for the socket.
func (t *Table) Yield(hash, id string, answer func(Claimed, error)) {
	t.mu.Lock()
	waiting, isBusy := t.seizing[hash]
	if isBusy {
		t.seizing[hash] = append(waiting, func() { t.Yield(hash, id, answer) })
	}
	k := t.tickets[hash]
	t.depart(id, hash)
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
