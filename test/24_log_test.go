package test

import (
	"strings"
	"testing"

	"partyline/internal/edgetest"
	"partyline/rule"
)

// logged returns the lines of the edge's log that contain all of some texts.
func (s *stage) logged(texts ...string) (lines []string) {
next:
	for _, line := range s.Logged() {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// once waits until the log has a line, and checks that there is no second one.
func (s *stage) once(texts ...string) {
	s.t.Helper()
	edgetest.Eventually(s.t, "the log says "+strings.Join(texts, ", "), func() bool { return len(s.logged(texts...)) > 0 })
	if lines := s.logged(texts...); len(lines) != 1 {
		s.t.Errorf("%d lines, want 1:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}

func TestANamespaceThatIsNotDeclaredIsLogged(t *testing.T) {
	s := begin(t, rules{"/chat": {Connect: rule.ConnectOpen}, "/tenant-*": {Connect: rule.ConnectOpen}})
	for range 3 {
		c := s.Dial("ann")
		c.Send("40/chatt,")
		c.Expect(`44/chatt,{"message":"Invalid namespace"}`)
		c.Send("40/tenant,")
		c.Expect(`44/tenant,{"message":"Invalid namespace"}`)
	}
	s.once("level=WARN", "namespace=/chatt ", `declared="/chat, /tenant-*"`, "address=127.0.0.1")
	s.once("level=WARN", "namespace=/tenant ")
}

func TestAConnectWithoutAnAnswerIsLogged(t *testing.T) {
	s := begin(t, rules{"/door": {Connect: rule.ConnectService}, "/tenant-*": {Connect: rule.ConnectService}})
	for range 3 {
		s.Dial("ann").Send("40/door,")
		s.Dial("ann").Send("40/tenant-1,")
	}
	s.once("level=WARN", "nothing subscribes", "namespace=/door ", "subject=sio.door.on.connect")
	s.once("level=WARN", "nothing subscribes", "namespace=/tenant-1 ", "subject=sio.tenant-1.on.connect")
}

// A refusal is no fault, but operators may wonder why clients do not get in.
func TestARefusalOfAServiceIsLogged(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	for _, message := range []string{"wrong token", "wrong token", "please pay"} {
		c := s.Dial("ann")
		c.Send("40/door,")
		m := requests.Next()
		s.Publish(m.Reply, "[]", "Sio-Error: "+message)
		c.Expect(`44/door,{"message":"` + message + `"}`)
	}
	s.once("level=INFO", "namespace=/door ", `message="wrong token"`)
	s.once("level=INFO", "namespace=/door ", `message="please pay"`)
}

// Clients with invented names do not fill the log.
func TestManyNamespacesThatAreNotDeclared(t *testing.T) {
	s := begin(t, usual())
	c := s.Dial("ann")
	for i := range 1000 {
		name := "/x" + strings.Repeat("y", i%500)
		if i%2 == 0 {
			name += "z"
		}
		c.Send("40" + name + ",")
		c.Expect("44" + name + `,{"message":"Invalid namespace"}`)
	}
	if n := len(s.logged("level=WARN")); n > 250 {
		t.Errorf("%d lines", n)
	}
}

// A service may answer where it is not asked to decide. The log reports it, once for all sockets.
func TestAnAnswerToAnOpenNamespaceIsLogged(t *testing.T) {
	s := begin(t, rules{"/lobby": {Connect: rule.ConnectOpen}})
	s.serve("lobby", `[{"user":"ann"}]`)
	for range 3 {
		s.Dial("ann").Connect("/lobby", "")
	}
	s.Counts("dropped_total", "bad body", 3)
	s.once("sio.lobby.on.connect", "set connect: service")
}
