package test

import (
	"fmt"
	"os"
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

// NATS starts from an older copy of its files: the log has lost its end, and goes on. Clients that are there get what
// comes next, and nothing again.
func TestALogThatGoesBack(t *testing.T) {
	files, older := t.TempDir(), t.TempDir()
	server := natsdtest.Start(t, `jetstream { store_dir: "`+files+`" }`)
	s := beginAt(t, server, durable())
	a := connect(t, s.Node.Dial("ann"), "/chat", nil)
	say := func(event string) {
		t.Helper()
		s.Peer.Ask("sio.chat.emit.all", event) // the log acknowledges it
		a.receives(t, "/chat", event)
	}
	exchange := func(from, to string) {
		t.Helper()
		server.Stop()
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		server.Restart()
		s.Node.Ready()
	}
	say(`["first"]`)
	say(`["second"]`)
	exchange(files, older)
	for n := range 20 {
		say(fmt.Sprintf(`["lost",%d]`, n))
	}
	exchange(older, files)
	for n := range 20 {
		say(fmt.Sprintf(`["next",%d]`, n))
	}
}
