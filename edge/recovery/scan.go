package recovery

import (
	"slices"
	"sync"
	"time"

	"partyline/eventlog"
	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/recovery"
)

// Event is an event that was read in the log.
type Event struct {
	*eventlog.Entry
	Subject subjects.Subject
	Frame   any // for the edge: what it makes of the event, for all sockets that get it
}

// job is what one socket, or a feed, has missed. It is owned by the goroutine that reads.
type job struct {
	namespace string // token
	from, to  uint64
	alive     time.Time // when the connection was there for certain; zero: the log must have all from from on
	id        string    // of the socket; "": everything in the namespace
	rooms     []recovery.Span
	take      func(*Event) bool // false: it is too much
	done      func(error)

	last uint64 // the last event that was looked at
	err  error
}

// CatchUp reads what a socket has missed, up to a mark, and gives it to take: in order, on one goroutine, while the NATS reader goes on. From the mark on
// logged events wait (Ticket.Waits). Then it calls done, with nil, or why the client must begin anew. take returns false if it is too
// much. The socket's subscriptions must be active.
func (k *Ticket) CatchUp(c *Claimed, take func(*Event) bool, done func(error)) {
	t := k.table
	t.set.Wire.Exclusive(func() {
		k.feed.AfterMark(func(seq uint64) {
			k.Deaf.Store(false)
			if c.From > seq {
				done(errHole)
				return
			}
			t.scans.add(&job{
				namespace: k.feed.namespace, from: c.From, to: seq, alive: c.Alive, id: k.ID, rooms: k.Stays(), take: take,
				done: func(err error) {
					if err == nil {
						t.stats.recovered.Inc()
					} else {
						t.count(err)
					}
					done(err)
				},
			})
		})
	})
}

// scans reads the log for all who have missed something: those that wait are served together.
type scans struct {
	table *Table

	mu      sync.Mutex
	waiting []*job // guarded by mu
	reading bool   // guarded by mu
}

func (s *scans) add(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, j)
	if !s.reading {
		s.reading = true
		s.table.running.Go(s.read)
	}
}

// read serves those who wait, until there are none.
func (s *scans) read() {
	for {
		s.mu.Lock()
		jobs := s.waiting
		s.waiting = nil
		s.reading = len(jobs) > 0
		s.mu.Unlock()
		if len(jobs) == 0 {
			return
		}
		s.serve(jobs)
	}
}

// serve reads the log once for some jobs.
func (s *scans) serve(jobs []*job) {
	from, to := jobs[0].from, jobs[0].to
	for _, j := range jobs[1:] {
		from, to = min(from, j.from), max(to, j.to)
	}
	x := index(jobs)
	var oldest time.Time // of the events that the log still has
	over := make(chan error, 1)
	var first uint64
	s.table.set.Store.Read(eventlog.Scan{From: from, To: to, Each: func(e *eventlog.Entry) {
		if oldest.IsZero() {
			oldest = e.Time
		}
		s.table.hand(x, e)
	}, Done: func(has uint64, err error) {
		first = has
		over <- err
	}})
	err := <-over
	for _, j := range jobs {
		switch {
		case err != nil && j.err == nil:
			j.err = err
		case first > j.from+1 && (j.alive.IsZero() || oldest.IsZero() || oldest.After(j.alive)):
			j.err = errHole
		}
		j.done(j.err)
	}
}

// places finds the jobs that an event may be for.
type places struct {
	all, bySocket, byRoom map[string][]*job
	whole                 map[string][]*job
}

func index(jobs []*job) places {
	x := places{make(map[string][]*job), make(map[string][]*job), make(map[string][]*job), make(map[string][]*job)}
	for _, j := range jobs {
		if j.id == "" {
			x.whole[j.namespace] = append(x.whole[j.namespace], j)
			continue
		}
		x.all[j.namespace] = append(x.all[j.namespace], j)
		x.bySocket[j.namespace+" "+j.id] = append(x.bySocket[j.namespace+" "+j.id], j)
		for _, room := range j.rooms {
			x.byRoom[j.namespace+" "+room.Room] = append(x.byRoom[j.namespace+" "+room.Room], j)
		}
	}
	return x
}

// hand gives an event of the log to the jobs that it is for.
func (t *Table) hand(x places, entry *eventlog.Entry) {
	sub, ok := t.set.Prefix.Parse(entry.Subject)
	if !ok || sub.Kind != subjects.KindCommand || IsVolatile(entry.Header) {
		return
	}
	e := &Event{Entry: entry, Subject: sub}
	for _, j := range x.whole[sub.Namespace] {
		j.give(e, t)
	}
	rooms := entry.Header[msg.HeaderRooms]
	switch {
	case sub.Target == subjects.TargetSocket:
		for _, j := range x.bySocket[sub.Namespace+" "+sub.Socket] {
			j.give(e, t)
		}
	case sub.Target == subjects.TargetRoom:
		t.toRoom(x, e, sub.Room)
	case rooms == nil:
		for _, j := range x.all[sub.Namespace] {
			if !j.isExcepted(e) {
				j.give(e, t)
			}
		}
	}
	if sub.Target != subjects.TargetAll {
		return
	}
	for _, room := range rooms {
		t.toRoom(x, e, room)
		for _, j := range x.bySocket[sub.Namespace+" "+room] {
			if !j.isExcepted(e) {
				j.give(e, t)
			}
		}
	}
}

// toRoom gives an event to the sockets that were in a room.
func (t *Table) toRoom(x places, e *Event, room string) {
	for _, j := range x.byRoom[e.Subject.Namespace+" "+room] {
		if j.wasIn(room, e.Seq) && !j.isExcepted(e) {
			j.give(e, t)
		}
	}
}

// wasIn reports whether the socket was in a room when the log had an event.
func (j *job) wasIn(room string, seq uint64) bool { return WasIn(j.rooms, room, seq) }

// WasIn reports whether one of the stays of a socket is in a room at the time of an event.
func WasIn(stays []recovery.Span, room string, seq uint64) bool {
	return slices.ContainsFunc(stays, func(s recovery.Span) bool {
		return s.Room == room && seq > s.From && (s.To == 0 || seq <= s.To)
	})
}

// isExcepted reports whether an event leaves the socket out.
func (j *job) isExcepted(e *Event) bool {
	return slices.ContainsFunc(e.Header[msg.HeaderExcept], func(name string) bool { return name == j.id || j.wasIn(name, e.Seq) })
}

// give hands an event over, once.
func (j *job) give(e *Event, t *Table) {
	if j.err != nil || e.Seq <= j.from || e.Seq > j.to || e.Seq <= j.last {
		return
	}
	if j.last = e.Seq; !j.take(e) {
		j.err = errTooMuch
		return
	}
	t.stats.replayed.Inc()
}

// IsVolatile reports whether an event is delivered live only.
func IsVolatile(header map[string][]string) bool {
	v := header[msg.HeaderVolatile]
	return len(v) > 0 && v[0] != "false" && v[0] != "0"
}
