package recovery

import (
	"partyline/eventlog"
)

// CatchUp reads what a socket has missed, up to a mark, and gives it to take: in order, on one goroutine, while the
// NATS reader goes on. From the mark on logged events wait (Ticket.Waits). Then it calls done, with nil, or why the
// client must begin again. The socket's subscriptions must be active. take returns false if it is too much.
func (k *Ticket) CatchUp(c *Claimed, take func(*eventlog.Entry) bool, done func(error)) {
	t := k.table
	end := func(err error) {
		t.count(err)
		done(err)
	}
	t.set.Wire.Exclusive(func() {
		k.feed.AfterMark(func(seq uint64) {
			k.Deaf.Store(false)
			k.mu.Lock()
			k.places.Read = seq
			k.mu.Unlock()
			if c.From > seq {
				end(eventlog.ErrHole)
				return
			}
			isTooMuch := false
			t.set.Store.Read(eventlog.Scan{
				From: c.From, To: seq, For: &eventlog.Receiver{Namespace: k.feed.namespace, Socket: k.ID, Owner: c.Record.Owner, Rooms: k.Stays(), Alive: c.Alive},
				Each: func(e *eventlog.Entry) {
					if isTooMuch = isTooMuch || !take(e); !isTooMuch {
						t.stats.replayed.Inc()
					}
				},
				Done: func(_ uint64, err error) {
					if err == nil && isTooMuch {
						err = ErrTooMuch
					}
					end(err)
				},
			})
		})
	})
}
