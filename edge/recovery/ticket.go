package recovery

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"partyline/wire/recovery"
)

// Ticket is what lets the client of one socket come back. Its lock may be taken while any lock of the edge is held.
type Ticket struct {
	ID        string // of the socket; static
	PID       string // what the client shows; a secret; static
	Recovered bool   // it was taken over; static

	table *Table
	feed  *Feed
	identity

	// Waits reports whether logged events must wait behind what the socket has missed, and Deaf whether they are
	// dropped: the log has them.
	Waits, Deaf atomic.Bool

	mu     sync.Mutex
	client any             // guarded by mu: the edge's socket; nil: there is none yet
	given  *State          // guarded by mu: what services had given to it when it was taken over, or when it left; nil: the socket has it
	state  ticketState     // guarded by mu
	leftAt time.Time       // guarded by mu
	reason string          // guarded by mu
	places recovery.Places // guarded by mu: rooms are named as in subjects
	saving                 // guarded by mu
}

// identity is whose ticket it is. It is static.
type identity struct {
	hash      string        // of the pid
	claim     string        // tells its writes from those of others
	namespace string        // its name
	lasts     time.Duration // how long the client may be away
}

// saving is how far the record of a socket is.
type saving struct {
	changes uint64          // counts what must be saved
	failed  bool            // the latest write did
	isLate  bool            // something has changed after another edge has got the record
	savedAt time.Time       // when the latest succeeded
	seq     uint64          // of the record; 0: there is none
	latest  recovery.Record // that was written last, if the socket is yielded
	stored  []func(bool)    // called once when the record has been written, or not
	told    func()          // see Left
}

type ticketState uint8

const (
	present   ticketState = iota
	left                  // the connection is gone, and the client may come back
	ended                 // a client or service has ended the socket
	yielded               // another edge takes it over
	forgotten             // it has no record, or another edge has it
)

// settleTimeout is how long a CONNECT waits for the log.
const settleTimeout = 3 * time.Second

// Issue makes the ticket of a new socket in a namespace, with its name and token.
func (t *Table) Issue(id, name, token string, lasts time.Duration, client any) *Ticket {
	pid := recovery.NewPID(t.set.Edge)
	return t.keep(&Ticket{ID: id, PID: pid, client: client, identity: identity{claim: rand.Text(), namespace: name, lasts: lasts}}, token)
}

// keep adds a ticket.
func (t *Table) keep(k *Ticket, token string) *Ticket {
	k.table, k.hash = t, recovery.Hash(k.PID)
	k.places.Enter(nil, 0) // makes it ready
	t.mu.Lock()
	defer t.mu.Unlock()
	k.feed = t.use(token)
	t.tickets[k.hash] = k
	return k
}

// SetClient sets the edge's socket of a ticket that was taken over. It returns false if another edge has taken it over
// since.
func (k *Ticket) SetClient(client any) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state != present {
		return false
	}
	k.client = client // which has nothing yet of what services have given
	return true
}

// Client is the edge's socket; nil if there is none yet.
func (k *Ticket) Client() any {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.client
}

// Feed is the events of its namespace.
func (k *Ticket) Feed() *Feed { return k.feed }

// Enter notes the rooms that a socket begins with, named as in subjects, and a position of the feed before it entered
// them.
func (k *Ticket) Enter(rooms []string, position uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.given = nil; k.places.Start == 0 && !k.Recovered {
		k.places.Start = position
	}
	k.changes += k.places.Enter(rooms, position)
}

// Stays lists in which rooms the socket is and was: To is 0 where it is still.
func (k *Ticket) Stays() []recovery.Span {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.places.Stays()
}

// Lacks is recovery.Places.Lacks.
func (k *Ticket) Lacks(seq uint64, rooms []string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.places.Lacks(seq, rooms)
}

// Changed has the record written again, because the rooms or data have changed.
func (k *Ticket) Changed(rooms []string) {
	position, taken := k.feed.Position(), k.feed.taken.Load()
	k.mu.Lock()
	k.places.LeaveOthers(rooms, taken)
	k.changes += k.places.Enter(rooms, position)
	k.mu.Unlock()
	k.save()
}

// restart forgets positions if the log was made again. Those of a ticket that was there before the first log was found
// are from its record, and right.
func (k *Ticket) restart(isFirst bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changes++; isFirst {
		return
	}
	k.places.Renew()
}

// Left notes that the connection is gone. With recoverable the client may come back; else the socket has ended for
// good. Once the record says so, told is called, which must not wait; if another edge has taken the socket over, it is
// not.
func (k *Ticket) Left(reason string, recoverable bool, told func()) {
	to, state := ended, &State{}
	if recoverable {
		to, state = left, k.describe()
	}
	k.mu.Lock()
	is := k.state == present
	if is {
		k.leftAt, k.reason, k.state, k.given, k.told = time.Now(), reason, to, state, told
	}
	k.isLate = k.isLate || k.state == yielded || k.state == forgotten && k.seq > 0
	k.mu.Unlock()
	if is {
		k.table.mu.Lock()
		k.table.parting[k.ID] = k
		k.table.mu.Unlock()
		k.save()
	}
}

// describe returns what services have given to the socket.
func (k *Ticket) describe() *State {
	k.mu.Lock()
	given := k.given
	k.mu.Unlock()
	if given == nil {
		state := k.table.set.Wire.Describe(k)
		given = &state
	}
	return given
}

// Known is what the client receives as pid, or "" if its socket has no record.
func (k *Ticket) Known() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == forgotten {
		return ""
	}
	return k.PID
}

// Settle writes the first record of a socket, and calls done once, when the client may get its CONNECT. If the record
// cannot be written soon, the ticket is void. done must not wait.
func (k *Ticket) Settle(done func()) {
	save := func() {
		k.Save(func(saved bool) {
			if !saved {
				k.table.forget(k)
			}
			done()
		})
	}
	if k.feed.Position() > 0 {
		save()
		return
	}
	k.table.set.Wire.Exclusive(func() { // the first of its namespace: nothing says yet where the log is
		k.feed.wait(waiter{giveUp: time.Now().Add(settleTimeout), run: func(seq uint64) {
			if seq > 0 {
				save()
				return
			}
			k.table.forget(k)
			done()
		}})
	})
}

// SaveChanges is Save, unless the record says all already.
func (k *Ticket) SaveChanges(done func(saved bool)) {
	k.mu.Lock()
	isSaved := k.seq > 0 && k.changes == 0
	k.mu.Unlock()
	if isSaved {
		done(true)
		return
	}
	k.Save(done)
}

// Save has the record written, and calls done once with whether it was. done must not wait.
func (k *Ticket) Save(done func(saved bool)) {
	k.mu.Lock()
	isOver := k.state == forgotten
	if !isOver {
		k.stored = append(k.stored, done)
	}
	k.mu.Unlock()
	if isOver {
		done(false)
		return
	}
	k.save()
}

// Forget removes the ticket of a socket that was never admitted.
func (k *Ticket) Forget() { k.table.forget(k) }

// forget removes a ticket. What waits for its record gets that there is none.
func (t *Table) forget(k *Ticket) {
	k.mu.Lock()
	was, wasStored := k.state, k.seq > 0
	k.state = forgotten
	done := k.stored
	k.stored = nil
	k.mu.Unlock()
	if was != forgotten {
		t.mu.Lock()
		if t.tickets[k.hash] == k {
			delete(t.tickets, k.hash)
		}
		if delete(t.dirty, k); t.parting[k.ID] == k {
			delete(t.parting, k.ID)
		}
		if wasStored && was != ended {
			t.depart(k.ID, k.hash)
		}
		t.release(k.feed)
		t.mu.Unlock()
	}
	for _, fn := range done {
		fn(false)
	}
}
