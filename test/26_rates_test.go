package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/config"
	"partyline/internal/edgetest"
	"partyline/rule"
)

// rated are namespaces of which one has a rate of its own.
func rated() rules {
	return usual().with("/feed", rule.Namespace{Connect: rule.ConnectOpen, EventsPerSecond: 100, EventsBurst: 20}).
		with("/part-*", rule.Namespace{Connect: rule.ConnectOpen, EventsPerSecond: 100, EventsBurst: 20})
}

// expectAll expects numbered events, once and in order, and returns how long they took.
func expectAll(t *testing.T, events *ear, n int, sent time.Time) time.Duration {
	t.Helper()
	for i := range n {
		if m, want := events.Next(), fmt.Sprintf(`["n",%d]`, i); string(m.Data) != want {
			t.Fatalf("got %s, want %s", m.Data, want)
		}
	}
	return time.Since(sent)
}

// A client that floods gets everything through, once and in order, at its rate. Others notice nothing.
func TestAFloodIsSlowedDown(t *testing.T) {
	t.Parallel()
	talk := rule.Namespace{Connect: rule.ConnectOpen, Relay: []rule.Relay{{Event: "say", To: rule.ToAll, Self: true}}}
	s := begin(t, usual().with("/talk", talk), func(o *edgetest.Options) {
		o.Limits = config.DefaultLimits()
		o.Limits.EventsPerSecond, o.Limits.EventsBurst = 500, 100
	})
	pair := edgetest.NewPair(t, s.Node, "/talk")
	stop := pair.Chat()
	a, events := s.Enter("a", "/chat"), s.hear("sio.chat.on.n")
	const n = 1000
	sent := time.Now()
	go func() {
		for i := range n {
			a.Emit("", fmt.Sprintf(`["n",%d]`, i))
		}
	}()
	if took, least := expectAll(t, events, n, sent), (n-100)*time.Second/500-100*time.Millisecond; took < least {
		t.Errorf("it took %s, want at least %s", took, least)
	}
	stop()
	pair.Fine()
	if s.Figure("clients_slowed_total", "") < 1 { // it may have been calm for a second on a busy machine
		t.Error("it is not counted")
	}
	s.Counts("sessions_not_read", "", 0)
	log := strings.Join(s.Logged(), "\n")
	if strings.Count(log, "slowing down a client: it sends more than a limit allows") != 1 || !strings.Contains(log, "limit=limits.events_per_second") {
		t.Errorf("the log is\n%s", log)
	}
}

// With a limit of time a flood ends its session, and services learn why.
func TestAFloodThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	s := begin(t, usual(), func(o *edgetest.Options) {
		o.Limits = config.DefaultLimits()
		o.Limits.EventsPerSecond, o.Limits.EventsBurst, o.Limits.Overrun = 50, 10, 500*time.Millisecond
	})
	a, notices := s.Enter("a", "/chat"), s.hear("sio.chat.on.disconnect")
	for i := range 1000 {
		a.Emit("", fmt.Sprintf(`["n",%d]`, i))
	}
	if m, want := notices.Next(), `["disconnect",{"reason":"rate exceeded","rooms":[]}]`; string(m.Data) != want {
		t.Errorf("the notice is %s, want %s", m.Data, want)
	}
	a.ExpectEnd()
	s.Counts("sessions_ended_total", "rate exceeded", 1)
}

// A namespace may have a rate of its own. Events and acks count, and what a client does in other namespaces does not.
// Who leaves and comes back has gained nothing, nor who uses several namespaces of one pattern.
func TestARateOfANamespace(t *testing.T) {
	t.Parallel()
	s := begin(t, rated())
	flood := func(send func(i int), events *ear, sends, arrive int) time.Duration {
		sent := time.Now()
		go func() {
			for i := range sends {
				send(i)
			}
		}()
		return expectAll(t, events, arrive, sent)
	}
	const least = (200 - 20) * time.Second / 100 // of 200 events
	slow := func(what string, took time.Duration) {
		t.Helper()
		if took < least-100*time.Millisecond {
			t.Errorf("%s: it took %s, want at least %s", what, took, least)
		}
	}
	feed := s.Enter("feed", "/feed")
	chat := edgetest.Enter(feed.Client, "/chat", "")
	on := s.hear("sio.chat.on.n")
	flood(func(i int) { chat.Emit("", fmt.Sprintf(`["n",%d]`, i)) }, on, 500, 500)
	if n := s.Figure("clients_slowed_total", ""); n != 0 {
		t.Errorf("clients of a namespace without a rate were slowed down %d times", n)
	}
	on = s.hear("sio.feed.on.n")
	slow("events", flood(func(i int) { feed.Emit("", fmt.Sprintf(`["n",%d]`, i)) }, on, 200, 200))
	if log := strings.Join(s.Logged(), "\n"); !strings.Contains(log, "namespaces: /feed: events_per_second") {
		t.Errorf("the log is\n%s", log)
	}

	acker := s.Enter("acker", "/feed")
	slow("acks", flood(func(i int) {
		if acker.Acks(fmt.Sprint(i), "[1]"); i == 199 {
			acker.Emit("", `["n",0]`)
		}
	}, on, 200, 1))

	parts := s.Dial("parts")
	one, two := edgetest.Enter(parts, "/part-1", ""), edgetest.Enter(parts, "/part-2", "")
	on = s.hear("sio.*.on.n")
	slow("a pattern", flood(func(i int) { []*socket{one, two}[i%2].Emit("", fmt.Sprintf(`["n",%d]`, i)) }, on, 200, 200))

	again := s.Dial("again")
	sent := time.Now()
	for range 10 {
		so := edgetest.Enter(again, "/feed", "")
		for i := range 20 {
			so.Emit("", fmt.Sprintf(`["n",%d]`, i))
		}
		expectAll(t, on, 20, sent)
		so.Send("41/feed,")
	}
	slow("coming back", time.Since(sent))
}

// Over polling, too.
func TestAFloodOverPolling(t *testing.T) {
	t.Parallel()
	s := begin(t, rated())
	on := s.hear("sio.feed.on.n")
	p := s.poll()
	p.enter("/feed")
	sent := time.Now()
	var packets []string
	for i := range 200 {
		packets = append(packets, fmt.Sprintf(`42/feed,["n",%d]`, i))
	}
	p.post(strings.Join(packets, "\x1e"))
	if took := expectAll(t, on, 200, sent); took < 1700*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

// Sessions of an address are limited in number and rate, on all transports, and the reasons are counted.
func TestHandshakesOfAnAddress(t *testing.T) {
	t.Parallel()
	s := begin(t, usual(), func(o *edgetest.Options) {
		o.Limits = config.DefaultLimits()
		o.Limits.HandshakesPerSecondPerAddress = 1
		o.Trusted = []string{"127.0.0.1"}
	})
	handshake := func(address string) int {
		answer, _ := s.raw("transport=polling", "Host: chat.example", "X-Forwarded-For: "+address)
		return answer.StatusCode
	}
	edgetest.Eventually(t, "one address is refused", func() bool { return handshake("2001:db8::1") == 503 })
	for _, address := range []string{"2001:db8:0:1::1", "203.0.113.1", "203.0.113.2"} {
		if got := handshake(address); got != 200 {
			t.Errorf("%s: status %d", address, got)
		}
	}
	if n := s.Figure("handshakes_refused_total", "limits.handshakes_per_second_per_address"); n != s.Figure("handshakes_delayed_total", "") || n != 1 {
		t.Errorf("%d are counted", n)
	}
}
