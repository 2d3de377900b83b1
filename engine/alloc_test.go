//go:build !race

package engine

import (
	"testing"
	"time"

	"partyline/engine/enginetest"
)

// A delivery makes nothing that the collector must see to.
func TestDeliveryDoesNotAllocate(t *testing.T) {
	all := newFront(t, Settings{}).crowd(20)
	r, frame := NewFanout(), text("hello")
	defer r.Close()
	deliver := func() {
		for _, s := range all {
			r.Send(s, frame)
		}
		r.Flush(never)
	}
	deliver()
	// Whoever reads at the other end in this process does not allocate either.
	if allocs := enginetest.Allocs(0, deliver); allocs > 0 {
		t.Errorf("20 deliveries cost %v allocations", allocs)
	}
}

// A message of a client costs nothing but what its receiver makes of it, and an idle client has no buffer.
func TestReadingDoesNotAllocate(t *testing.T) {
	f := newFront(t, Settings{})
	v := f.visit("")
	heard := make(chan struct{}, 1)
	v.peer.onData = func([]byte, bool) { heard <- struct{}{} }
	conn, hello := v.peer.session.transport.(*wsConn), []byte(masked("4hello"))
	say := func() {
		_, _ = v.conn.Write(hello)
		<-heard
	}
	say()
	const most = 4 // of which the recorder makes two
	if allocs := enginetest.Allocs(most, say); allocs > most {
		t.Errorf("a message costs %v allocations", allocs)
	}
	if conn.direct == nil {
		return
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		// These are the reader's, which is why this file is not for the race detector.
		if conn.reader.frames.Size() == 0 && conn.reader.buffer == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("an idle connection holds a buffer")
		}
	}
}
