package recovery

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"partyline/eventlog"
)

// maxHeldBytes bounds what waits while a feed reads what it has missed.
const maxHeldBytes = 64 << 20

// Feed is the logged events of one namespace, as they come to this edge. The NATS reader owns all but the position:
// methods are called by it, or within Wire.Exclusive.
type Feed struct {
	table     *Table
	namespace string // its token; static
	users     int    // guarded by Table.mu

	position atomic.Uint64 // sequence of the last event handed out; 0: none is known yet
	taken    atomic.Uint64 // sequence of the last event that was taken, to be handed out
	first    atomic.Uint64 // that of the first one; 0: none was
	stored   string        // when NATS stored the last event that was handed out
	earlier  time.Time     // what was stored until then is of a log that is gone, and was handed out from that

	state  feedState
	losses uint64 // what Table.losses said when nothing was missing
	marking
	fenced  int      // commands in waiting and next
	waiting []waiter // for the mark under way
	next    []waiter // for the one after it
	gap

	rewinds map[string][]Rewind // by room: what waits while the room is read; see Rewind
}

// marking is the mark under way.
type marking struct {
	number uint64    // 0: there is none
	sent   time.Time // when it was published
	again  int       // how often it was published again
	behind uint64    // what had been taken when it was published first
}

// gap is how a feed reads what it has missed.
type gap struct {
	recent   eventlog.Recent   // what came
	held     []*eventlog.Entry // what comes meanwhile
	bytes    int               // of held
	attempts uint64            // counts the times that something was lost: an earlier reading counts no more
}

type feedState uint8

const (
	whole    feedState = iota // events are handed out as they come
	deaf                      // something was lost: events are dropped until a mark is back
	catching                  // events wait, until what was missed has been read
)

// waiter waits for a mark.
type waiter struct {
	run    func(seq uint64) // seq is 0 if it was given up
	giveUp time.Time        // when it waits no longer; zero: never
}

// lastMark numbers the marks of the process.
var lastMark atomic.Uint64

func init() { lastMark.Store(rand.Uint64N(1 << 48)) } // the next must not be guessed

// Feed returns the feed of a namespace, named as in subjects, or nil if it has no socket here.
func (t *Table) Feed(namespace string) *Feed {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.feeds[namespace]
}

// Use adds a socket to a namespace, named as in subjects. Its events are taken from now on.
func (t *Table) Use(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.use(namespace)
}

// Release removes a socket from a namespace.
func (t *Table) Release(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.release(t.feeds[namespace])
}

// use adds a user of a feed. mu must be held.
func (t *Table) use(namespace string) *Feed {
	f := t.feeds[namespace]
	if f == nil {
		f = &Feed{table: t, namespace: namespace, losses: t.losses(), rewinds: make(map[string][]Rewind)}
		if !t.found.Load() {
			f.state = deaf // offsets need the epoch
		}
		t.feeds[namespace] = f
	}
	f.users++
	return f
}

// release removes a user of a feed. mu must be held.
func (t *Table) release(f *Feed) {
	if f.users--; f.users == 0 {
		delete(t.feeds, f.namespace)
	}
}

// Position is the sequence of the last event that was handed out; 0 if none is known.
func (f *Feed) Position() uint64 { return f.position.Load() }

// HandedOut notes that all up to an event has been handed out. stored is when NATS stored it, or "" for a mark.
func (f *Feed) HandedOut(seq uint64, stored string) {
	if f.position.Load() < seq {
		f.stored = cmp.Or(stored, f.stored)
		f.position.Store(seq)
	}
}

// IsLate reports whether an event comes behind later ones.
func (f *Feed) IsLate(seq uint64) bool { return seq < f.taken.Load() }

// Take reports whether an event is to be handed out now. If not, it came before or waits, and then entry is called for
// a copy to keep.
func (f *Feed) Take(seq uint64, entry func() *eventlog.Entry) bool {
	f.check()
	switch {
	case f.state == deaf || seq <= f.taken.Load():
		return false
	case f.state == catching:
		e := entry()
		f.held = append(f.held, e)
		if f.bytes += len(e.Data) + 256; f.bytes > maxHeldBytes {
			f.lose()
		}
		return false
	}
	f.take(seq)
	return true
}

func (f *Feed) take(seq uint64) {
	if f.taken.Load() == 0 {
		f.first.Store(seq)
	}
	f.taken.Store(max(f.taken.Load(), seq))
	f.recent.Add(seq)
}

// check finds out whether something was lost since the last look.
func (f *Feed) check() {
	if losses := f.table.losses(); losses != f.losses {
		f.losses = losses
		f.Lost()
		f.table.doubt()
	}
}

// Lost says that events may be missing.
func (f *Feed) Lost() {
	if f.position.Load() > 0 {
		f.lose()
	}
}

// lose drops all that comes, until a mark is back.
func (f *Feed) lose() {
	f.state, f.held, f.bytes, f.number = deaf, nil, 0, 0
	f.attempts++
	f.next = append(f.waiting, f.next...)
	f.waiting = nil
}

// restart forgets what is known of a log that is gone. What the new one has is read from its beginning, without what it
// has from the one before, if it is an older copy of that; of the first log of the process nothing is.
func (f *Feed) restart(isFirst bool) {
	if f.lose(); isFirst {
		f.state = whole
	}
	f.earlier, _ = time.Parse(time.RFC3339Nano, f.stored)
	f.taken.Store(0)
	f.first.Store(0)
	f.position.Store(0)
	f.recent = eventlog.Recent{}
	f.mark(time.Now())
}

// AfterMark runs fn with the sequence of a mark that is published from now on, when that is back and nothing is
// missing.
func (f *Feed) AfterMark(fn func(seq uint64)) { f.wait(waiter{run: fn}) }

// maxFenced bounds the commands that wait; any more overtake events.
const maxFenced = 100_000

// healTimeout is how much longer a command waits while the feed reads what it has missed.
const healTimeout = 4 * time.Second

// Fence runs a command behind all events that were published before it: a second later at the most, or five if some
// are missing.
func (f *Feed) Fence(fn func()) {
	if f.fenced >= maxFenced {
		fn()
		return
	}
	f.fenced++
	f.wait(f.fence(fn))
}

func (f *Feed) fence(fn func()) waiter {
	return waiter{giveUp: time.Now().Add(markTimeout), run: func(uint64) {
		f.fenced--
		fn()
	}}
}

// Behind runs a command directly behind the last one that waits, so that commands keep their order. IsFenced must be
// true.
func (f *Feed) Behind(fn func()) {
	f.fenced++
	list := &f.waiting
	if len(f.next) > 0 {
		list = &f.next
	}
	*list = append(*list, f.fence(fn))
}

// IsFenced reports whether a command waits: then later ones must, too.
func (f *Feed) IsFenced() bool { return f.fenced > 0 }

func (f *Feed) wait(w waiter) {
	f.next = append(f.next, w)
	if f.number == 0 && f.state == whole {
		f.mark(time.Now())
	}
}

// mark publishes a mark, for all that wait.
func (f *Feed) mark(now time.Time) {
	f.waiting, f.next = append(f.waiting, f.next...), nil
	f.number, f.sent, f.again, f.behind = lastMark.Add(1), now, 0, f.taken.Load()
	f.table.set.Wire.Mark(f.namespace, f.number)
}

// Returned takes a mark that is back.
func (f *Feed) Returned(n, seq uint64) {
	f.check()
	switch {
	case n != f.number, f.table.set.Store.Epoch() == "":
		return
	case seq <= f.behind: // the log was made again
		f.table.set.Store.WentBack()
		return
	case seq <= f.taken.Load(): // from a leader that was replaced meanwhile, and is late: it is published once more
		return
	}
	f.number = 0
	f.table.stats.lag.Set(int(time.Since(f.sent)))
	if f.state == deaf {
		f.next = append(f.waiting, f.next...) // these wait until nothing is missing
		f.waiting = nil
		f.heal(seq)
		return
	}
	f.take(seq)
	f.HandedOut(seq, "")
	waiting := f.waiting
	f.waiting = nil
	for i := range waiting {
		waiting[i].run(seq)
	}
	if len(f.next) > 0 && f.number == 0 {
		f.mark(time.Now())
	}
}

// heal reads what was missed, up to a mark: also before events that came. See eventlog.Recent.
func (f *Feed) heal(to uint64) {
	f.state, f.sent = catching, time.Now()
	attempt, table, came := f.attempts, f.table, f.recent.Copy()
	var page []*eventlog.Entry
	flush := func() {
		table.set.Wire.Exclusive(func() {
			for _, e := range page {
				if f.attempts == attempt && table.Feed(f.namespace) == f && (e.Seq > f.taken.Load() || came.Lacks(e.Seq)) {
					if f.take(e.Seq); e.Time.After(f.earlier) {
						table.set.Wire.HandOut(e)
					}
				}
			}
		})
		page = page[:0]
	}
	table.set.Store.Read(eventlog.Scan{
		From: came.From(f.position.Load()), To: to, For: &eventlog.Receiver{Namespace: f.namespace},
		Each: func(e *eventlog.Entry) {
			if page = append(page, e); len(page) == pageSize {
				flush()
			}
		},
		Done: func(_ uint64, err error) {
			flush()
			table.set.Wire.Exclusive(func() {
				if f.attempts == attempt {
					f.caughtUp(to, err)
				}
			})
		},
	})
}

// pageSize is how many events of a heal are handed out before the NATS reader goes on.
const pageSize = 256

// caughtUp ends a heal.
func (f *Feed) caughtUp(to uint64, err error) {
	switch {
	case errors.Is(err, eventlog.ErrHole):
		f.table.stats.holes.Inc()
		f.table.complaints.Warn("the log has not got any more what this edge missed without NATS: clients lack events", f.namespace, err)
	case err != nil:
		f.table.complaints.Warn("cannot read in the log what this edge missed without NATS; trying again", f.namespace, err)
		f.lose()
		return
	default:
		f.table.stats.healed.Inc()
	}
	f.take(to)
	f.HandedOut(to, "")
	if time.Since(f.sent) >= markTimeout { // the log may have been silent meanwhile: see isSilent
		f.lose()
		return
	}
	held := f.held
	f.state, f.held, f.bytes = whole, nil, 0
	for _, e := range held {
		if e.Seq > f.taken.Load() {
			f.take(e.Seq)
			f.table.set.Wire.HandOut(e)
		}
	}
	if len(f.next) > 0 {
		f.mark(time.Now())
	}
}

// tick publishes marks that are missing. measured: the way through the log is measured with this feed.
func (f *Feed) tick(now time.Time, measured bool) {
	f.check()
	f.waiting = f.passed(f.waiting, now) // before those that came later
	f.next = f.passed(f.next, now)
	isLate := f.number != 0 && now.Sub(f.sent) >= markTimeout
	if isLate {
		f.table.stats.lag.Set(int(now.Sub(f.sent)))
		f.table.set.Store.Doubt()
	}
	if f.state == whole { // else it may lack what came long ago
		f.recent.Age(now, f.position.Load())
	}
	switch {
	case f.state == catching:
	case isLate: // the same again: whichever is back first counts for those who wait
		f.sent = now
		f.again++
		f.table.set.Wire.Mark(f.namespace, f.number)
	case f.state == deaf && f.table.doubtful.Load():
	case f.number == 0 && (f.state == deaf || len(f.next) > 0 || measured && now.Sub(f.sent) >= silentAfter):
		f.mark(now)
	}
}

// isSilent reports whether the log has not answered for so long that it may have another leader, or NATS has lost a
// part of its way. Then what has been stored meanwhile may not have been repeated.
func (f *Feed) isSilent(now time.Time) bool {
	isQuiet := f.number != 0 && f.taken.Load() == f.behind && now.Sub(f.sent) >= silentAfter
	return f.state == whole && (isQuiet || f.again == 2)
}

// passed runs the waiters that give up, and returns the others.
func (f *Feed) passed(list []waiter, now time.Time) []waiter {
	if f.state != whole {
		now = now.Add(-healTimeout)
	}
	kept := list[:0]
	for _, w := range list {
		if w.giveUp.IsZero() || now.Before(w.giveUp) {
			kept = append(kept, w)
		} else {
			w.run(0)
		}
	}
	return kept
}
