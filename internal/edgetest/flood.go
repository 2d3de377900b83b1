package edgetest

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Flood opens connections that send nothing, and opens each again when it is closed, until the test ends. It returns when
// there were so many; dialled is how many there were so far.
func Flood(t testing.TB, address string, connections int) (dialled func() int) {
	t.Helper()
	var flood sync.WaitGroup
	var n atomic.Int64
	t.Cleanup(flood.Wait) // the test's context has ended then
	for range connections {
		flood.Go(func() {
			for tick := time.Tick(50 * time.Millisecond); t.Context().Err() == nil; <-tick {
				c, err := net.Dial("tcp", address)
				if err != nil {
					continue
				}
				n.Add(1)
				end := context.AfterFunc(t.Context(), func() { _ = c.Close() })
				_, _ = c.Read(make([]byte, 1))
				end()
				_ = c.Close()
			}
		})
	}
	dialled = func() int { return int(n.Load()) }
	Eventually(t, "all connections are there", func() bool { return dialled() >= connections })
	return dialled
}
