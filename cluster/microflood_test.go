package cluster

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"partyline/bus"
	"partyline/internal/throttle"
	"partyline/subjects"
	"partyline/wire/msg"
)

// idleWorker is a bus whose worker does nothing by itself.
type idleWorker struct {
	Bus
	waiting []func()
	letters map[string]int // by subject
}

func (b *idleWorker) Do(fn func())       { b.waiting = append(b.waiting, fn) }
func (b *idleWorker) Later(l bus.Letter) { b.letters[l.Subject]++ }
func (*idleWorker) Received() uint64     { return 0 }
func (*idleWorker) Dropped() uint64      { return 0 }

// work does what waits.
func (b *idleWorker) work() {
	for _, fn := range b.waiting {
		fn()
	}
	b.waiting = nil
}

func newIdle(t *testing.T) (*idleWorker, *Cluster) {
	t.Helper()
	prefix, err := subjects.NewPrefix("sio")
	if err != nil {
		t.Fatal(err)
	}
	b := &idleWorker{letters: make(map[string]int)}
	log := slog.New(slog.DiscardHandler)
	return b, &Cluster{
		set: Settings{ID: "a0000000", Prefix: prefix, Bus: b, Log: log, Sockets: func() int { return 0 },
			MayAnswer: func(*bus.Message) bool { return true }, Figures: func() Figures { return Figures{} },
			Counts: func() (none msg.EdgeCounts) { return none }},
		reserved: "sio.$", complaints: throttle.New(log), questions: newQuestions(), beatNow: make(chan struct{}, 1),
	}
}

// A flood of one kind of request costs the worker one response, takes the place of no other kind, and is over with the
// flood.
func TestServiceRequestsAreBounded(t *testing.T) {
	kinds := map[string]int{"$SRV.PING": microBurst, "$SRV.INFO": microBurst, "$SRV.STATS": microBurst,
		"$SRV.STATS.partyline-edge": microBurst, "$SRV.STATS.partyline-edge.a0000000": microBurst,
		"sio.$svc.shop.shop-1.hello": helloBurst}
	for flood, burst := range kinds {
		synctest.Test(t, func(t *testing.T) {
			b, c := newIdle(t)
			for i := range 50_000 {
				c.Handle(&bus.Message{Subject: flood, Reply: fmt.Sprintf("_INBOX.x.%d", i)})
			}
			if len(b.waiting) != 1 {
				t.Fatalf("%s: the worker has %d things to do", flood, len(b.waiting))
			}
			b.work()
			if len(b.letters) != burst || c.stats.unanswered.Value() != 50_000-uint64(burst) {
				t.Errorf("%s: %d requests were answered, %d counted as dropped", flood, len(b.letters), c.stats.unanswered.Value())
			}
			for other := range kinds {
				clear(b.letters)
				c.Handle(&bus.Message{Subject: other, Reply: "_INBOX.y"})
				b.work()
				if answered := b.letters["_INBOX.y"] == 1; answered == (other == flood) {
					t.Errorf("in a flood of %s, %s was answered: %v", flood, other, answered)
				}
			}
			time.Sleep(time.Second)
			clear(b.letters)
			c.Handle(&bus.Message{Subject: flood, Reply: "_INBOX.y"})
			if b.work(); b.letters["_INBOX.y"] != 1 {
				t.Errorf("%s: the flood is over, and a request is not answered", flood)
			}
		})
	}
}

// What is no request of the protocol has no answer.
func TestOtherServiceRequests(t *testing.T) {
	b, c := newIdle(t)
	for _, subject := range []string{"$SRV.", "$SRV.X", "$SRV.PING.a.b.c", "$SRV.ping", "$SRV.X.partyline-edge"} {
		c.Handle(&bus.Message{Subject: subject, Reply: "_INBOX.x"})
	}
	if b.work(); len(b.letters) > 0 {
		t.Errorf("%d were answered", len(b.letters))
	}
}
