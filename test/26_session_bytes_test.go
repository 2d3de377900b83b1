package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/config"
	"partyline/engine"
	"partyline/internal/edgetest"
	"partyline/rule"
)

// costs waits until a figure of the account is want, for figures that are computed once a second.
func (s *stage) costs(what string, want func(bytes int) bool) (bytes int) {
	s.t.Helper()
	edgetest.Eventually(s.t, what, func() bool {
		bytes = s.Figure("session_bytes", "")
		return want(bytes)
	})
	return bytes
}

// Everything that the edge keeps for a session counts, and is taken back when it goes.
func TestWhatIsKeptForASession(t *testing.T) {
	s := begin(t, rules{"*": {Connect: rule.ConnectOpen, Rooms: []string{"*"}}})
	a := s.Enter("a", "/")
	s.join(a, `["auto"]`)
	alone := s.costs("the first socket counts", func(bytes int) bool { return bytes > 3000 })
	grows := func(what string, by int) {
		s.t.Helper()
		s.costs(what, func(bytes int) bool { return bytes >= alone+by })
	}
	isBack := func(what string) {
		s.t.Helper()
		s.costs(what+" is taken back", func(bytes int) bool { return bytes == alone })
	}

	auth := `{"a":"` + strings.Repeat("x", 50_000) + `"}`
	b := edgetest.Enter(a.Client, "/b", auth)
	grows("auth", 50_000)
	b.Send("41/b,")
	isBack("auth")

	for i := range 20 {
		a.Emit(fmt.Sprint(i), fmt.Sprintf(`["join","%d-%s"]`, i, strings.Repeat("x", 400)))
		a.Expect(fmt.Sprintf(`43%d[{"ok":true}]`, i))
	}
	grows("rooms", 20*1400)
	for i := range 20 {
		a.Emit(fmt.Sprint(i), fmt.Sprintf(`["leave","%d-%s"]`, i, strings.Repeat("x", 400)))
		a.Expect(fmt.Sprintf(`43%d[{"ok":true}]`, i))
	}
	isBack("rooms")

	data := `{"d":"` + strings.Repeat("x", 30_000) + `"}`
	s.Ask("sio._.data.socket."+a.ID, `[`+data+`]`)
	grows("data", 30_000)
	s.Ask("sio._.data.socket."+a.ID, `[{}]`)
	s.costs("data is taken back", func(bytes int) bool { return bytes <= alone+10 })
	alone += 2 // {}

	events := s.hear("sio._.on.>")
	a.Send(`452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	a.SendBinary([]byte(strings.Repeat("x", 40_000)))
	grows("an attachment", 40_000)
	a.SendBinary([]byte("y"))
	events.Next()
	isBack("an attachment")

	s.pause(a, "one")
	for range 10 {
		a.Emit("", `["held","`+strings.Repeat("x", 4000)+`"]`)
	}
	grows("held events", 10*4500)
	s.resume(a, "one")
	for range 10 {
		events.Next()
	}
	isBack("held events")
}

func TestASessionThatKeepsTooMuchIsClosed(t *testing.T) {
	s := begin(t, rules{"*": {Connect: rule.ConnectOpen}}, func(o *edgetest.Options) {
		o.Limits = config.Limits{SessionBytes: 100_000}
	})
	a := s.Enter("a", "/")
	auth := `{"a":"` + strings.Repeat("x", 40_000) + `"}`
	a.Send("40/b," + auth)
	a.Send("40/c," + auth)
	a.Send("40/d," + auth)
	a.ExpectEnd()
	s.Counts("sessions_ended_total", "queue overflow", 1)
	s.Counts("sessions_too_large_total", "limits.session_bytes", 1)
}

// Attachments that do not come end the session, although it answers heartbeats.
func TestAttachmentsThatDoNotCome(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) {
		o.Engine = engine.DefaultConfig()
		o.Engine.PingInterval, o.Engine.PingTimeout = 300*time.Millisecond, time.Minute
	})
	a := s.Enter("a", "/chat")
	a.Send(`452-/chat,["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	a.SendBinary([]byte("x"))
	a.ExpectEnd()
	s.Counts("sessions_ended_total", "forced close", 1)
	if log := strings.Join(s.Logged(), "\n"); !strings.Contains(log, "the attachments of a packet did not come in time") {
		t.Errorf("the log does not name the cause: %s", log)
	}
}
