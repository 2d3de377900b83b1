// Package recovery makes sockets survive their connections, and their edges (docs/subjects.md, Recovery).
//
// The events of a logged namespace come to an edge as a log repeats them, with their sequences. A Feed is that of one
// namespace: it finds out what the edge has missed, and reads it in the log. A Ticket is what lets the client of one
// socket come back: its record is written whenever its rooms or data change, so that any edge can take it over.
//
//	events:  handle ──▶ Feed.Take ──▶ the edge hands them out          missed: mark ──▶ scan (from, S] ──▶ what came meanwhile
//	sockets: Issue ──▶ Changed … Changed ──▶ Left      a client comes back: Claim ──▶ subscribe ──▶ CatchUp ──▶ live
//
// A mark is a message that the edge itself sends through the log. When it is back, with the sequence S, all that the
// log had before has been handled. This is the border: up to S a socket gets what it has missed from the log, behind S
// what comes.
package recovery

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"partyline/eventlog"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/internal/wake"
	"partyline/subjects"
	"partyline/wire/recovery"
)

// Wire is how a Table speaks to the edge and to NATS. Claim alone calls what may wait.
type Wire interface {
	// Mark publishes a mark of a namespace. It never waits.
	Mark(namespace string, n uint64)
	// HandOut hands an event of the log to the sockets that are there. It is called within Exclusive.
	HandOut(e *eventlog.Entry)
	// Exclusive runs fn while nothing from NATS is handled. It must not be called with a lock held that HandOut needs.
	Exclusive(fn func())
	// Losses counts the connections to NATS: between two of them messages are lost.
	Losses() uint64
	// Describe returns what the record of a socket says beside its rooms.
	Describe(k *Ticket) State
	// Drop ends a socket without a word to services: another edge has it. It never waits.
	Drop(k *Ticket)
	// Yield asks the holder of a record for it. It returns ErrDead if no edge is there.
	Yield(ctx context.Context, holder, hash, id string) (Claimed, error)
	// IsHeard reports whether an edge has announced itself within a time, or this edge could not have received that.
	IsHeard(edge string, within time.Duration) bool
}

// Store is the log and the records. Package eventlog implements it.
type Store interface {
	Epoch() string
	Doubt()
	WentBack()
	Read(eventlog.Scan)
	Last(ctx context.Context, q eventlog.Last) ([]*eventlog.Entry, error)
	Write(eventlog.Write)
	Record(ctx context.Context, key string) (eventlog.Record, error)
	Beat(edge string)
	LastBeat(ctx context.Context, edge string) (time.Time, error)
}

// State is what services have given to a socket.
type State struct {
	User, Group, Owner string
	Assignment, Rev    uint64
	Data, Grant        []byte // JSON, or nil
}

// Settings is what a Table needs.
type Settings struct {
	Edge    string // its id
	Prefix  subjects.Prefix
	Wire    Wire
	Store   Store
	Log     *slog.Logger
	Silence time.Duration // how long a broken connection may look alive: ping interval and time-out
}

// Table is the feeds and tickets of an edge. Its lock may be taken while those of the registry and of a connection are
// held.
type Table struct {
	set        Settings
	complaints *throttle.Logger
	stats      stats
	wake       wake.Flag     // tickets are to be saved
	claims     chan struct{} // one for each claim under way
	rewinds    chan struct{} // one for each room that is read
	running    sync.WaitGroup
	life       context.Context // of what runs
	end        func()          // ends life
	watch

	mu        sync.Mutex
	feeds     map[string]*Feed   // guarded by mu: by token
	tickets   map[string]*Ticket // guarded by mu: by hash
	dirty     map[*Ticket]bool   // guarded by mu: to be saved
	barriers  []barrier          // guarded by mu: that wait for that
	elsewhere                    // guarded by mu
}

// watch is how the table finds out that it has missed something.
type watch struct {
	ticked   atomic.Int64  // unix nanoseconds of the last tick
	naps     atomic.Uint64 // times that the process did not run for a while
	found    atomic.Bool   // the log was
	doubtful atomic.Bool   // other edges may have taken over sockets of this one
	beaten   time.Time     // owned by tickOn: when the edge noted last that it lives
}

// elsewhere is what is known of other edges.
type elsewhere struct {
	departed map[string]string    // by id: hashes of sockets that were here, and that another edge may have now
	order    []string             // those of departed, the oldest first
	beats    map[string]time.Time // the last of edges that are gone
	dead     map[string]time.Time // when an edge was found to be gone
	seizing  map[string][]func()  // by hash: records that are being written in the name of this edge, and who asks for them meanwhile
	parting  map[string]*Ticket   // by id: those of sockets that have ended, whose records do not say so yet
}

type stats struct {
	recovered, refused, lateOffset, busy, taken tally.Counter
	replayed, healed, holes, unsaved            tally.Counter
	rewinds, unread                             tally.Counter
	lag                                         tally.Gauge // nanoseconds
}

const (
	// maxDeparted is how many sockets are remembered that another edge may have now.
	maxDeparted = 100_000
	// maxBeats is how many edges that are gone are remembered.
	maxBeats = 1000
	// maxClaims is how many clients may come back at once; others wait.
	maxClaims = 256
	// beatEvery is how often the time of an edge's life is written.
	beatEvery = 10 * time.Second
	// tickEvery is how often feeds are looked at.
	tickEvery = 250 * time.Millisecond
	// napAfter is how long a process does not tick until it must have been stopped. Others take an edge for dead
	// later.
	napAfter = time.Second
	// markTimeout is how long a mark may take.
	markTimeout = time.Second
	// silentAfter is how long a mark may take if no event comes either, until some may be missing. It is also how often
	// the way through the log is measured.
	silentAfter = markTimeout / 2
	// rewriteEvery is how often records are written although nothing has changed: the log keeps them for a day.
	rewriteEvery = 12 * time.Hour
)

// New makes a Table. Run must be called.
func New(set Settings) *Table {
	t := &Table{
		set: set, complaints: throttle.New(set.Log), wake: wake.New(), claims: make(chan struct{}, maxClaims),
		rewinds: make(chan struct{}, maxRewinds),
		feeds:   make(map[string]*Feed), tickets: make(map[string]*Ticket), dirty: make(map[*Ticket]bool),
		elsewhere: elsewhere{departed: make(map[string]string), parting: make(map[string]*Ticket), seizing: make(map[string][]func()), beats: make(map[string]time.Time), dead: make(map[string]time.Time)},
	}
	t.life, t.end = context.WithCancel(context.Background())
	return t
}

// Run saves tickets and looks after feeds, until ctx ends; then it saves once more.
func (t *Table) Run(ctx context.Context) {
	t.running.Go(t.tickOn) // not here: saving waits for JetStream, and a tick that does not come means that the process was stopped
	for {
		select {
		case <-ctx.Done():
			t.end()
			t.running.Wait()
			t.save()
			return
		case <-t.wake:
			t.save()
		}
	}
}

// tickOn ticks until the end.
func (t *Table) tickOn() {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-t.life.Done():
			return
		case <-ticker.C:
			t.tick(time.Now()) // the tick itself may be from before a stop
		}
	}
}

// losses counts what may have cost messages, and sockets: see Wire.Losses.
func (t *Table) losses() uint64 {
	now, last := time.Now().UnixNano(), t.ticked.Load()
	if last != 0 && now-last > int64(napAfter) && t.ticked.CompareAndSwap(last, now) {
		t.naps.Add(1)
	}
	return t.set.Wire.Losses() + t.naps.Load()
}

// doubt has all records written again: the store says whose the sockets are. Nothing is handed out before.
func (t *Table) doubt() {
	t.doubtful.Store(true)
	t.wake.Raise()
}

// tick gives marks up that were lost, finds feeds that lack something, and says that the edge lives.
func (t *Table) tick(now time.Time) {
	t.losses()
	t.ticked.Store(now.UnixNano())
	feeds := t.all()
	t.mu.Lock()
	used := len(t.tickets) > 0
	t.mu.Unlock()
	if len(feeds) > 0 {
		t.set.Wire.Exclusive(func() {
			if feeds[0].isSilent(now) {
				lost(feeds)
			}
			for i, f := range feeds {
				f.tick(now, i == 0)
			}
		})
	}
	if used && now.Sub(t.beaten) >= beatEvery {
		t.beaten = now
		t.set.Store.Beat(t.set.Edge)
		t.rewrite(now)
	}
}

// all returns the feeds, always in the same order.
func (t *Table) all() []*Feed {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.feeds), func(a, b *Feed) int { return cmp.Compare(a.namespace, b.namespace) })
}

// Elected is called when JetStream says that the log has another leader, before anything is handled that comes later:
// what was stored in between may not have been repeated. The NATS reader calls it.
func (t *Table) Elected() { lost(t.all()) }

// lost has feeds read in the log what they may not have received.
func lost(feeds []*Feed) {
	for _, f := range feeds {
		if f.Lost(); f.state == deaf && f.number == 0 && !f.table.doubtful.Load() {
			f.mark(time.Now())
		}
	}
}

// Renewed is called when the log was found, or was made again: what was known of the old one means nothing.
func (t *Table) Renewed(string) {
	isFirst := !t.found.Swap(true)
	feeds := t.all()
	t.set.Wire.Exclusive(func() {
		for _, f := range feeds {
			f.restart(isFirst)
		}
	})
	t.mu.Lock() // behind the feeds, whose first events become positions
	for _, k := range t.tickets {
		k.restart(isFirst)
		t.dirty[k] = true
	}
	t.mu.Unlock()
	t.wake.Raise()
}

// Unknown calls answer for a socket that is not here, unless another edge may have it: that one answers. The record
// shows it, because this edge may have been without NATS when the client came back. answer must not wait.
func (t *Table) Unknown(id string, answer func()) {
	t.mu.Lock()
	k, hash := t.parting[id], t.departed[id]
	t.mu.Unlock()
	switch {
	case k != nil:
		t.AfterSaved([]*Ticket{k}, func(saved bool) {
			if saved {
				t.Unknown(id, answer)
			}
		})
	case hash == "":
		answer()
	default:
		t.lookUp(hash, answer)
	}
}

// holderAnswers is how long an edge has that ends a socket for a command, to answer that itself: others that look up
// the record meanwhile would say that there is no such socket.
const holderAnswers = time.Second / 2

// lookUp calls fn if a record says that no edge has its socket, behind the answer of an edge that has just ended it. It
// does not if JetStream does not answer, or if too many records are looked up.
func (t *Table) lookUp(hash string, fn func()) {
	select {
	case t.claims <- struct{}{}:
	default:
		return
	}
	t.running.Go(func() {
		ctx, stop := context.WithTimeout(t.life, claimTimeout)
		defer stop()
		found, err := t.set.Store.Record(ctx, hash)
		<-t.claims
		r, failed := recovery.ParseRecord(found.Body)
		switch {
		case errors.Is(err, eventlog.ErrNoRecord):
		case err != nil, failed != nil, r.Left == 0 && !r.Ended:
			return
		case found.Holder != t.set.Edge && t.set.Wire.IsHeard(found.Holder, deadWithin):
			pause(ctx, holderAnswers)
		}
		fn()
	})
}

// depart notes that another edge may have a socket from now on. mu must be held.
func (t *Table) depart(id, hash string) {
	if _, known := t.departed[id]; known || !subjects.IsSocketID(id) {
		return
	}
	if len(t.order) >= maxDeparted {
		delete(t.departed, t.order[0])
		t.order = t.order[1:]
	}
	t.departed[id] = hash
	t.order = append(t.order, id)
}

// Offset is the offset of an event.
func (t *Table) Offset(seq uint64) recovery.Offset {
	return recovery.Offset{Epoch: t.set.Store.Epoch(), Seq: seq}
}

// Metrics adds what is counted to a set.
func (t *Table) Metrics(set *tally.Set) {
	st := &t.stats
	for _, one := range []struct {
		counter *tally.Counter
		word    string
	}{{&st.recovered, "recovered"}, {&st.refused, "nothing to recover"}, {&st.lateOffset, "events are missing"}, {&st.busy, "no answer"}, {&st.taken, "taken over"}} {
		set.LabelledCounter(one.counter, "recoveries_total", "Clients that came back with the id of a session, by outcome.", "outcome", one.word)
	}
	set.Counter(&st.replayed, "replayed_total", "Events read from the log for clients that had missed them.")
	set.Counter(&st.healed, "log_healed_total", "Times a namespace read in the log what this edge had missed without NATS.")
	set.Counter(&st.rewinds, "rewinds_total", "Times the last events of a room were read, for all sockets that entered it at the time.")
	set.Counter(&st.unread, "rewinds_failed_total", "Times they could not be read: the sockets got later events only.")
	set.Counter(&st.holes, "log_holes_total", "Times the log did not have any more what this edge had missed.")
	set.Counter(&st.unsaved, "records_unsaved_total", "Records of sockets that could not be written; tried again.")
	set.Func(tally.KindGauge, "log_lag_seconds", "How long a message takes through the log and back to this edge.",
		func() float64 { return time.Duration(st.lag.Value()).Seconds() })
	t.complaints.Metrics(set, "recovery")
}
