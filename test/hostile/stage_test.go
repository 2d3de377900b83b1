// Package hostile shows that bad input harms only its sender. In every test two healthy clients talk beside the
// hostile one, and a service receives their events. Each of their numbered messages must arrive once and in order. The
// edge must log in one line why it ended a session. Afterwards it must be as empty as before.
package hostile

import (
	"strings"
	"testing"

	"partyline/internal/edgetest"
	"partyline/rule"
	"partyline/test/stand"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(4)
	edgetest.LongMain(m, func() { cleanPrograms(); stand.Clean() })
}

// stage is an edge with two healthy clients and a NATS client.
type stage struct {
	*edgetest.Stage
	t    *testing.T
	pair *pair
}

// rules are the namespaces of every stage: two that every client may enter, one in which a service admits, and any
// number of empty ones.
func rules() map[string]rule.Namespace {
	return map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"*"}, Relay: []rule.Relay{
			{Event: "message", To: rule.ToRooms}, {Event: "everyone", To: rule.ToAll},
		}},
		"/flood":   {Connect: rule.ConnectOpen, Rooms: []string{"*"}, Relay: []rule.Relay{{Event: "message", To: rule.ToRooms}}},
		"/door":    {Connect: rule.ConnectService, Unavailable: rule.UnavailableRefuse},
		"/extra-*": {Connect: rule.ConnectOpen},
	}
}

// begin starts NATS, an edge and the healthy pair. At the end of the test the pair must have received all its
// messages, and no other session may be left.
func begin(t *testing.T, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	s := &stage{Stage: edgetest.Begin(t, rules(), change...), t: t}
	s.pair = talk(t, s.URL, s.NC)
	t.Cleanup(s.end)
	return s
}

// end checks what must be true after every test.
func (s *stage) end() {
	s.pair.check()
	edgetest.Eventually(s.t, "only the pair is left", func() bool {
		return s.Engine.Sessions() == 2 && s.Edge.Sockets() == 2 && s.Figure("rooms", "") == 1
	})
	if n := s.Bus.Dropped(); n > 0 {
		s.t.Errorf("%d messages from NATS were dropped", n)
	}
	for _, line := range s.Logged() {
		if strings.Contains(line, "panic") {
			s.t.Errorf("the log has %s", line)
		}
	}
}

// ended returns the number of sessions that ended for a reason.
func (s *stage) ended(reason string) int {
	return s.Figure("sessions_ended_total", reason)
}

type socket = edgetest.Socket

// enter opens a session and connects it to /chat.
func (s *stage) enter(name string) *socket {
	s.t.Helper()
	return s.Enter(name, "/chat")
}

// subject is the prefix of the subjects on which services receive the hostile client's events.
const subject = "sio.chat.on."

// crime is an action that ends the session of its client.
type crime struct {
	name   string
	do     func(*socket)
	reason string // of the session's end
	says   string // part of the log line
}

// punished commits crimes, each in a session of its own. It checks what the client receives, what services receive,
// the log and the metrics.
func (s *stage) punished(crimes []crime) {
	s.t.Helper()
	s.punishedAs(s.enter, crimes)
}

// punishedAs is punished for sessions that begin in another way.
func (s *stage) punishedAs(enter func(name string) *socket, crimes []crime) {
	s.t.Helper()
	notices := s.Hear(subject + "disconnect")
	for _, c := range crimes {
		ended, said := s.ended(c.reason), len(s.Logged())
		so := enter(c.name)
		c.do(so)
		so.ExpectEnd()
		m := notices.Next()
		if want := `["disconnect",{"reason":"` + c.reason + `","rooms":[]}]`; string(m.Data) != want || !strings.HasSuffix(m.Reply, so.ID) {
			s.t.Errorf("%s: the notice is %s of %s, want %s of %s", c.name, m.Data, m.Reply, want, so.ID)
		}
		if got := s.ended(c.reason) - ended; got != 1 {
			s.t.Errorf("%s: %d sessions ended with %q, want 1", c.name, got, c.reason)
		}
		s.said(c.name, said, c.says, "address=127.0.0.1")
		so.Hangup()
	}
}

// news returns the log lines since the log had a number of lines. It omits those about refused clients, which must not
// be many.
func (s *stage) news(since int) (lines []string) {
	refusals := 0
	for _, line := range s.Logged()[since:] {
		if strings.Contains(line, "refused a client") {
			refusals++
		} else {
			lines = append(lines, line)
		}
	}
	if refusals > 400 { // 200 a minute for each reason
		s.t.Errorf("the log has %d lines about refused clients", refusals)
	}
	return lines
}

// said expects exactly one new log line since the log had a number of lines, with all of these parts.
func (s *stage) said(what string, since int, parts ...string) {
	s.t.Helper()
	edgetest.Eventually(s.t, what+": the log says something", func() bool { return len(s.news(since)) > 0 })
	lines := s.news(since)
	if len(lines) != 1 {
		s.t.Errorf("%s: the log has %d lines instead of one:\n%s", what, len(lines), strings.Join(lines, "\n"))
		return
	}
	for _, part := range parts {
		if !strings.Contains(lines[0], part) {
			s.t.Errorf("%s: the log does not contain %q: %s", what, part, lines[0])
		}
	}
}

// quiet expects no new log line.
func (s *stage) quiet(what string, since int) {
	s.t.Helper()
	if lines := s.news(since); len(lines) > 0 {
		s.t.Errorf("%s: the log has %s", what, strings.Join(lines, "\n"))
	}
}

// alive checks that a session is open and that no other message is queued for it.
func (s *stage) alive(what string, so *socket) {
	s.t.Helper()
	s.Publish("sio.chat.emit.socket."+so.ID, `["marker"]`)
	if got, ok := so.Await(); !ok || got != `42/chat,["marker"]` {
		s.t.Fatalf("%s: %.200q came, want the marker (the session is open: %t)", what, got, ok)
	}
}
