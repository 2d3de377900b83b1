package bus

import (
	"log/slog"
	"testing"
)

// idle is a bus whose worker does nothing by itself.
func idle() *Bus {
	b := &Bus{log: slog.New(slog.DiscardHandler), chase: make(chan struct{}, 1)}
	b.work = newWorker(b)
	return b
}

// Answers that wait leave room for notices that must be kept, and the other way round. What has no room is counted by kind.
func TestAnswersAndNoticesHaveBoundsOfTheirOwn(t *testing.T) {
	for _, order := range [][]bool{{false, true}, {true, false}} {
		b := idle()
		for _, keep := range order {
			most := maxAnswers
			if keep {
				most = maxNotices
			}
			for range most + 3 {
				b.Later("a", "", nil, nil, keep)
			}
		}
		if n := len(b.work.letters); n != maxAnswers+maxNotices {
			t.Errorf("%d letters wait", n)
		}
		if b.Waiting() != maxAnswers {
			t.Errorf("%d answers wait", b.Waiting())
		}
		b.work.publish(false) // without a connection nobody waits for answers any more
		if n := len(b.work.letters); n != maxNotices {
			t.Errorf("%d notices are kept", n)
		}
		b.Later("a", "", nil, nil, true)
		b.Later("a", "", nil, nil, false)
		if n := len(b.work.letters); n != maxNotices+1 {
			t.Errorf("%d letters wait", n)
		}
		s := &b.stats
		if a, n := s.unsent[unsentAnswer].Value(), s.unsent[unsentNotice].Value(); a != maxAnswers+3 || n != 4 {
			t.Errorf("%d answers and %d notices were dropped", a, n)
		}
	}
}

// Bytes are bounded by kind, too, headers included.
func TestBytesOfLettersAreBounded(t *testing.T) {
	for _, keep := range []bool{false, true} {
		b := idle()
		kind, most := kindOf(keep), maxAnswerBytes
		if keep {
			most = maxNoticeBytes
		}
		header := Header{"Sio-Socket": {string(make([]byte, 1<<20))}}
		for range most>>20 + 1 {
			b.Later("", "", header, nil, keep)
		}
		if n := b.stats.unsent[kind].Value(); n != 2 { // the header's name takes some bytes of each
			t.Errorf("%d of kind %d were dropped", n, kind)
		}
		b.Later("", "", nil, make([]byte, most/2), !keep)
		if n := b.stats.unsent[kindOf(!keep)].Value(); n != 0 {
			t.Errorf("%d of the other kind were dropped", n)
		}
	}
}

// Callbacks that wait for NATS have a bound that those which do not insist on it take nothing of.
func TestCallbacksHaveABoundOfTheirOwn(t *testing.T) {
	b := idle()
	for range maxHeld {
		b.WhenHeldOrOffline(func() {})
	}
	called := 0
	for range maxHeld {
		if !b.WhenHeld(func() { called++ }) {
			t.Fatal("a callback was not kept")
		}
	}
	if b.WhenHeld(func() {}) {
		t.Error("a callback beyond the bound was kept")
	}
	b.work.round() // without a connection: it keeps those that insist
	if b.WhenHeld(func() {}) {
		t.Error("a callback beyond the bound was kept after a round")
	}
	if n := len(b.work.waiting); n != maxHeld || called != 0 {
		t.Errorf("%d callbacks wait, %d were called", n, called)
	}
	if n := b.stats.unsent[unsentConfirmation].Value(); n != 2 {
		t.Errorf("%d confirmations were dropped", n)
	}
}
