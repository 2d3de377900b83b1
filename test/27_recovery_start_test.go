package test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// A client that comes back without an offset gets what came since its session began, and nothing older: also if it was
// the first in its namespace at this edge, and an event came before the edge knew where the log was.
func TestNothingIsOlderThanTheSession(t *testing.T) {
	namespaces := rules{"/n*": {Connect: rule.ConnectService, Recovery: rule.Recovery{For: edgetest.Patience}}}
	s := beginAt(t, natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`), namespaces)
	s.Peer.Handle("sio.*.on.connect", func(m *nats.Msg) {
		var n int
		if _, err := fmt.Sscanf(m.Subject, "sio.n%d.", &n); err == nil && m.Reply != "" {
			_ = m.Respond([]byte(`[{"rooms":["news"]}]`))
			s.Peer.Publish(fmt.Sprintf("sio.n%d.emit.room.others", n), `["not for her"]`)
		}
	})
	for n := range 10 {
		name := fmt.Sprintf("/n%d", n)
		s.Peer.Ask(fmt.Sprintf("sio.n%d.emit.all", n), `["old"]`) // the log acknowledges it
		s.Peer.Ask(fmt.Sprintf("sio.n%d.emit.room.news", n), `["old"]`)
		a := connect(t, s.Node.Dial("ann"), name, nil)
		a.Hangup()
		s.Peer.Publish(fmt.Sprintf("sio.n%d.emit.room.news", n), `["missed"]`)
		s.Peer.Flush()
		if b := connect(t, s.Node.Dial("ann"), name, a, `["missed"]`); b.id != a.id {
			t.Errorf("%s: came back as %s, was %s", name, b.id, a.id)
		}
	}
}
