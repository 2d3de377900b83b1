package recovery

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"partyline/eventlog"
	"partyline/wire/recovery"
)

// A change of a socket that another edge has got meanwhile is not in the record, and is not answered as if it were.
func TestAChangeTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, b := w.start("aaaaaaaa"), w.start("bbbbbbbb")
		defer func() {
			for _, e := range w.edges {
				e.end()
				e.ended.Wait()
			}
		}()
		for _, change := range []func(k *Ticket){
			func(k *Ticket) { k.Changed(nil) },
			func(k *Ticket) { k.Left("server namespace disconnect", false, func() {}) },
		} {
			k := a.table.Issue("aaaaaaaa.AAAAAAAAAAAAAAAAAAAA", "/chat", "chat", time.Minute, "client")
			k.Save(func(bool) {})
			synctest.Wait()
			k.Changed([]string{"r"})
			saved := make(chan bool, 1)
			a.table.AfterSaved([]*Ticket{k}, func(ok bool) { saved <- ok })
			if !<-saved {
				t.Error("a change before it is not saved")
			}
			b.comeBack(modelClient{k.ID, k.PID}, func(got bool) { saved <- got })
			if !<-saved {
				t.Error("its client does not come back")
			}
			change(k)
			a.table.AfterSaved([]*Ticket{k}, func(ok bool) { saved <- ok })
			if <-saved {
				t.Error("a change behind it is called saved")
			}
		}
	})
}

// A command waits a second for events that were published before it, and longer while the edge knows that it lacks
// some.
func TestACommandWaitsForWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		e := w.start("aaaaaaaa")
		defer func() {
			e.end()
			e.ended.Wait()
		}()
		feed := e.table.Issue("aaaaaaaa.AAAAAAAAAAAAAAAAAAAA", "/chat", "chat", time.Minute, "client").Feed()
		ran := make(chan uint64, 1)
		send := func() { e.Exclusive(func() { feed.Fence(func() { ran <- feed.Position() }) }) }
		mark := func(seq uint64) { e.Exclusive(func() { feed.Returned(e.marked.Load(), seq) }) }
		send()
		time.Sleep(900 * time.Millisecond)
		if len(ran) > 0 {
			t.Error("it did not wait")
		}
		time.Sleep(400 * time.Millisecond)
		if len(ran) == 0 {
			t.Error("it waits for longer than a second")
		}
		<-ran
		mark(1)
		e.Exclusive(feed.Lost)
		send()
		time.Sleep(3 * time.Second)
		mark(10) // what is missing is read up to here
		synctest.Wait()
		mark(11)
		if at := <-ran; at != 11 {
			t.Errorf("it ran at %d, before the end of what was missing", at)
		}
	})
}

// What the log stores around an election of its leader, or while it is silent, may not be repeated: an edge reads it
// before it goes on.
func TestNothingIsTakenBehindAnElection(t *testing.T) {
	withFeed(t, func(t *testing.T, e *modelEdge, feed *Feed) {
		takes := func(seq uint64) (takes bool) {
			e.Exclusive(func() { takes = feed.Take(seq, func() *eventlog.Entry { return &eventlog.Entry{Seq: seq} }) })
			return takes
		}
		mark := func(seq uint64) {
			e.Exclusive(func() { feed.Returned(e.marked.Load(), seq) })
			synctest.Wait()
		}
		mark(10)
		if !takes(11) {
			t.Fatal("an event is not taken")
		}
		e.Exclusive(e.table.Elected)
		if takes(14) {
			t.Error("an event is taken, and what was stored before it may be missing")
		}
		mark(15)
		if !takes(16) {
			t.Error("no event is taken once what was missing is read")
		}
		time.Sleep(1300 * time.Millisecond) // JetStream may have another leader after that
		if takes(20) {
			t.Error("an event is taken behind a silence")
		}
	})
}

// While an edge reads what it has missed for long, it does not notice a silence of the log: what came meanwhile is read
// in the log, too.
func TestNothingIsTakenBehindALongReading(t *testing.T) {
	for slow, want := range map[time.Duration]int{2 * time.Second: 0, 100 * time.Millisecond: 1} {
		withFeed(t, func(t *testing.T, e *modelEdge, feed *Feed) {
			e.Exclusive(func() { feed.Returned(e.marked.Load(), 10) })
			e.slow = slow
			e.Exclusive(e.table.Elected)
			e.Exclusive(func() { feed.Returned(e.marked.Load(), 15) })
			e.Exclusive(func() { feed.Take(30, func() *eventlog.Entry { return &eventlog.Entry{Seq: 30} }) })
			time.Sleep(slow + 10*time.Millisecond)
			e.reader.Lock()
			defer e.reader.Unlock()
			if len(e.handed) != want || feed.Position() != 15 {
				t.Errorf("reading took %v: the events %d were handed out behind it; it is at %d", slow, e.handed, feed.Position())
			}
		})
	}
}

// An edge that has read what was in the log, be it nothing, misses nothing of what comes next.
func TestNothingIsMissedBehindAnEmptyLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newWorld().start("aaaaaaaa")
		defer func() {
			e.end()
			e.ended.Wait()
		}()
		feed := e.table.Issue("aaaaaaaa.AAAAAAAAAAAAAAAAAAAA", "/chat", "chat", time.Minute, "client").Feed()
		e.table.Renewed("") // the log was made again
		e.Exclusive(func() { feed.Returned(e.marked.Load(), 1) })
		synctest.Wait()
		e.Exclusive(feed.Lost)
		e.Exclusive(func() {
			if feed.Take(9, func() *eventlog.Entry { return &eventlog.Entry{Seq: 9} }) {
				t.Error("an event is taken, and earlier ones were lost")
			}
		})
	})
}

// A leader of the log that was replaced repeats a mark late, behind events of the next one. The log has not gone back:
// it has if a mark comes in front of what was taken before it was published.
func TestALateMark(t *testing.T) {
	withFeed(t, func(t *testing.T, e *modelEdge, feed *Feed) {
		var reached uint64
		e.Exclusive(func() {
			feed.Take(20, nil)
			feed.AfterMark(func(seq uint64) { reached = seq })
			feed.Returned(e.marked.Load(), 10)
		})
		if e.wentBack.Load() || reached > 0 {
			t.Errorf("a late mark counts: %v, %d", e.wentBack.Load(), reached)
		}
		e.Exclusive(func() { feed.Returned(e.marked.Load(), 21) })
		e.Exclusive(func() { feed.Returned(e.marked.Load(), 22) })
		if reached != 22 {
			t.Errorf("the next mark has not come back: %d", reached)
		}
		e.Exclusive(func() {
			feed.AfterMark(func(uint64) {})
			feed.Returned(e.marked.Load(), 5)
		})
		if !e.wentBack.Load() {
			t.Error("the log has gone back, and nobody says so")
		}
	})
}

// A client comes back to an edge that has received its first event, and perhaps has found the log and not noted that
// yet. Its record still says since when events are for it: 0 if it was there before the log's first event.
func TestPositionsOutliveEdges(t *testing.T) {
	for _, entered := range []uint64{7, 0} {
		for _, hasNoted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				a, b := w.start("aaaaaaaa"), w.start("bbbbbbbb")
				defer func() {
					for _, e := range w.edges {
						e.end()
						e.ended.Wait()
					}
				}()
				k := a.table.Issue("aaaaaaaa.AAAAAAAAAAAAAAAAAAAA", "/chat", "chat", time.Minute, "client")
				k.Enter([]string{"r"}, entered)
				done := make(chan bool, 1)
				k.Save(func(saved bool) { done <- saved })
				<-done
				b.table.found.Store(hasNoted)
				b.comeBack(modelClient{k.ID, k.PID}, func(got bool) { done <- got })
				if !<-done {
					t.Fatal("its client does not come back")
				}
				b.table.Feed("chat").first.Store(20) // the first event that this edge has received
				if !hasNoted {
					b.table.Renewed("")
				}
				b.live[k.ID].Enter([]string{"r"}, 19)
				b.live[k.ID].Save(func(saved bool) { done <- saved })
				<-done
				w.mu.Lock()
				defer w.mu.Unlock()
				r, err := recovery.ParseRecord(w.records[k.hash].Body)
				if err != nil || r.Start != entered || r.Rooms["r"] != entered {
					t.Errorf("%v: the record says %d, %v, want %d", err, r.Start, r.Rooms, entered)
				}
			})
		}
	}
}

// A socket has moved from its first edge, and has left or ended elsewhere. Its first edge says so, which alone may
// receive commands about it now; while another edge has the socket, it does not.
func TestTheFirstEdgeAnswersForOneThatHasLeft(t *testing.T) {
	for _, isRecoverable := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			a, b := w.start("aaaaaaaa"), w.start("bbbbbbbb")
			defer func() {
				for _, e := range w.edges {
					e.end()
					e.ended.Wait()
				}
			}()
			k := a.table.Issue("aaaaaaaa.AAAAAAAAAAAAAAAAAAAA", "/chat", "chat", time.Minute, "client")
			done := make(chan bool, 1)
			k.Save(func(saved bool) { done <- saved })
			<-done
			b.comeBack(modelClient{k.ID, k.PID}, func(got bool) { done <- got })
			if !<-done {
				t.Fatal("its client does not come back")
			}
			var answers atomic.Int64
			answer := func() { answers.Add(1) }
			a.table.Unknown(k.ID, answer)
			if time.Sleep(time.Second); answers.Load() > 0 {
				t.Error("it answers for a socket that another edge has")
			}
			b.live[k.ID].Left("some reason", isRecoverable, func() {})
			time.Sleep(time.Second)
			a.table.Unknown(k.ID, answer)
			if time.Sleep(time.Second); answers.Load() != 1 {
				t.Errorf("recoverable %v: %d answers", isRecoverable, answers.Load())
			}
		})
	}
}

// An edge has given up a claim whose record was stored all the same. Its client comes back, there or elsewhere.
func TestARecordWhoseHolderHasNoSocket(t *testing.T) {
	for _, at := range []string{"aaaaaaaa", "bbbbbbbb"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			a := w.start("aaaaaaaa")
			w.start("bbbbbbbb")
			defer func() {
				for _, e := range w.edges {
					e.end()
					e.ended.Wait()
				}
			}()
			k := a.table.Issue("aaaaaaaa.AAAAAAAAAAAAAAAAAAAA", "/chat", "chat", time.Minute, "client")
			done := make(chan bool, 1)
			k.Save(func(saved bool) { done <- saved })
			<-done
			k.Forget()
			w.edges[at].comeBack(modelClient{k.ID, k.PID}, func(got bool) { done <- got })
			if !<-done {
				t.Errorf("its client does not come back to %s: %v", at, w.edges[at].why)
			}
		})
	}
}

// savesFirst is an edge that writes records before its NATS reader gets to anything else.
type savesFirst struct {
	*modelEdge
	table *Table
}

func (e *savesFirst) Exclusive(fn func()) {
	e.table.save()
	e.modelEdge.Exclusive(fn)
}

// Positions in a log that is gone do not enter the record of the next one.
func TestPositionsOfALogThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		e := &savesFirst{modelEdge: &modelEdge{world: w, id: "aaaaaaaa", live: make(map[string]*Ticket)}}
		e.table = New(Settings{Edge: e.id, Wire: e, Store: e, Log: slog.New(slog.DiscardHandler)})
		e.table.Renewed("")
		k := e.table.Issue("aaaaaaaa.AAAAAAAAAAAAAAAAAAAA", "/chat", "chat", time.Minute, "client")
		k.Enter([]string{"r"}, 19)
		k.Feed().first.Store(20)
		e.table.Renewed("")
		e.table.save()
		r, err := recovery.ParseRecord(w.records[k.hash].Body)
		if err != nil || r.Start != 0 || r.Rooms["r"] != 0 {
			t.Errorf("%v: the record says %d, %v", err, r.Start, r.Rooms)
		}
	})
}
