package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/rule"
)

// pause and resume ask for it as an instance, and expect the confirmation.
func (s *stage) pause(so *socket, instance string) {
	s.t.Helper()
	s.change("sio."+so.Token+".pause.socket."+so.ID, `["`+instance+`"]`, 1)
}

func (s *stage) resume(so *socket, instance string) {
	s.t.Helper()
	s.change("sio."+so.Token+".resume.socket."+so.ID, `["`+instance+`"]`, 1)
}

// silent checks that a subscription received nothing from the edge: each socket asks for an ack, which is not held.
func (e *ear) silent(s *stage, sockets ...*socket) {
	e.T.Helper()
	for _, so := range sockets {
		s.passes(so)
	}
	if m, err := e.Subscription.NextMsg(20 * time.Millisecond); err == nil {
		e.T.Fatalf("%s %s came", m.Subject, m.Data)
	}
}

// connects waits for the connect notice of a socket.
func (e *ear) connects(so *socket) {
	e.T.Helper()
	if m := e.Next(); m.Subject != "sio."+so.Token+".on.connect" || m.Reply != so.Address() {
		e.T.Fatalf("%s, reply %s, came instead of the connect notice of %s", m.Subject, m.Reply, so.ID)
	}
}

// passes checks that the edge has read all that the client sent: the ack arrives.
func (s *stage) passes(so *socket) {
	s.t.Helper()
	inbox := s.NC.NewRespInbox()
	answers := s.hear(inbox)
	s.PublishReply("sio."+so.Token+".ask.socket."+so.ID, inbox, `["there?"]`)
	got := so.Next()
	id, ok := strings.CutPrefix(got, "42"+so.Head)
	if !ok || !strings.HasSuffix(id, `["there?"]`) {
		s.t.Fatalf("got %q instead of the question", got)
	}
	so.Send("43" + so.Head + strings.TrimSuffix(id, `["there?"]`) + `["yes"]`)
	answers.Gets(inbox, "", `["yes"]`)
}

func TestAPausedSessionsEventsAreHeld(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	root := edgetest.Enter(a.Client, "/", "")
	b := s.Enter("b", "/chat")
	events := s.hear("sio.*.on.*")
	s.pause(a, "svc-1")
	a.Emit("", `["one",1]`)
	root.Emit("5", `["two",2]`)
	a.Send("451-/chat," + `["three",{"_placeholder":true,"num":0}]`)
	a.SendBinary([]byte("xyz"))
	b.Emit("", `["others"]`) // b is not paused
	events.Gets("sio.chat.on.others", b.Address(), `["others"]`)
	events.silent(s, a, root)
	s.Counts("sessions_paused", "", 1)
	s.Counts("events_paused_total", "", 3)
	s.resume(a, "svc-1")
	events.Gets("sio.chat.on.one", a.Address(), `["one",1]`)
	events.Gets("sio._.on.two", root.Ack("5"), `["two",2]`)
	m := events.Gets("sio.chat.on.three", a.Address(), `["three",{"_placeholder":true,"num":0}]xyz`)
	if got := m.Header.Get("Sio-Attachments"); got != "3" {
		t.Errorf("Sio-Attachments is %q", got)
	}
	a.Emit("", `["four"]`)
	events.Gets("sio.chat.on.four", a.Address(), `["four"]`)
	s.Counts("sessions_paused", "", 0)
}

// A client's DISCONNECT stays behind its events, and so does a CONNECT to the same namespace. A pause does not affect
// other namespaces.
func TestLeavingANamespaceWhilePaused(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	all := s.hear("sio.*.on.*")
	s.pause(a, "svc-1")
	a.Emit("", `["last"]`)
	a.Send("41/chat,")
	a.Send("40/chat,")
	root := edgetest.Enter(a.Client, "/", "")
	all.connects(root)
	all.silent(s, root)
	s.resume(a, "svc-1")
	all.Gets("sio.chat.on.last", a.Address(), `["last"]`)
	all.Gets("sio.chat.on.disconnect", a.Address(), left("client namespace disconnect"))
	again := &socket{Client: a.Client, Head: "/chat,", Token: "chat", ID: a.Connected("/chat")}
	all.connects(again)
	again.Emit("", `["first"]`)
	all.Gets("sio.chat.on.first", again.Address(), `["first"]`)
}

// Pauses are counted per instance and socket.
func TestTwoInstancesPauseOneSocket(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	root := edgetest.Enter(a.Client, "/", "")
	events := s.hear("sio.*.on.*")
	s.pause(a, "svc-1")
	s.pause(a, "svc-2")
	s.pause(a, "svc-2")
	s.pause(root, "svc-2")
	a.Emit("", `["x"]`)
	s.resume(a, "svc-1")
	events.silent(s, a)
	s.resume(a, "svc-2")
	events.silent(s, a)
	s.resume(root, "svc-3") // it has not paused the socket
	events.silent(s, a)
	s.resume(root, "svc-2")
	events.Gets("sio.chat.on.x", a.Address(), `["x"]`)
	s.pause(root, "svc-2")
	a.Emit("", `["y"]`)
	events.silent(s, a)
	root.Send("41") // the pause ends once the socket has gone, which is after its event
	s.pause(a, "svc-1")
	s.resume(root, "svc-2")
	events.silent(s, a)
	s.resume(a, "svc-1")
	events.Gets("sio.chat.on.y", a.Address(), `["y"]`)
	events.Gets("sio._.on.disconnect", root.Address(), left("client namespace disconnect"))
}

func TestAPauseEnds(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	events := s.hear("sio.*.on.*")
	announce := func(word string) {
		s.Publish("sio.$svc.svc.svc-1."+word, `[{"instance":"svc-1","group":"svc","namespaces":[],"at":1,"every":1000}]`)
	}
	for _, word := range []string{"left", "bye"} {
		s.pause(a, "svc-1")
		a.Emit("", `["x"]`)
		events.silent(s, a)
		announce(word)
		events.Gets("sio.chat.on.x", a.Address(), `["x"]`)
	}
	s.pause(a, "svc-1")
	start := time.Now()
	a.Emit("", `["y"]`)
	repeat := time.AfterFunc(2*time.Second, func() { s.pause(a, "svc-1") })
	defer repeat.Stop()
	events.Gets("sio.chat.on.y", a.Address(), `["y"]`)
	if waited := time.Since(start); waited < 6*time.Second {
		t.Errorf("a pause that was repeated after 2 s was over after %v", waited)
	}
	s.pause(a, "svc-1")
	a.Emit("", `["z"]`)
	events.silent(s, a)
	s.Publish("sio.chat.disconnect.socket."+a.ID, "")
	events.Gets("sio.chat.on.disconnect", a.Address(), left("server namespace disconnect"))
	s.Counts("events_failed_total", "", 1)
	s.Counts("sessions_paused", "", 0)
}

func TestPausesThatCannotBe(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	subject := "sio.chat.pause.socket." + a.ID
	for body, why := range map[string]string{
		`[]`: "an array of one element", `["a b"]`: "1 to 64 characters", ``: "not valid JSON", `{}`: "not a JSON array",
	} {
		s.fails(subject, body, why)
		s.fails(strings.Replace(subject, "pause", "resume", 1), body, why)
	}
	s.fails("sio._.pause.socket."+a.ID, `["svc-1"]`, "unknown socket")
	s.fails("sio.chat.resume.socket."+a.ID[:9]+strings.Repeat("x", 20), `["svc-1"]`, "unknown socket")
	for i := range 64 {
		s.pause(a, fmt.Sprintf("svc-%d", i))
	}
	s.fails(subject, `["svc-65"]`, "too many pauses")
	s.Publish("sio.chat.pause.all", `["svc-1"]`)
	s.Counts("dropped_total", "unknown verb", 1)
}

// What a client sent before it disconnected is published before the disconnect notice.
func TestAPausedClientGoes(t *testing.T) {
	for name, end := range map[string]func(s *stage, a *socket){
		"transport close":      func(_ *stage, a *socket) { a.Hangup() },
		"server shutting down": func(s *stage, _ *socket) { s.Drain.Drain() },
		"forced close":         func(_ *stage, a *socket) { a.Send("4nonsense") },
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, usual().with("/chat", rule.Namespace{Connect: rule.ConnectOpen, AutoJoin: []string{"room"},
				Relay: []rule.Relay{{Event: "say", To: rule.ToRooms}}}))
			a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
			events := s.hear("sio.*.on.*")
			s.pause(a, "svc-1")
			a.Emit("", `["say",1]`)
			a.Send("41/chat,")
			s.passes(a)
			end(s, a)
			if got := events.of(a); string(got.Data) != `["say",1]` {
				t.Fatalf("before the event came %s", got.Data)
			}
			if name != "server shutting down" {
				b.Gets(`["say",1]`)
			}
			if got := events.of(a); string(got.Data) != left("client namespace disconnect", "room") {
				t.Errorf("the notice is %s", got.Data)
			}
		})
	}
}

// of waits for the next message about a socket.
func (e *ear) of(so *socket) *nats.Msg {
	e.T.Helper()
	for {
		if m := e.Next(); m.Reply == so.Address() {
			return m
		}
	}
}

// Joins of clients are held in order with their messages, and so are the publishes of relay rules.
func TestRoomsWhilePaused(t *testing.T) {
	s := begin(t, edgetest.Open())
	a, b := s.Enter("a", "/"), s.Enter("b", "/")
	b.Emit("1", `["join","room"]`)
	b.Expect(`431[{"ok":true}]`)
	s.pause(a, "svc-1")
	a.Emit("1", `["join","room"]`)
	a.Emit("", `["message","in"]`)
	a.Emit("2", `["leave","room"]`)
	a.Emit("3", `["join","other"]`)
	a.Emit("", `["message","out"]`)
	s.passes(a)
	s.resume(a, "svc-1")
	b.Gets(`["message","in"]`)
	for _, id := range []string{"1", "2", "3"} {
		a.Expect("43" + id + `[{"ok":true}]`)
	}
	s.onlyMarker(b)
}

// Held messages of a paused session may not fit beside those that wait for a socket's next owner. They go on waiting,
// before later ones.
func TestAPauseWhileAnOwnerIsSought(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	s.leaving(a, 1, "/door")
	n := 0
	more := func(events int) {
		for range events {
			so.Emit("", fmt.Sprintf(`["n",%d]`, n))
			n++
		}
		s.passes(so)
	}
	more(600)
	s.pause(so, "other-1")
	more(1000)
	s.resume(so, "other-1")
	s.Counts("events_held_total", "", 1024)
	a.drop()
	b := startInstance(t, s.NC, "chat-b")
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	b.accepts(`[]`)
	more(10)
	for i := range n {
		b.gets(so, "n", fmt.Sprintf(`["n",%d]`, i))
	}
	s.Counts("sessions_paused", "", 0)
}

// What a paused client sends while NATS is away is not kept, as without a pause.
func TestAPauseWithoutNATS(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	s.pause(a, "svc-1")
	a.Emit("", `["before"]`)
	s.passes(a)
	s.NATS.Stop()
	edgetest.Eventually(t, "NATS is away", func() bool { return !s.Bus.Connected() })
	a.Emit("", `["meanwhile"]`)
	s.Counts("events_failed_total", "", 1)
	s.Counts("events_failed_total", "", 2) // the pause ends, but NATS is away
	s.Counts("sessions_paused", "", 0)
}
