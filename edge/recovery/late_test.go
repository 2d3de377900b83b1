package recovery

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// withFeed runs test in a bubble, with a feed of an edge that has published its first mark.
func withFeed(t *testing.T, test func(t *testing.T, e *modelEdge, feed *Feed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := newWorld().start("aaaaaaaa")
		defer func() {
			e.end()
			e.ended.Wait()
		}()
		feed := e.table.Issue("aaaaaaaa.AAAAAAAAAAAAAAAAAAAA", "/chat", "chat", time.Minute, "client").Feed()
		time.Sleep(2 * time.Second) // the first tick publishes a mark
		test(t, e, feed)
	})
}

// underElection is withFeed; the log has some events, and the feed stands at 10.
func underElection(t *testing.T, log []uint64, test func(e *modelEdge, feed *Feed)) {
	t.Helper()
	withFeed(t, func(_ *testing.T, e *modelEdge, feed *Feed) {
		e.Exclusive(func() { feed.Returned(e.marked.Load(), 10) })
		e.log = log
		test(e, feed)
	})
}

// elected lets another leader be elected, whose first mark is back after some time.
func (e *modelEdge) elected(feed *Feed, after time.Duration, mark uint64) {
	e.Exclusive(e.table.Elected)
	time.Sleep(after)
	e.Exclusive(func() { feed.Returned(e.marked.Load(), mark) })
	synctest.Wait()
}

func (e *modelEdge) take(feed *Feed, seqs ...uint64) {
	e.Exclusive(func() {
		for _, seq := range seqs {
			feed.Take(seq, nil)
			feed.HandedOut(seq, "") // as the fanout does
		}
	})
}

func (e *modelEdge) wasHanded() []uint64 {
	e.reader.Lock()
	defer e.reader.Unlock()
	return slices.Clone(e.handed)
}

// A new leader of the log repeats the end of what the one before has stored, but not all of it, before it says that it
// leads. What was not repeated is handed out then, once, however long there is no leader.
func TestWhatNoLeaderRepeats(t *testing.T) {
	for _, after := range []time.Duration{0, 8500 * time.Millisecond} {
		underElection(t, []uint64{5, 10, 11, 12, 13, 14, 15}, func(e *modelEdge, feed *Feed) {
			e.take(feed, 11, 14)
			e.elected(feed, after, 16)
			e.elected(feed, 0, 17) // another one changes nothing
			if got := e.wasHanded(); !slices.Equal(got, []uint64{12, 13, 15}) {
				t.Errorf("a mark came after %v: handed out: %d", after, got)
			}
		})
	}
}

// What is handed out does not make an edge forget what else it lacks.
func TestMuchThatNoLeaderRepeats(t *testing.T) {
	const until = 70_000 // more than an edge remembers
	var log []uint64
	for seq := uint64(11); seq < until; seq++ {
		log = append(log, seq)
	}
	underElection(t, log, func(e *modelEdge, feed *Feed) {
		for _, seq := range log {
			if seq < 40_000 || seq >= 40_100 {
				e.take(feed, seq)
			}
		}
		e.elected(feed, 0, until)
		if got := e.wasHanded(); len(got) != 100 || got[0] != 40_000 {
			t.Errorf("handed out: %d", got)
		}
	})
}

// Another namespace that is ahead does not make one forget.
func TestANamespaceBehindAnother(t *testing.T) {
	underElection(t, nil, func(e *modelEdge, feed *Feed) {
		ahead := e.table.Issue("aaaaaaaa.BBBBBBBBBBBBBBBBBBBB", "/a", "a", time.Minute, "client").Feed()
		for i := range uint64(100) {
			e.take(ahead, 10_000+i)
			e.take(feed, 101+i)
			time.Sleep(100 * time.Millisecond)
		}
		e.take(feed, 300)
		if !feed.recent.Lacks(250) {
			t.Errorf("it remembers from %d, and is at %d", feed.recent.From(300), feed.Position())
		}
	})
}

// A namespace that has taken nothing yet reads from its position, not from the beginning.
func TestAPositionWithoutEvents(t *testing.T) {
	withFeed(t, func(t *testing.T, e *modelEdge, feed *Feed) {
		e.Exclusive(func() { feed.HandedOut(5000, "") }) // by an earlier feed of the namespace that reads
		e.log = []uint64{1, 4000, 5001}
		e.elected(feed, 0, 6000)
		if got := e.wasHanded(); !slices.Equal(got, []uint64{5001}) {
			t.Errorf("handed out: %d", got)
		}
	})
}
