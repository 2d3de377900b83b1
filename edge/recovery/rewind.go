package recovery

import (
	"cmp"
	"context"
	"slices"
	"time"

	"partyline/eventlog"
	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// rewindTimeout is how long the last events of a room may take. The sockets that enter it wait.
	rewindTimeout = 5 * time.Second
	// maxRewinds is how many rooms are read at once.
	maxRewinds = 32
)

// Rewind is a socket that has entered a room and gets its last events. From the call of Marked on it must keep what
// comes for the socket: the log has what came before.
type Rewind struct {
	Room   string // as in subjects
	Most   int
	Age    time.Duration // the same for all sockets of the room
	Bytes  int           // at most so many; the same for all
	Marked func()
	Read   func(*Past) // called within Wire.Exclusive
}

// Past is the last events of a room. Sockets that entered it at the same time share it.
type Past struct {
	Seq    uint64            // of the mark: all of the room up to it
	Events []*eventlog.Entry // in order; perhaps more than a socket wants
}

// Rewind reads the last events of a room for a socket. The room's subscription must be active. While a room is read,
// sockets that enter it wait for the next time. The NATS reader calls it, as all methods of a Feed.
func (f *Feed) Rewind(r Rewind) {
	waiting, isRead := f.rewinds[r.Room]
	f.rewinds[r.Room] = append(waiting, r)
	if !isRead {
		f.rewind(r.Room)
	}
}

// rewind reads a room for the sockets that wait for it.
func (f *Feed) rewind(room string) {
	batch := f.rewinds[room]
	if f.rewinds[room] = nil; len(batch) == 0 {
		delete(f.rewinds, room)
		return
	}
	f.AfterMark(func(seq uint64) {
		for _, r := range batch {
			r.Marked()
		}
		f.table.running.Go(func() {
			past := f.table.past(f.namespace, batch, seq)
			f.table.set.Wire.Exclusive(func() {
				for _, r := range batch {
					r.Read(past)
				}
				f.rewind(room)
			})
		})
	})
}

// past reads the last events of a room up to a mark, for some sockets. It tries again until rewindTimeout.
func (t *Table) past(namespace string, batch []Rewind, seq uint64) *Past {
	t.rewinds <- struct{}{}
	defer func() { <-t.rewinds }()
	ctx, stop := context.WithTimeout(context.Background(), rewindTimeout)
	defer stop()
	first := batch[0]
	most := slices.MaxFunc(batch, func(a, b Rewind) int { return a.Most - b.Most }).Most
	q := eventlog.Last{Most: most, MaxBytes: first.Bytes, Since: time.Now().Add(-first.Age), To: seq}
	room, union := q, q
	room.Subject = string(t.set.Prefix.AppendToRoom(nil, namespace, subjects.VerbEmit, first.Room))
	room.Wants = func(e *eventlog.Entry) bool { return IsRepeated(e.Header) }
	union.Subject = string(t.set.Prefix.AppendAll(nil, namespace, subjects.VerbEmit))
	union.Wants = func(e *eventlog.Entry) bool {
		return IsRepeated(e.Header) && slices.Contains(e.Header[msg.HeaderRooms], first.Room)
	}
	p, epoch := &Past{Seq: seq}, t.set.Store.Epoch()
	for _, q := range []eventlog.Last{room, union} {
		found, err := t.set.Store.Last(ctx, q)
		for err != nil && ctx.Err() == nil {
			pause(ctx, yieldTimeout)
			found, err = t.set.Store.Last(ctx, q)
		}
		if err == nil && epoch != "" && t.set.Store.Epoch() != epoch { // it was made again
			err = eventlog.ErrHole
		}
		if err != nil {
			t.stats.unread.Inc()
			t.complaints.Warn("sockets that entered a room do not get its last events", namespace, err)
			return &Past{Seq: seq}
		}
		p.Events = append(p.Events, found...)
	}
	t.stats.rewinds.Inc()
	slices.SortFunc(p.Events, func(a, b *eventlog.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	p.Events = p.Events[max(0, len(p.Events)-most):]
	return p
}

// IsRepeated reports whether an event is one of a room's past: volatile ones are delivered live only, as are those for
// the sockets that an instance owns.
func IsRepeated(header map[string][]string) bool {
	return !msg.IsVolatile(header) && header[msg.HeaderOwnedBy] == nil
}
