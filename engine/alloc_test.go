//go:build !race

package engine

import (
	"testing"
	"time"

	"partyline/engine/enginetest"
)

// A delivery does not allocate.
func TestDeliveryDoesNotAllocate(t *testing.T) {
	all := newFront(t, Settings{}).crowd(20)
	o, frame := NewFanout(), text("hello")
	defer o.Close()
	deliver := func() {
		for _, s := range all {
			o.Send(s, frame)
		}
		o.Flush(never)
	}
	deliver()
	// The readers at the other end, in this process, do not allocate either.
	if allocs := enginetest.Allocs(0, deliver); allocs > 0 {
		t.Errorf("20 deliveries cost %v allocations", allocs)
	}
}

// Counting a packet does not allocate, of an idle client or of a busy one.
func TestCountingDoesNotAllocate(t *testing.T) {
	s := newFront(t, Settings{Rates: Rates{EventsPerSecond: 1_000_000_000, EventsBurst: 1_000_000_000}}).visit("").peer.session
	now := time.Now()
	for name, step := range map[string]time.Duration{"idle": time.Minute, "busy": time.Microsecond} {
		s.received(10, now)
		s.received(10, now)
		if allocs := enginetest.Allocs(0, func() { now = now.Add(step); s.received(10, now) }); allocs > 0 {
			t.Errorf("%s: a packet costs %v allocations", name, allocs)
		}
	}
}

// Reading a message allocates nothing but what its receiver allocates, and an idle client has no buffer.
func TestReadingDoesNotAllocate(t *testing.T) {
	f := newFront(t, Settings{})
	v := f.visit("")
	received := make(chan struct{}, 1)
	v.peer.onData = func([]byte, bool) { received <- struct{}{} }
	conn, hello := v.peer.session.transport.(*wsConn), []byte(masked("4hello"))
	say := func() {
		_, _ = v.conn.Write(hello)
		<-received
	}
	say()
	const most = 4 // the recorder makes two of them
	if allocs := enginetest.Allocs(most, say); allocs > most {
		t.Errorf("a message costs %v allocations", allocs)
	}
	if conn.direct == nil {
		return
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		// The reader goroutine owns these fields, which is why this file is not for the race detector.
		if conn.reader.frames.Size() == 0 && conn.reader.buffer == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("an idle connection holds a buffer")
		}
	}
}
