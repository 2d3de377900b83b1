package bus

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/natsd/natsdtest"
	"partyline/internal/subscriptions"
)

// idle is a bus whose worker does nothing by itself.
func idle() *Bus {
	return newBus(slog.New(slog.DiscardHandler), Options{}, "sio")
}

// waiting returns how many entries wait, in the outbox and for NATS.
func waiting(b *Bus) int { return len(b.out.entries) + len(b.work.kept) }

// Queued answers leave room for notices that must be kept, and the other way round. An entry without room is counted
// by kind.
func TestAnswersAndNoticesHaveBoundsOfTheirOwn(t *testing.T) {
	for _, order := range [][]bool{{false, true}, {true, false}} {
		b := idle()
		for _, keep := range order {
			most := bounds[answer].entries
			if keep {
				most = bounds[notice].entries
			}
			for range most + 3 {
				b.Later(Letter{Subject: "a", Header: nil, Body: nil, Keep: keep})
			}
		}
		if n := waiting(b); n != bounds[answer].entries+bounds[notice].entries {
			t.Errorf("%d letters wait", n)
		}
		if b.Waiting() != bounds[answer].entries {
			t.Errorf("%d answers wait", b.Waiting())
		}
		b.work.pass() // without a connection, answers are dropped
		if n := waiting(b); n != bounds[notice].entries {
			t.Errorf("%d notices are kept", n)
		}
		b.Later(Letter{Subject: "a", Header: nil, Body: nil, Keep: true})
		b.Later(Letter{Subject: "a", Header: nil, Body: nil, Keep: false})
		if n := waiting(b); n != bounds[notice].entries+1 {
			t.Errorf("%d letters wait", n)
		}
		s := &b.stats
		if a, n := s.unsent[answer].Value(), s.unsent[notice].Value(); int(a) != bounds[answer].entries+3 || n != 4 {
			t.Errorf("%d answers and %d notices were dropped", a, n)
		}
	}
}

// Bytes are bounded by kind, too, including headers.
func TestBytesOfLettersAreBounded(t *testing.T) {
	for _, keep := range []bool{false, true} {
		b := idle()
		kind, other, most := answer, notice, bounds[answer].bytes
		if keep {
			kind, other, most = notice, answer, bounds[notice].bytes
		}
		header := Header{"Sio-Socket": {string(make([]byte, 1<<20))}}
		for range most>>20 + 1 {
			b.Later(Letter{Subject: "", Header: header, Body: nil, Keep: keep})
		}
		if n := b.stats.unsent[kind].Value(); n != 2 { // the header's name takes some bytes of each
			t.Errorf("%d of kind %d were dropped", n, kind)
		}
		b.Later(Letter{Subject: "", Header: nil, Body: make([]byte, most/2), Keep: !keep})
		if n := b.stats.unsent[other].Value(); n != 0 {
			t.Errorf("%d of the other kind were dropped", n)
		}
	}
}

// Callbacks that wait for NATS have a bound of their own. Callbacks that do not insist use none of it.
func TestCallbacksHaveABoundOfTheirOwn(t *testing.T) {
	b := idle()
	for range bounds[confirmation].entries {
		b.AfterSubscribedOrOffline(func() {})
	}
	called := 0
	for range bounds[confirmation].entries {
		if !b.AfterSubscribed(func() { called++ }) {
			t.Fatal("a callback was not kept")
		}
	}
	if b.AfterSubscribed(func() {}) {
		t.Error("a callback beyond the bound was kept")
	}
	b.work.pass() // without a connection: callbacks that insist are kept
	if b.AfterSubscribed(func() {}) {
		t.Error("a callback beyond the bound was kept after a round")
	}
	if n := len(b.work.kept); n != bounds[confirmation].entries || called != 0 {
		t.Errorf("%d callbacks wait, %d were called", n, called)
	}
	if n := b.stats.unsent[confirmation].Value(); n != 2 {
		t.Errorf("%d confirmations were dropped", n)
	}
}

// quiet is a bus that assumes a connection and has no work for it: a flush or a publish would panic.
func quiet() *Bus {
	b := idle()
	b.state.online.Store(true)
	b.work.stale.Store(false)
	b.work.measured = time.Now()
	return b
}

// A function of Do needs no round trip.
func TestDoNeedsNoRoundTrip(t *testing.T) {
	b, done := quiet(), 0
	for range 3 {
		b.Do(func() { done++ })
	}
	b.work.pass()
	if done != 3 {
		t.Errorf("%d of 3 were run", done)
	}
}

// While NATS is away, calls and barriers that do not wait are run in order, and answers are dropped. The others stay
// in order until it is back.
func TestTheOutboxWithoutNATS(t *testing.T) {
	b := idle()
	var ran []string
	run := func(what string) func() { return func() { ran = append(ran, what) } }
	for i := range 3 {
		n := strconv.Itoa(i)
		b.Later(Letter{Subject: n, Keep: true})
		b.Do(run("call " + n))
		b.AfterSubscribed(run("confirmation " + n))
		b.Later(Letter{Subject: n})
		b.AfterSubscribedOrOffline(run("barrier " + n))
		b.work.pass()
	}
	if want := "call 0, barrier 0, call 1, barrier 1, call 2, barrier 2"; strings.Join(ran, ", ") != want {
		t.Errorf("offline: %q, want %s", ran, want)
	}
	var kept []string
	for _, e := range b.work.kept {
		kept = append(kept, bounds[e.kind].name+" "+e.letter.Subject)
	}
	if want := "notice 0, confirmation , notice 1, confirmation , notice 2, confirmation "; strings.Join(kept, ", ") != want {
		t.Errorf("%q are kept, want %s", kept, want)
	}
	if n := b.stats.unsent[answer].Value(); n != 3 || b.Waiting() != 0 {
		t.Errorf("%d answers were dropped and %d wait, want 3 and 0", n, b.Waiting())
	}
}

// Letters, calls and barriers are processed in the order of the outbox, across passes.
func TestTheOutboxKeepsItsOrder(t *testing.T) {
	server := natsdtest.Start(t)
	const each = 1000
	var heard []string
	all := make(chan struct{})
	b := connect(t, server.ClientURL(), func(m *Message) {
		if heard = append(heard, string(m.Data)); len(heard) == 4*each {
			close(all)
		}
	})
	b.Subscribe("order")
	inPlace(t, b)
	publish := func(what string) func() { // a call may do this
		return func() { _ = b.Publish([]byte("order"), nil, nil, []byte(what)) }
	}
	var want []string
	for i := range each {
		n := strconv.Itoa(i)
		b.Later(Letter{Subject: "order", Body: []byte("letter " + n)})
		b.Do(publish("call " + n))
		b.AfterSubscribed(publish("confirmation " + n))
		b.AfterSubscribedOrOffline(publish("barrier " + n))
		want = append(want, "letter "+n, "call "+n, "confirmation "+n, "barrier "+n)
	}
	wait(t, "all are heard", all)
	if !slices.Equal(heard, want) {
		t.Errorf("not in order: %q", heard[:20])
	}
}

// A subscription that nats.go refuses is tried again, and counts as waiting meanwhile.
func TestASubscriptionThatFailsIsTriedAgain(t *testing.T) {
	b := quiet()
	tries := 0
	open := func(string) (*nats.Subscription, error) {
		if tries++; tries < 3 {
			return nil, nats.ErrMaxSubscriptionsExceeded
		}
		return &nats.Subscription{}, nil
	}
	b.subscriptions = subscriptions.New(subscriptions.Settings{Open: open, Failed: b.subscribeFailed, Connected: b.Connected, Wake: b.out.wake.Raise})
	b.Subscribe("a")
	for range 2 {
		b.work.pass()
		if !b.subscriptions.Lacks("a") {
			t.Fatal("nothing lacks after a failure")
		}
	}
	if !b.subscriptions.Subscribe() || b.subscriptions.Lacks("a") {
		t.Error("the subscription was not made at last")
	}
	if n := b.stats.asyncErrors.Value(); n != 2 {
		t.Errorf("%d failures were counted", n)
	}
}

// A flush that begins just after the connection has ended must not wait for an answer: entries of the outbox would
// wait behind it, and clients be refused for the wrong reason.
func TestAFlushEndsWithTheConnection(t *testing.T) {
	b := connect(t, natsdtest.Start(t).ClientURL(), nil)
	eventually(t, "the bus knows its connection", b.Connected)
	flushed := make(chan bool, 1)
	b.Do(func() {
		b.work.connectionChanged(false)
		flushed <- b.work.flush()
		b.work.connectionChanged(true)
	})
	if <-flushed {
		t.Error("a flush has waited for NATS")
	}
}
