package cluster

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A side that does not read keeps a spliced connection for at most as long as a session may be silent.
func TestSplicedConnectionGivesUpOnASlowReader(t *testing.T) {
	to, stuck := net.Pipe()
	defer stuck.Close()
	from, source := net.Pipe()
	defer source.Close()
	go func() { _, _ = io.WriteString(source, strings.Repeat("x", 2000)) }()
	if err := copyUntilEnd(to, from, 50*time.Millisecond); err == nil {
		t.Error("it stays open")
	}
	_ = from.Close()
	_ = to.Close()
}

// Everything is copied, including what is larger than the buffers.
func TestSplicedConnectionCopiesEverything(t *testing.T) {
	for _, size := range []int{0, 1, smallRead - 1, smallRead, smallRead + 1, smallRead + largeRead,
		smallRead + largeRead + 1, 1 << 20} {
		to, sink := net.Pipe()
		from, source := net.Pipe()
		go func() {
			_, _ = io.WriteString(source, strings.Repeat("x", size))
			_ = source.Close()
		}()
		done := make(chan error, 1)
		go func() {
			done <- copyUntilEnd(to, from, time.Minute)
			_ = to.Close()
		}()
		if got, _ := io.ReadAll(sink); len(got) != size {
			t.Errorf("%d bytes of %d came", len(got), size)
		}
		if err := <-done; err != io.ErrClosedPipe { // a pipe cannot be half-closed
			t.Errorf("%d bytes: %v", size, err)
		}
		_ = from.Close()
		_ = sink.Close()
	}
}
