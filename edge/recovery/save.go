package recovery

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"partyline/eventlog"
	"partyline/wire/recovery"
)

// endedTTL is how long the record of an ended socket says so.
const endedTTL = time.Minute

// barrier waits until all changes that were made before it are in the records.
type barrier struct {
	of  []*Ticket
	run func(saved bool)
}

// save has the record written.
func (k *Ticket) save() {
	k.mu.Lock()
	k.changes++
	k.isLate = k.isLate || k.state == forgotten && k.seq > 0
	k.mu.Unlock()
	k.again()
}

// AfterSaved runs fn once the records of sockets say what has changed before, or could not be written. fn must not
// wait. saved is false if one of them was not.
func (t *Table) AfterSaved(of []*Ticket, fn func(saved bool)) {
	t.mu.Lock()
	t.barriers = append(t.barriers, barrier{of, fn})
	t.mu.Unlock()
	t.wake.Raise()
}

// save writes all records that must be, waits for that, and runs the barriers.
func (t *Table) save() {
	wasDoubtful := t.doubtful.Load()
	t.mu.Lock()
	dirty, barriers := t.dirty, t.barriers
	t.dirty, t.barriers = make(map[*Ticket]bool), nil
	if wasDoubtful {
		for _, k := range t.tickets {
			dirty[k] = true
		}
	}
	t.mu.Unlock()
	var writing sync.WaitGroup
	var isAway atomic.Bool
	for k := range dirty {
		w, changes, is := k.record()
		if !is {
			continue
		}
		writing.Add(1)
		w.Done = func(seq uint64, err error) {
			defer writing.Done()
			if errors.Is(err, eventlog.ErrAway) {
				isAway.Store(true)
			}
			k.written(changes, seq, err)
		}
		t.set.Store.Write(w)
	}
	writing.Wait()
	if wasDoubtful && !isAway.Load() {
		t.doubtful.Store(false) // feeds that lack something publish their marks now
	}
	for _, b := range barriers {
		b.run(areSaved(b.of))
	}
}

func areSaved(tickets []*Ticket) bool {
	for _, k := range tickets {
		k.mu.Lock()
		isSaved := !k.failed && !k.isLate
		k.mu.Unlock()
		if !isSaved {
			return false
		}
	}
	return true
}

// record is the record of a ticket as it is now, to be written; false if there is none any more.
func (k *Ticket) record() (w eventlog.Write, changes uint64, is bool) {
	state := k.describe()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == forgotten {
		return w, 0, false
	}
	// What was not known when the socket entered: that was before the first event here. In a record that was taken over,
	// 0 is the beginning of the log.
	if first := k.feed.first.Load(); first > 0 && !k.Recovered {
		k.places.Since(first - 1)
	}
	if k.given != nil { // it has left, and may have lost its owner while it was described
		state = k.given
	}
	r := recovery.Record{
		SID: k.ID, Namespace: k.namespace, Epoch: k.table.set.Store.Epoch(), Start: k.places.Start, Renewed: k.places.Renewed, Rooms: k.places.Rooms, Past: k.places.Past,
		Given: recovery.Given{User: state.User, Data: state.Data, Grant: state.Grant}, Group: state.Group, Owner: state.Owner, Assignment: state.Assignment, Rev: state.Rev,
	}
	switch k.state {
	case ended:
		r = recovery.Record{SID: k.ID, Namespace: k.namespace, Epoch: r.Epoch, Ended: true, Reason: k.reason}
		w.TTL = endedTTL
	case left, yielded:
		r.Left, r.Reason = k.leftAt.UnixMilli(), k.reason
		w.TTL = k.lasts
	}
	if k.state == yielded {
		k.latest = r
		k.latest.Rooms = maps.Clone(k.places.Rooms)
	}
	w.Key, w.Holder, w.Claim, w.Body, w.Expected = k.hash, k.table.set.Edge, k.claim, r.JSON(), k.seq
	return w, k.changes, true
}

// written notes that a record was written, or not.
func (k *Ticket) written(changes, seq uint64, err error) {
	t := k.table
	k.mu.Lock()
	wasPresent, isLatest := k.state == present, changes == k.changes
	var done []func(bool)
	told := k.told
	if k.failed = err != nil; !k.failed {
		k.seq, k.savedAt = seq, time.Now()
	}
	if k.failed || isLatest {
		done, k.stored = k.stored, nil
	}
	if err == nil && isLatest && k.told != nil {
		done, k.told = append(done, func(bool) { told() }), nil
	}
	k.mu.Unlock()
	for _, fn := range done {
		fn(err == nil)
	}
	switch {
	case errors.Is(err, eventlog.ErrClaimed):
		if wasPresent {
			t.set.Wire.Drop(k)
		}
		t.forget(k)
	case err != nil:
		t.stats.unsaved.Inc()
		t.complaints.Warn("the record of a socket could not be written: its client does not recover if this edge ends now; trying again", k.namespace, err)
		time.AfterFunc(markTimeout, k.again)
	case !wasPresent && isLatest:
		t.forget(k)
	}
}

// again has a record written that could not be.
func (k *Ticket) again() {
	k.table.mu.Lock()
	k.table.dirty[k] = true
	k.table.mu.Unlock()
	k.table.wake.Raise()
}

// rewrite has the records written that are old.
func (t *Table) rewrite(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.tickets {
		k.mu.Lock()
		isOld := k.seq > 0 && now.Sub(k.savedAt) > rewriteEvery
		k.mu.Unlock()
		if isOld {
			t.dirty[k] = true
			t.wake.Raise()
		}
	}
}
