package cluster

import (
	"log/slog"
	"testing"

	"partyline/bus"
	"partyline/internal/throttle"
	"partyline/subjects"
)

// idleWorker is a bus whose worker does nothing by itself.
type idleWorker struct {
	Bus
	waiting []func()
	letters int
}

func (b *idleWorker) Do(fn func())     { b.waiting = append(b.waiting, fn) }
func (b *idleWorker) Later(bus.Letter) { b.letters++ }

// A flood of requests of the service protocol does not queue up before the bus's worker.
func TestServiceRequestsAreBounded(t *testing.T) {
	prefix, err := subjects.NewPrefix("sio")
	if err != nil {
		t.Fatal(err)
	}
	b := &idleWorker{}
	log := slog.New(slog.DiscardHandler)
	c := &Cluster{set: Settings{ID: "a0000000", Prefix: prefix, Bus: b, Log: log}, complaints: throttle.New(log)}
	for range 2 {
		b.letters = 0
		for range maxMicro + 100 {
			c.handleMicro(&bus.Message{Subject: "$SRV.PING", Reply: "_INBOX.x"})
		}
		if len(b.waiting) != maxMicro {
			t.Fatalf("%d requests wait", len(b.waiting))
		}
		for _, fn := range b.waiting {
			fn()
		}
		if b.waiting = nil; b.letters != maxMicro {
			t.Errorf("%d requests were answered", b.letters)
		}
	}
}
