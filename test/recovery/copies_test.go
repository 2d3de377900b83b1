package recovery

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/test/recovery/judge"
	"partyline/test/stand"
)

// copies are the events that NATS has repeated from the log, as plain subscribers at all servers got them. What is
// missing there, no edge can have had live.
type copies struct {
	mu   sync.Mutex
	seqs map[uint64]bool // guarded by mu
}

func hearCopies(t *testing.T, servers []*stand.Server) *copies {
	t.Helper()
	c := &copies{seqs: make(map[uint64]bool)}
	for _, server := range servers {
		if _, err := edgetest.Connect(t, server.URL).Subscribe("sio.chat.log.>", c.hear); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *copies) hear(m *nats.Msg) {
	if all := m.Header["Nats-Sequence"]; len(all) > 0 {
		seq, _ := strconv.ParseUint(all[len(all)-1], 10, 64)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seqs[seq] = true
	}
}

// lackOf lists the events of a log that were not repeated.
func (c *copies) lackOf(log *judge.Log) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []uint64
	for _, e := range log.Entries {
		if !c.seqs[e.Seq] {
			all = append(all, e.Seq)
		}
	}
	return fmt.Sprintf("NATS has not repeated %d of %d events: %d", len(all), len(log.Entries), first(all, 100))
}
