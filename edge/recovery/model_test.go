package recovery

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"partyline/eventlog"
	"partyline/wire/msg"
	"partyline/wire/recovery"
)

// world is some edges around one store, and clients that come back to them.
type world struct {
	mu      sync.Mutex
	records map[string]stored    // guarded by mu: by hash of the pid
	beats   map[string]time.Time // guarded by mu
	seq     uint64               // guarded by mu
	away    bool                 // guarded by mu: the store does not answer
	edges   map[string]*modelEdge
}

func newWorld() *world {
	return &world{records: make(map[string]stored), beats: make(map[string]time.Time), edges: make(map[string]*modelEdge)}
}

type stored struct {
	eventlog.Record
	claim string
}

// modelEdge is an edge: a Table, and the sockets that are live on it.
type modelEdge struct {
	*world
	id    string
	table *Table
	end   context.CancelFunc
	ended sync.WaitGroup

	reader sync.Mutex    // held while anything from NATS is handled
	marked atomic.Uint64 // the last mark

	wentBack atomic.Bool
	slow     time.Duration // how long the log takes to read; static while it is read
	handed   []uint64      // guarded by reader: events that waited while the log was read, or are from it
	log      []uint64      // what it has; static while it is read

	// guarded by world.mu
	live   map[string]*Ticket // by id of the socket
	why    error
	isDead bool // its process was killed
	isDeaf bool // nothing reaches it, and it announces nothing
}

func (w *world) start(id string) *modelEdge {
	e := &modelEdge{world: w, id: id, live: make(map[string]*Ticket)}
	e.table = New(Settings{Edge: id, Wire: e, Store: e, Log: slog.New(slog.DiscardHandler), Silence: time.Second})
	e.table.Renewed("")
	w.mu.Lock()
	w.edges[id] = e
	w.mu.Unlock()
	ctx, end := context.WithCancel(context.Background())
	e.end = end
	e.ended.Go(func() { e.table.Run(ctx) })
	return e
}

// The store.

func (e *modelEdge) Epoch() string                                                  { return "abcde" }
func (e *modelEdge) Doubt()                                                         {}
func (e *modelEdge) WentBack()                                                      { e.wentBack.Store(true) }
func (e *modelEdge) Beat(edge string)                                               { e.mu.Lock(); e.beats[edge] = time.Now(); e.mu.Unlock() }
func (e *modelEdge) Mark(ns string, n uint64)                                       { e.marked.Store(n) }
func (e *modelEdge) HandOut(l *eventlog.Entry)                                      { e.handed = append(e.handed, l.Seq) }
func (e *modelEdge) Losses() uint64                                                 { return 1 }
func (e *modelEdge) Describe(k *Ticket) State                                       { return State{User: k.ID} }
func (e *modelEdge) Exclusive(fn func())                                            { e.reader.Lock(); defer e.reader.Unlock(); fn() }
func (e *modelEdge) Last(context.Context, eventlog.Last) ([]*eventlog.Entry, error) { return nil, nil }

func (e *modelEdge) Read(s eventlog.Scan) {
	go func() {
		time.Sleep(e.slow)
		for _, seq := range e.log {
			if seq > s.From && seq <= s.To {
				s.Each(&eventlog.Entry{Seq: seq, Time: time.Now()})
			}
		}
		s.Done(s.From+1, nil)
	}()
}

func (e *modelEdge) LastBeat(_ context.Context, edge string) (time.Time, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if beat, known := e.beats[edge]; known {
		return beat, nil
	}
	return time.Time{}, eventlog.ErrNoRecord
}

func (e *modelEdge) Record(_ context.Context, key string) (eventlog.Record, error) {
	time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away {
		return eventlog.Record{}, eventlog.ErrAway
	}
	r, known := e.records[key]
	if !known {
		return eventlog.Record{}, eventlog.ErrNoRecord
	}
	return r.Record, nil
}

func (e *modelEdge) Write(w eventlog.Write) {
	go func() {
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		e.mu.Lock()
		before, known := e.records[w.Key]
		var err error
		var seq uint64
		switch {
		case e.isDead:
			err = eventlog.ErrAway // nobody reads this
		case e.isDeaf, e.away:
			e.mu.Unlock()
			time.Sleep(3 * time.Second)
			w.Done(0, eventlog.ErrAway)
			return
		case known && before.Seq != w.Expected && before.claim != w.Claim:
			err = eventlog.ErrClaimed
		default:
			e.seq++
			seq = e.seq
			e.records[w.Key] = stored{eventlog.Record{Holder: w.Holder, Body: w.Body, Seq: seq}, w.Claim}
		}
		e.mu.Unlock()
		w.Done(seq, err)
	}()
}

// Other edges.

func (e *modelEdge) IsHeard(edge string, within time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	other := e.edges[edge]
	return other != nil && !other.isDead && !other.isDeaf
}

func (e *modelEdge) Drop(k *Ticket) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live[k.ID] == k {
		delete(e.live, k.ID)
	}
}

func (e *modelEdge) Yield(ctx context.Context, holder, hash, id string) (Claimed, error) {
	e.mu.Lock()
	other := e.edges[holder]
	dead, deaf := other == nil || other.isDead, other != nil && other.isDeaf
	e.mu.Unlock()
	switch {
	case dead:
		return Claimed{}, ErrDead
	case deaf:
		<-ctx.Done()
		return Claimed{}, ctx.Err()
	}
	type answer struct {
		c   Claimed
		err error
	}
	got := make(chan answer, 1)
	other.table.Yield(hash, id, func(c Claimed, err error) { got <- answer{c, err} })
	select {
	case a := <-got:
		return a.c, a.err
	case <-ctx.Done():
		return Claimed{}, ctx.Err()
	}
}

// holders lists the edges, of those that can reach a client, on which a socket is live.
func (w *world) holders(id string) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.edges {
		if e.live[id] != nil && !e.isDead && !e.isDeaf && !e.table.doubtful.Load() {
			all = append(all, e.id)
		}
	}
	return all
}

// command has the edge at which a socket began receive a command about it. It must not answer for one that another
// edge has.
func (w *world) command(t *testing.T, id string) {
	on := w.holders(id)
	w.mu.Lock()
	first := w.edges[id[:8]]
	isHere := first != nil && !first.isDead && !first.isDeaf && first.live[id] == nil
	w.mu.Unlock()
	if !isHere || len(on) != 1 || on[0] == first.id {
		return
	}
	w.mu.Lock()
	k := w.edges[on[0]].live[id]
	w.mu.Unlock()
	first.table.Unknown(id, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if e := w.edges[on[0]]; e != nil && !e.isDead && e.live[id] == k {
			t.Errorf("%s calls %s unknown, which is live on %v", first.id, id, on)
		}
	})
}

// modelClient is a client that shows its pid.
type modelClient struct{ id, pid string }

// comeBack has a client come back to an edge, and reports whether it got its socket.
func (e *modelEdge) comeBack(c modelClient, done func(bool)) {
	e.table.Claim(20*time.Second, c.pid, "", "/chat", "chat", time.Minute, func(k *Ticket, _ *Claimed, err error) {
		if err != nil {
			e.mu.Lock()
			e.why = err
			e.mu.Unlock()
			done(false)
			return
		}
		e.mu.Lock()
		got := k.SetClient(k)
		if got {
			e.live[k.ID] = k
		}
		e.mu.Unlock()
		done(got)
	})
}

// Whatever the edges and the store do, a socket is live on one edge at most, and a client that comes back in time gets
// it.
func TestOneHolder(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func play(t *testing.T, random *rand.Rand) {
	w := newWorld()
	names := []string{"aaaaaaaa", "bbbbbbbb", "cccccccc"}
	for _, name := range names {
		w.start(name)
	}
	defer func() {
		for _, e := range w.edges {
			w.mu.Lock()
			e.isDead, e.isDeaf = true, false
			w.mu.Unlock()
			e.end()
			e.ended.Wait()
		}
	}()
	var clients []modelClient
	for i := range 4 {
		e := w.edges[names[i%3]]
		id := fmt.Sprintf("%s.AAAAAAAAAAAAAAAAAAA%d", e.id, i)
		e.mu.Lock()
		k := e.table.Issue(id, "/chat", "chat", time.Minute, "client")
		e.live[id] = k
		e.mu.Unlock()
		k.Save(func(bool) {})
		clients = append(clients, modelClient{id, k.PID})
	}
	time.Sleep(time.Second)
	for step := range 60 {
		e, c := w.edges[names[random.IntN(3)]], clients[random.IntN(len(clients))]
		w.mu.Lock()
		usable := !e.isDead && !e.isDeaf
		w.mu.Unlock()
		what := random.IntN(10)
		switch {
		case what < 4 && usable:
			e.comeBack(c, func(bool) {})
			if random.IntN(2) == 0 { // twice at once, from two connections
				w.edges[names[random.IntN(3)]].comeBack(c, func(bool) {})
			}
		case what < 6 && usable: // a connection breaks
			e.mu.Lock()
			k := e.live[c.id]
			delete(e.live, c.id)
			e.mu.Unlock()
			if k != nil {
				k.Left("transport close", true, func() {})
			}
		case what == 6: // an edge is cut off for a while, and finds out
			w.mu.Lock()
			was := e.isDeaf
			e.isDeaf = !was && !e.isDead
			w.mu.Unlock()
			if was {
				e.table.doubt()
				time.Sleep(4 * time.Second) // what it has written anew shows whose the sockets are
			}
		case what == 7: // killed, and started under another name
			w.mu.Lock()
			e.isDead, e.isDeaf = true, false
			w.mu.Unlock()
			e.end()
			e.ended.Wait()
			w.mu.Lock()
			delete(w.edges, e.id)
			w.mu.Unlock()
			names[indexOf(names, e.id)] = fmt.Sprintf("edge%04d", step)
			w.start(fmt.Sprintf("edge%04d", step))
		default:
			w.mu.Lock()
			w.away = !w.away && random.IntN(3) == 0
			w.mu.Unlock()
		}
		time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
		for _, c := range clients {
			if on := w.holders(c.id); len(on) > 1 {
				t.Fatalf("step %d: %s is live on %v", step, c.id, on)
			}
			w.command(t, c.id)
		}
	}
	w.mu.Lock()
	w.away = false
	for _, e := range w.edges {
		e.isDeaf = false
		e.table.doubt()
	}
	w.mu.Unlock()
	time.Sleep(msg.DeadAfter + 5*time.Second)
	for _, c := range clients { // all come back in the end, to one place
		if on := w.holders(c.id); len(on) > 1 {
			t.Fatalf("at the end %s is live on %v", c.id, on)
		}
		var got bool
		var wait sync.WaitGroup
		wait.Add(1)
		w.edges[names[0]].comeBack(c, func(ok bool) { got = ok; wait.Done() })
		wait.Wait()
		w.mu.Lock()
		r, known := w.records[recovery.Hash(c.pid)]
		why, beat := w.edges[names[0]].why, w.beats[r.Holder]
		w.mu.Unlock()
		if !got && known {
			parsed, _ := recovery.ParseRecord(r.Body)
			left := time.UnixMilli(parsed.Left)
			if parsed.Left == 0 {
				left = beat
			}
			if time.Since(left) < 50*time.Second {
				t.Errorf("%s does not come back: %s at %s: %v", c.id, r.Body, r.Holder, why)
			}
		}
	}
}

func indexOf(names []string, name string) int {
	for i := range names {
		if names[i] == name {
			return i
		}
	}
	return -1
}
