package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/engine"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
)

// A full hold stops the reading. Nothing is lost, and the order stays.
func TestAFullHold(t *testing.T) {
	for name, event := range map[string]string{"events": `["n",%d]`, "bytes": `["n",%d,"` + strings.Repeat("x", 4_000) + `"]`} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, usual(), func(o *edgetest.Options) {
				o.Engine = engine.DefaultConfig()
				o.Engine.PingInterval, o.Engine.PingTimeout = 200*time.Millisecond, 5*time.Second
			})
			a := s.Enter("a", "/chat")
			events := s.hear("sio.chat.on.n")
			s.pause(a, "svc-1")
			const messages = 2000
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for i := range messages {
					a.Emit("", fmt.Sprintf(event, i))
				}
			}()
			edgetest.Eventually(t, "reading stops", func() bool { return s.Figure("sessions_not_read", "") == 1 })
			if held := s.Figure("events_paused_total", ""); held > 1024 {
				t.Errorf("%d events are held", held)
			}
			for i := range messages {
				if i == 0 {
					s.resume(a, "svc-1")
				}
				if got := events.Next(); string(got.Data) != fmt.Sprintf(event, i) {
					t.Fatalf("event %d is %.50s", i, got.Data)
				}
				if i == 100 || i == 1000 {
					s.pause(a, "svc-1")
					s.resume(a, "svc-1")
				}
			}
			<-sent
			s.passes(a)
			s.Counts("events_failed_total", "", 0)
		})
	}
}

// A burst in one POST, and an upgrade to WebSocket while it is held: all of it arrives, once and in order.
func TestAnUpgradeWhilePaused(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) {
		o.Engine = engine.DefaultConfig()
		o.Engine.PingInterval, o.Engine.PingTimeout = time.Second, time.Minute
	})
	p := s.poll()
	a := &socket{ID: p.enter("/chat"), Token: "chat", Head: "/chat,"}
	events := s.hear("sio.chat.on.n")
	s.pause(a, "svc-1")
	var body []string
	const perPost, posts = 1500, 3
	n := 0
	more := func() string {
		body = body[:0]
		for range perPost {
			body = append(body, fmt.Sprintf(`42/chat,["n",%d]`, n))
			n++
		}
		return strings.Join(body, "\x1e")
	}
	answered := make(chan struct{})
	first := more()
	go func() { p.post(first); close(answered) }()
	edgetest.Eventually(t, "reading stops", func() bool { return s.Figure("sessions_not_read", "") == 1 })
	select {
	case <-answered:
		t.Fatal("the POST was answered")
	case <-time.After(20 * time.Millisecond):
	}
	a.Client = enginetest.Upgrade(t, s.Talk, "a", strings.Replace(p.url, "polling", "websocket", 1), func() {
		<-answered
		p.post(more())
		p.get() // released by the upgrade
	})
	for range perPost * (posts - 2) {
		a.Emit("", fmt.Sprintf(`["n",%d]`, n))
		n++
	}
	for i := range n {
		if i == 0 {
			s.resume(a, "svc-1")
		}
		if got := events.Next(); string(got.Data) != fmt.Sprintf(`["n",%d]`, i) {
			t.Fatalf("event %d is %.50s", i, got.Data)
		}
		if i%1000 == 500 {
			s.pause(a, "svc-1")
			s.resume(a, "svc-1")
		}
	}
	s.passes(a)
}

// A service closes the transport: without a DISCONNECT, so that the client reconnects. What is held is dropped.
func TestClosingATransport(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	root := edgetest.Enter(a.Client, "/", "")
	notices := s.hear("sio.*.on.disconnect")
	events := s.hear("sio.*.on.x")
	s.pause(a, "svc-1")
	a.Emit("", `["x"]`)
	events.silent(s, a)
	s.change("sio.chat.disconnect.socket."+a.ID, `["close"]`, 1)
	for _, so := range []*socket{a, root} {
		notices.Gets("sio."+so.Token+".on.disconnect", so.Address(), left("forced server close"))
	}
	if text, open := a.Await(); open {
		t.Fatalf("the client got %q", text)
	}
	if m, err := events.Subscription.NextMsg(20 * time.Millisecond); err == nil {
		t.Fatalf("%s came", m.Data)
	}
	if got := s.Figure("sessions_ended_total", "forced server close"); got != 1 {
		t.Errorf("%d sessions were closed", got)
	}
	s.Counts("sockets_ended_total", "session ended", 2)
}
