package backend_test

import (
	"testing"
	"time"

	"partyline/backend"
)

// A service has what its edges announce.
func TestEdges(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	io.Of("/chat").On("ping", func() {})
	began := time.Now()
	s.start(io)
	s.enter("ann", "/chat")
	s.enter("bob", "/open")
	var e backend.Edge
	eventually(t, "the edge has announced both sockets", func() bool {
		all := io.Edges()
		if len(all) == 1 {
			e = all[0]
		}
		return e.Sockets == 2
	})
	if e.ID != s.ID || e.Address != s.URL || e.Draining || e.Clients != 2 || e.Opened != 2 || e.Ended != 0 || e.BytesIn == 0 || e.BytesOut == 0 ||
		e.Namespaces["/chat"] != 1 || e.Namespaces["/open"] != 1 || e.Started.IsZero() || e.Started.After(began) {
		t.Errorf("the edge is %+v", e)
	}
	s.Stop()
	eventually(t, "the edge has gone", func() bool { return len(io.Edges()) == 0 })
}
